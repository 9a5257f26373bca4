"""What a start's compiled code depends on, in words: code that was compiled for one key must not run for another."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from slipway_runtime.versions import version_of

LARGEST_CONFIG = 16 << 20  # bytes of a config that are read; a larger file is no config
CODE_OF = ("vllm", "torch", "triton", "pytorch_triton", "transformers", "flashinfer", "compressed_tensors", "helion")
"""Names of distributions that generate code, or start with these words: a patched build has the same version."""
WITHOUT_EFFECT = frozenset(
    {
        # of the server
        *("host", "port", "uds", "middleware", "api-key", "shutdown-timeout", "root-path", "response-role"),
        *("served-model-name", "chat-template", "chat-template-content-format", "enable-auto-tool-choice"),
        *("tool-call-parser", "reasoning-parser"),
        *(
            "allowed-media-domains",
            "allowed-local-media-path",
            "enable-prompt-tokens-details",
            "return-tokens-as-token-ids",
        ),
        *("disable-fastapi-docs", "disable-uvicorn-access-log", "uvicorn-log-level", "enable-request-id-headers"),
        # of metrics, logs and traces
        *("otlp-traces-endpoint", "collect-detailed-traces", "custom-histogram-buckets", "disable-log-stats"),
        *("show-hidden-metrics-for-version", "enable-log-requests", "max-log-len", "kv-cache-metrics"),
        # the size of the KV cache, and the use of its blocks
        *("kv-cache-memory-bytes", "num-gpu-blocks-override", "gpu-memory-utilization", "device-memory-utilization"),
        *("enable-prefix-caching", "no-enable-prefix-caching", "prefix-caching-hash-algo"),
        # which adapters there are; not how many, or how large they may be
        "lora-modules",
        # how files are read, and requests ordered
        *("load-format", "safetensors-load-strategy", "tokenizer", "tokenizer-mode", "tokenizer-revision"),
        *("seed", "scheduling-policy", "stream-interval", "mm-processor-cache-gb", "mm-processor-cache-type"),
    }
)
"""Flags that have no effect on what is compiled."""
VARIABLES = re.compile(r"(VLLM|TORCH(INDUCTOR|DYNAMO)?|PYTORCH|TRITON|FLASHINFER|AITER|CUDA|HIP|ROCM|OMP)_|CXX|CC")
VARIABLES_WITHOUT_EFFECT = frozenset(
    {
        *("VLLM_CACHE_ROOT", "VLLM_CONFIG_ROOT", "VLLM_ASSETS_CACHE", "TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR"),
        *("VLLM_CPU_KVCACHE_SPACE", "VLLM_NO_USAGE_STATS", "VLLM_DO_NOT_TRACK", "VLLM_USAGE_SOURCE"),
        *("VLLM_HOST_IP", "VLLM_PORT", "VLLM_RPC_BASE_PATH", "VLLM_LOOPBACK_IP", "VLLM_NIXL_SIDE_CHANNEL_HOST"),
        *("VLLM_LOGGING_LEVEL", "VLLM_LOGGING_PREFIX", "VLLM_LOGGING_COLOR", "VLLM_CONFIGURE_LOGGING"),
        *("VLLM_HTTP_TIMEOUT_KEEP_ALIVE", "VLLM_MEDIA_URL_ALLOW_REDIRECTS", "VLLM_LOG_STATS_INTERVAL"),
        *("VLLM_ENGINE_ITERATION_TIMEOUT_S", "VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS", "VLLM_RINGBUFFER_WARNING_INTERVAL"),
        *("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "VLLM_WORKER_MULTIPROC_METHOD"),
    }
)
FOREIGN = re.compile(r".*(KEY|TOKEN|SECRET|PASSWORD|_SERVICE_HOST|_SERVICE_PORT.*|_PORT(_\d+_.*)?)")
"""Credentials, which must not be stored, and what Kubernetes sets for each Service, such as VLLM_PORT_80_TCP."""
INSTRUCTIONS = re.compile(
    r"(pni|ssse3|sse4.*|avx.*|amx.*|fma4?|f16c|bmi[12]|popcnt|abm|movbe|xop|tbm|adx|gfni|vaes|v?pclmulqdq|aes|sha_ni)"
)
"""x86's flags that a compiler uses; the others are the kernel's."""


@dataclass(frozen=True, kw_only=True)
class Start:
    """One start, as far as compiled code depends on it."""

    engine: str  # and its version
    device: str  # cuda | rocm | cpu
    devices: Sequence[str] = ()  # names of accelerators, with their compute capabilities
    flags: Sequence[str] = ()  # all of the engine's
    environment: Mapping[str, str]
    model: str  # a digest of its configuration
    folder: str = ""  # where the engine reads and writes it


def key_of(start: Start) -> dict[str, str]:
    return {
        "engine": start.engine,
        "torch": version_of("torch"),
        "triton": version_of("triton", "pytorch-triton-rocm"),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": installed(),
        "system": _digest(_text(Path("/etc/os-release"))),
        "device": device(start),
        "model": start.model,
        "folder": "" if start.device == "cpu" else start.folder,
        **flags_of(start.flags),
        **variables_of(start.environment),
    }


def in_folder(key: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Returns the key of what is compiled in this folder: Triton's files name each other by their paths, and are all
    compiled again in another folder. What is compiled for CPUs has no paths that matter, and no folder in its key."""
    return {**key, "folder": str(folder)} if key.get("folder") else dict(key)


def device(start: Start) -> str:
    if start.device == "cpu":
        # Inductor compiles for the CPU that it runs on, and for its number of threads.
        return f"cpu {platform.machine()} {_digest(instructions(_text(Path('/proc/cpuinfo'))))} {cpus()}"
    return ", ".join(dict.fromkeys(start.devices)) or start.device


def cpus() -> str:
    return f"{len(os.sched_getaffinity(0))} CPUs"


def instructions(cpuinfo: str) -> str:
    """Returns the instruction sets of the CPU, from /proc/cpuinfo; on ARM all of its features."""
    found = re.search(r"^flags\s*:(.*)$", cpuinfo, re.MULTILINE)
    if found:
        return " ".join(sorted(word for word in found[1].split() if INSTRUCTIONS.fullmatch(word)))
    features = re.search(r"^Features\s*:(.*)$", cpuinfo, re.MULTILINE)
    return " ".join(sorted(features[1].split())) if features else ""


def flags_of(words: Sequence[str]) -> dict[str, str]:
    """Returns the flags that matter, with their values. A repeated flag has all of its values, in order."""
    found: dict[str, list[str]] = {}
    name = ""
    for word in words:
        if re.match(r"--?[A-Za-z]", word):
            name, equals, value = word.partition("=")
            name = name.replace("_", "-")
            found.setdefault(name, []).extend([value] if equals else [])
        else:
            found.setdefault(name, []).append(word)
    return {
        name: " ".join(values)
        for name, values in sorted(found.items())
        if name.partition(".")[0].lstrip("-") not in WITHOUT_EFFECT
    }


def variables_of(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in sorted(environment.items())
        if VARIABLES.match(name) and name not in VARIABLES_WITHOUT_EFFECT and not FOREIGN.fullmatch(name)
    }


def digest_of_configs(model: Path) -> str:
    """Returns a digest of what compiled code depends on: the model's configuration, not its weights."""
    digest = hashlib.sha256()
    for config in sorted(model.glob("*config*.json")):
        if config.is_file():
            with config.open("rb") as stream:
                digest.update(os.fsencode(config.name) + b"\0" + stream.read(LARGEST_CONFIG))
    return digest.hexdigest()[:16]


def installed(path: Sequence[str] | None = None) -> str:
    """Returns a digest of the installed packages: their names and versions, and the files of those that make code."""
    return _digest(*sorted(_distributions(path)))


def _distributions(path: Sequence[str] | None) -> Iterator[str]:
    for folder in _folders(path):
        for entry in _names_in(folder):
            if entry.endswith(".dist-info"):
                yield entry
                if entry.lower().startswith(CODE_OF):
                    yield entry + _text(folder / entry / "RECORD")


def _folders(path: Sequence[str] | None) -> Iterable[Path]:
    return dict.fromkeys(Path(each or ".") for each in (sys.path if path is None else path))


def _names_in(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 - only names are needed
    except OSError:
        return []


def _text(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode(errors="replace")).hexdigest()[:16]
