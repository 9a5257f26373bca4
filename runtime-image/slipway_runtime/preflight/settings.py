"""The settings with which the engine is about to start, as far as they can be checked in advance. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

GIB = 1 << 30
AUTO = -1  # the engine fits the context to the memory on its own
SUFFIXES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclass(frozen=True, kw_only=True)
class EngineSettings:
    engine: str  # vllm | llamacpp
    device: str = "cpu"  # cuda | rocm | cpu
    context_length: int | None = None  # the model's own, if None; AUTO
    sequences: int | None = None  # vLLM: that run at a time; its own default, if None
    parallel: int = 1  # llama.cpp reserves the full context for each of that many requests
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    quantization: str | None = None
    kv_cache_dtype: str = "auto"
    kv_cache_bytes: int | None = None
    memory_utilization: float = 0.92
    needs_tokenizer: bool = True
    remote_code: bool = False  # allowed
    long_context: bool = False  # longer than the model's own is allowed
    adapters: Mapping[str, Path] = field(default_factory=dict)
    max_adapter_rank: int = 16
    cache: Path | None = None  # where compiled kernels go

    @property
    def devices(self) -> int:
        return self.tensor_parallel * self.pipeline_parallel

    @property
    def kv_value_bytes(self) -> float:
        return 1 if self.kv_cache_dtype.startswith(("fp8", "int8")) else 2 if self.kv_cache_dtype in KV_16 else 0.5


KV_16 = ("auto", "float16", "bfloat16")


def of_vllm(flags: Sequence[str], environment: Mapping[str, str], *, device: str) -> EngineSettings:
    """Reads the settings from vLLM's flags; values that it doesn't understand it leaves to vLLM."""
    given = _by_name(flags)

    def last(*names: str, default: str = "") -> str:
        return next((given[name][-1] for name in names if given.get(name)), default)

    own_space = environment.get("VLLM_CPU_KVCACHE_SPACE", "") if device == "cpu" else ""
    kv_cache_bytes = _number(last("kv-cache-memory-bytes")) or (_number(own_space) or 0) * GIB
    return EngineSettings(
        engine="vllm",
        device=device,
        context_length=AUTO if last("max-model-len") in ("auto", "-1") else _number(last("max-model-len")),
        sequences=_number(last("max-num-seqs")),
        tensor_parallel=_number(last("tensor-parallel-size", "tp")) or 1,
        pipeline_parallel=_number(last("pipeline-parallel-size", "pp")) or 1,
        quantization=last("quantization", "q") or None,
        kv_cache_dtype=last("kv-cache-dtype", default="auto"),
        kv_cache_bytes=kv_cache_bytes or None,
        memory_utilization=_fraction(last("gpu-memory-utilization", "device-memory-utilization")) or 0.92,
        needs_tokenizer="skip-tokenizer-init" not in given and "tokenizer" not in given,
        remote_code="trust-remote-code" in given,
        long_context=environment.get("VLLM_ALLOW_LONG_MAX_MODEL_LEN") == "1",
        adapters=_adapters(given.get("lora-modules", [])),
        max_adapter_rank=_number(last("max-lora-rank")) or 16,
        cache=Path(environment["VLLM_CACHE_ROOT"]) if "VLLM_CACHE_ROOT" in environment else None,
    )


def _by_name(flags: Sequence[str]) -> dict[str, list[str]]:
    """Understands --name=value, --name value value, and -n value; names may have underscores."""
    found: dict[str, list[str]] = {}
    name = ""
    for word in flags:
        if re.match(r"--?[A-Za-z]", word):
            name, _, value = word.lstrip("-").partition("=")
            name = name.replace("_", "-")
            found.setdefault(name, []).extend([value] if value else [])
        elif name:
            found[name].append(word)
    return found


def _number(text: str) -> int | None:
    """Returns a whole number as vLLM reads it: 32k is 32,000, and 32K is 32,768."""
    read = re.fullmatch(r"(\d+(?:\.\d+)?)([kmgtKMGT]?)", text.strip())
    return int(float(read[1]) * SUFFIXES[read[2]]) if read else None


def _fraction(text: str) -> float | None:
    return float(text) if re.fullmatch(r"\d*\.?\d+", text) else None


def _adapters(modules: Sequence[str]) -> dict[str, Path]:
    pairs = [module.partition("=") for module in modules if not module.startswith("{")]
    return {name: Path(path) for name, _, path in pairs if path.startswith("/")}
