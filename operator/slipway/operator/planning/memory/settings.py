"""What of the spec, of the engine's flags and of the engine itself decides how much memory is taken. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from slipway.models.facts import Model

GIB = 1 << 30
MIB = 1 << 20


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
    latent_block_size: int = 64  # where it stores latent vectors
    batches_in_flight: int | None = None  # None: as many as usual in the release
    largest_graph: int = 512  # requests in the largest CUDA graph; 0: none
    graphs: int = 51  # number of CUDA graphs
    adapters: int = 0  # that can be in one step
    adapter_rank: int = 16
    is_drafting: bool = False  # n-gram speculation, which needs no weights
    draft: Model | None = None  # the draft model
    prefix_caching: bool = True
    kv_bytes: int | None = None  # the cache, where its size is set by hand
    slots: int = 0  # of llama.cpp


@dataclass(frozen=True, kw_only=True)
class Release:
    """What differs between versions of vLLM; the numbers were measured on an H200 (docs/planning.md says how)."""

    version: str
    batches_in_flight: int  # whose tokens a layer with a window may hold at the same time
    new_runner: frozenset[str] | None  # architectures that the newer model runner runs; None: all
    drafts_on_old_runner: bool  # n-gram speculation
    graphs_on_new: int  # bytes that profiling takes off for CUDA graphs, with the newer runner
    graphs_on_old: int

    def runs_new(self, model: Model, settings: Settings) -> bool:
        if settings.is_drafting and self.drafts_on_old_runner:
            return False
        return self.new_runner is None or model.architecture in self.new_runner
