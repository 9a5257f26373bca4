"""What vLLM 0.24 takes besides weights and cache: fitted to starts on H200s (benchmarks/measured). Pure.

It has two model runners. The newer one takes nothing off the share for CUDA graphs, so they lie outside it.
"""

from __future__ import annotations

from slipway.models.facts import Model
from slipway.operator.planning.memory.settings import (
    GIB,
    Parts,
    Settings,
    compiling,
    dense_inner,
    expert_buffers,
    graph_share,
)

NEW_RUNNER = frozenset(
    {
        *("LlamaForCausalLM", "MistralForCausalLM", "Qwen3ForCausalLM"),
        *("DeepseekV2ForCausalLM", "Qwen2MoeForCausalLM", "GraniteMoeForCausalLM"),
    }
)
"""Architectures; n-gram speculation needs the older one."""
LIBRARIES, LIBRARIES_PARALLEL = int(0.233 * GIB), int(0.56 * GIB)
"""What CUDA and its libraries take; with tensor parallelism, NCCL too."""
STEP = int(0.06 * GIB)
"""Of each step, whatever its size: input buffers, masks, positions."""
OLD_SAMPLER, OLD_STEP = 3.5, int(0.2 * GIB)
"""The older runner's sampler sorts copies of all logits in 32 bits: so many at the same time."""
NEW_SAMPLER = 6
"""Bytes that the newer runner's sampler takes for each logit: one of 16 and one of 32 bits."""
OLD_GRAPHS = int(0.57 * GIB)
OUTSIDE = 0.5
OUTSIDE_OF_NEW, OUTSIDE_OF_OLD = 3.0, 2.1
OUTSIDE_PARALLEL = 1.0
"""GiB: without graphs; with graphs up to 512 requests, by runner; and more with tensor parallelism. The largest values
that were measured."""


def parts(model: Model, settings: Settings) -> Parts:
    runs_new = model.architecture in NEW_RUNNER and not settings.is_drafting
    with_graphs = OUTSIDE_OF_NEW if runs_new else OUTSIDE_OF_OLD
    parallel = OUTSIDE_PARALLEL if settings.tensor > 1 else 0
    return Parts(
        activation=_activation(model, settings, runs_new=runs_new),
        resident=LIBRARIES if settings.tensor == 1 else LIBRARIES_PARALLEL,
        graphs=0 if runs_new else int(OLD_GRAPHS * graph_share(settings)),
        outside=int((OUTSIDE + (with_graphs - OUTSIDE) * graph_share(settings) + parallel) * GIB),
    )


def _activation(model: Model, settings: Settings, *, runs_new: bool) -> int:
    """Of the layers, of the sampler or of the compiler, besides the buffers of the experts."""
    vocabulary = model.vocabulary_size or 0
    if model.task != "Generate":
        sampler = STEP
    elif runs_new:
        sampler = settings.sequences * vocabulary * NEW_SAMPLER + STEP
    else:
        sampler = int(settings.sequences * vocabulary * 4 * OLD_SAMPLER) + OLD_STEP
    largest = max(sampler, _of_layers(model, settings) + STEP, compiling(model, settings))
    return expert_buffers(model, settings) + largest


def _of_layers(model: Model, settings: Settings) -> int:
    """Of one layer: its input and the residual, and of a dense MLP both halves and their product, in 16 bits."""
    return 2 * settings.batched_tokens * (2 * (model.hidden_size or 0) + 3 * dense_inner(model, settings))
