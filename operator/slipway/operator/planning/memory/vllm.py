"""How vLLM divides the memory of a device, before any of it is taken. Pure.

    for the KV cache = total * utilization - weights - activation - non-torch - the estimate for CUDA graphs

That is vLLM's own rule; how large the parts are was fitted to measured starts. What vLLM uses besides its share once it
is ready (captured graphs, loaded kernels) must fit into what the share leaves: otherwise the cache is made smaller, so
that no engine dies of memory that a plan has promised.
"""

from __future__ import annotations

import math
from dataclasses import replace

from slipway.models.facts import Evidence, Model
from slipway.operator.planning.memory import weights
from slipway.operator.planning.memory.settings import GIB, Device, Release, Settings
from slipway.operator.planning.plan import Memory

NON_TORCH = int(0.233 * GIB)
NON_TORCH_PARALLEL = int(0.56 * GIB)
"""What CUDA and its libraries take; with tensor parallelism, NCCL too."""
STEP = int(0.06 * GIB)
"""Of each step, whatever its size: input buffers, masks, positions."""
OLD_SAMPLER = 3.5
OLD_STEP = int(0.2 * GIB)
"""The older runner's sampler sorts copies of all logits in 32 bits: so many at the same time."""
NEW_SAMPLER = 6
"""Bytes that the newer runner's sampler takes for each logit: one of 16 and one of 32 bits."""
OUTSIDE = 0.5
OUTSIDE_OF_NEW, OUTSIDE_OF_OLD = 3.0, 2.1
OUTSIDE_PARALLEL = 1.0
"""GiB in use besides the share once it serves: the driver's context, loaded kernels, captured graphs. Without graphs;
with graphs up to 512 requests, by runner; and more with tensor parallelism. The largest values that were measured."""
FULL_GRAPH = 512


def divide(model: Model, device: Device, settings: Settings, release: Release) -> Memory:
    """The model's weights must be known."""
    runs_new = release.runs_new(model, settings)
    own = weights.on_each_device(model, settings)
    activation = _activation(model, settings, runs_new=runs_new)
    other = NON_TORCH if settings.tensor == 1 else NON_TORCH_PARALLEL
    graphs = _graphs(settings, release, runs_new=runs_new)
    outside = _outside(settings, runs_new=runs_new)
    budget = min(math.ceil(device.total * settings.utilization), device.total - outside)
    left = budget - own - activation - other - graphs
    return Memory(
        total=device.total,
        budget=budget,
        weights=own,
        activation=activation,
        other=other,
        graphs=graphs,
        outside=outside,
        kv_cache=settings.kv_bytes if settings.kv_bytes is not None else max(0, left),
        evidence={
            "total": Evidence.REPORTED,
            "weights": model.evidence.get("parameters", Evidence.REPORTED),
            **dict.fromkeys(("activation", "other", "graphs", "outside", "kv_cache"), Evidence.ESTIMATED),
        },
    )


def with_weights(memory: Memory, measured: int) -> Memory:
    """With the weights as an engine measured them, unless that makes no difference to speak of.

    A new size of the cache is another argument of the engine, so a plan doesn't change for less than a hundredth.
    """
    difference = measured - memory.weights
    if abs(difference) <= memory.kv_cache // 100:
        return memory
    cache = max(0, memory.kv_cache - difference)
    evidence = {**memory.evidence, "weights": Evidence.MEASURED}
    return replace(memory, weights=measured, kv_cache=cache, evidence=evidence)


def missing(memory: Memory) -> int:
    """Bytes that are lacking for the weights and one step; 0 or less if there is room for a cache."""
    return memory.weights + memory.overhead - memory.budget


def _activation(model: Model, settings: Settings, *, runs_new: bool) -> int:
    """The peak of one step: of the layers or of the sampler, besides the buffers of the experts."""
    vocabulary = model.vocabulary_size or 0
    if model.task != "Generate":
        sampler = STEP
    elif runs_new:
        sampler = settings.sequences * vocabulary * NEW_SAMPLER + STEP
    else:
        sampler = int(settings.sequences * vocabulary * 4 * OLD_SAMPLER) + OLD_STEP
    return _of_experts(model, settings) + max(sampler, _of_layers(model, settings) + STEP)


def _of_layers(model: Model, settings: Settings) -> int:
    """Of one layer: its input and the residual, and of a dense MLP both halves and their product, in 16 bits."""
    hidden, experts = model.hidden_size or 0, model.experts
    has_dense = experts is None or experts.layers < model.layer_count
    inner = (model.intermediate_size or 0) // settings.tensor if has_dense else 0
    return 2 * settings.batched_tokens * (2 * hidden + 3 * inner)


def _of_experts(model: Model, settings: Settings) -> int:
    """Two buffers, which each hold the tokens once for every expert that they go to."""
    if model.experts is None:
        return 0
    experts, hidden = model.experts, model.hidden_size or 0
    inner = experts.intermediate_size // settings.tensor
    rows = settings.batched_tokens * experts.per_token
    return 2 * rows * (max(2 * inner, hidden) + max(inner, hidden))


def _graphs(settings: Settings, release: Release, *, runs_new: bool) -> int:
    whole = release.graphs_on_new if runs_new else release.graphs_on_old
    return int(whole * min(1.0, settings.largest_graph / FULL_GRAPH))


def _outside(settings: Settings, *, runs_new: bool) -> int:
    with_graphs = OUTSIDE_OF_NEW if runs_new else OUTSIDE_OF_OLD
    share = min(1.0, settings.largest_graph / FULL_GRAPH)
    parallel = OUTSIDE_PARALLEL if settings.tensor > 1 else 0
    return int((OUTSIDE + (with_graphs - OUTSIDE) * share + parallel) * GIB)
