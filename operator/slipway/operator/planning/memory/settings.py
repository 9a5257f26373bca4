"""What of the spec, of the engine's flags and of the engine itself decides how much memory is taken. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from slipway.models.facts import Model

GIB = 1 << 30
MIB = 1 << 20
FULL_GRAPH = 512


@dataclass(frozen=True, kw_only=True)
class Device:
    """One accelerator, or for CPUs the memory that a container may use."""

    total: int  # bytes, as the engine counts them


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How the engine runs."""

    sequences: int  # requests in one step
    batched_tokens: int  # tokens in one step
    utilization: float = 0.92
    tensor: int = 1
    pipeline: int = 1
    kv_bits: float = 16  # of one value in the cache
    weight_bits: int | None = None  # weights are quantized to that many bits while they are loaded
    block_size: int = 16  # tokens of a block of the cache
    latent_block_size: int = 16  # where it stores latent vectors
    batches_in_flight: int | None = None  # None: as many as usual in the release
    largest_graph: int = 512  # requests in the largest CUDA graph; 0: none
    adapters: int = 0  # that can be in one step
    adapter_rank: int = 16
    is_drafting: bool = False  # n-gram speculation, which needs no weights
    draft: Model | None = None  # the draft model
    prefix_caching: bool = True
    seen_tokens: int = 0  # that images and videos become in one step
    is_compiling: bool = False  # nothing has been compiled before for these settings
    slots: int = 0  # of llama.cpp


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What an engine takes of a device besides weights and cache, in bytes."""

    activation: int  # the peak of one step, which is free again after it
    resident: int  # libraries, and buffers that stay
    graphs: int  # what is taken off the share for CUDA graphs
    outside: int  # the most that is in use besides the share while it serves


@dataclass(frozen=True, kw_only=True)
class Release:
    """What differs between versions of vLLM."""

    version: str
    batches_in_flight: int  # whose tokens a layer with a window may hold at the same time
    states_of_request: int  # blocks of a group of layers with a state, where prefixes are cached
    parts: Callable[[Model, Settings], Parts]

    def batches(self, model: Model, settings: Settings) -> int:
        """Steps that are in flight at the same time; n-gram drafts and embeddings are computed one by one."""
        one_by_one = settings.is_drafting or model.task != "Generate"
        return settings.batches_in_flight or (1 if one_by_one else self.batches_in_flight)


# --- formulas that several releases share ----------------------------------------------------------------------------


def expert_buffers(model: Model, settings: Settings) -> int:
    """Two buffers, which each hold the tokens once for every expert that they go to."""
    if model.experts is None:
        return 0
    experts, hidden = model.experts, model.hidden_size or 0
    inner = experts.intermediate_size // settings.tensor
    rows = settings.batched_tokens * experts.per_token
    return 2 * rows * (max(2 * inner, hidden) + max(inner, hidden))


def dense_inner(model: Model, settings: Settings) -> int:
    """The width of a dense MLP on one device; 0 where every layer has experts instead."""
    experts = model.experts
    has_dense = experts is None or experts.layers < model.layer_count
    return (model.intermediate_size or 0) // settings.tensor if has_dense else 0


def compiling(model: Model, settings: Settings) -> int:
    """The peak of the compiler, which copies the embedding, when nothing has been compiled for these flags before."""
    hidden = model.hidden_size or 0
    if not settings.is_compiling or model.experts is not None or model.task != "Generate":
        return 0
    return 2 * hidden * ((model.vocabulary_size or 0) // settings.tensor + 3 * settings.batched_tokens // 2)


def graph_share(settings: Settings) -> float:
    """The largest graph counts for more than how many there are."""
    return min(1.0, settings.largest_graph / FULL_GRAPH)
