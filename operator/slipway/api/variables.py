"""`spec.pod.env`: which variables are refused, in CEL for the API server and the same in Python.

Most variables are their writer's own affair, also those that change what Slipway has chosen. Refused are those that do
what a refused flag does, and those by which a program loads other code before any of ours has run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from slipway.api.schema import Rule, cel

# Why a variable is refused, and which: those that a pattern finds at the name's beginning; with `$`, whole names.
REASONS: Mapping[str, tuple[str, ...]] = {
    "is Slipway's own: choose another name": ("SLIPWAY_",),
    "loads other code into the engine: build an image with what you need": (
        *("PYTHON", "LD_", "GCONV_PATH$", "LOCPATH$", "GLIBC_TUNABLES$", "BASH_ENV$", "ENV$", "PATH$", "CC$", "CXX$"),
        *("OPENSSL_CONF$", "OPENSSL_ENGINES$", "OPENSSL_MODULES$", "OMP_TOOL", "GGML_", "LLAMA_", "OTEL_PYTHON_"),
        *(
            "CUDA_HOME$",
            "CUDA_PATH$",
            "CUDA_INJECTION",
            "CUDNN_LIBRARY$",
            "NVCC_",
            "ROCM_PATH$",
            "ROCM_HOME$",
            "HIP_PATH$",
        ),
        *("HSA_TOOLS", "NCCL_[A-Z_]*PLUGIN", "NCCL_CONF_FILE$", "RCCL_[A-Z_]*PLUGIN", "UCX_MODULE", "CRIU_", "RAY_"),
        *("TRITON_", "TORCHINDUCTOR_CACHE_DIR$", "TORCH_EXTENSIONS_DIR$", "FLASHINFER_[A-Z_]*(DIR|BASE|NVCC|PATH)"),
        *("LMCACHE_", "MOONCAKE_", "[A-Z_]*TRUST_REMOTE_CODE"),
    ),
    "lets a file of weights run code: convert it to safetensors": ("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD$",),
    "gives the pod devices that Kubernetes didn't: name what it needs in spec.accelerator": (
        *("NVIDIA_", "AMD_VISIBLE_DEVICES$", "HABANA_VISIBLE_DEVICES$", "ASCEND_VISIBLE_DEVICES$"),
    ),
    "changes how many servers answer, and whom they believe: leave it out": (
        *("UVICORN_", "GUNICORN_", "WEB_CONCURRENCY$", "FORWARDED_ALLOW_IPS$", "PROMETHEUS_MULTIPROC_DIR$"),
    ),
    "is none of vLLM's variables that Slipway lets through: leave it out, or name a ServingRuntime of your own in "
    "engine.name": ("VLLM_",),
}
# Of vLLM 0.32, each begins with VLLM_.
_OF_VLLM = """
    ALLOW_CHUNKED_LOCAL_ATTN_WITH_HYBRID_KV_CACHE ALLOW_LONG_MAX_MODEL_LEN ALLREDUCE_USE_FLASHINFER
    ALLREDUCE_USE_SYMM_MEM AUDIO_FETCH_TIMEOUT BATCH_INVARIANT BLOCKSCALE_FP8_GEMM_FLASHINFER COMPUTE_NANS_IN_LOGITS
    CPU_ATTN_SPLIT_KV CPU_INT4_W4A8 CPU_KVCACHE_SPACE CPU_NUM_OF_RESERVED_CPU CPU_OMP_THREADS_BIND DEEP_GEMM_WARMUP
    DISABLED_KERNELS DISABLE_COMPILE_CACHE DISABLE_LOG_LOGO DISABLE_PYNCCL DO_NOT_TRACK ENABLE_CUDAGRAPH_GC
    ENABLE_INDUCTOR_COORDINATE_DESCENT_TUNING ENABLE_INDUCTOR_MAX_AUTOTUNE ENABLE_V1_MULTIPROCESSING
    ENFORCE_STRICT_TOOL_CALLING ENGINE_READY_TIMEOUT_S EXECUTE_MODEL_TIMEOUT_SECONDS FASTSAFETENSORS_QUEUE_SIZE
    FLASHINFER_ALLREDUCE_BACKEND FLASHINFER_WORKSPACE_BUFFER_SIZE FLOAT32_MATMUL_PRECISION
    GPT_OSS_HARMONY_SYSTEM_INSTRUCTIONS IMAGE_FETCH_TIMEOUT KV_CACHE_LAYOUT LOGGING_COLOR LOGGING_LEVEL LOGGING_PREFIX
    LOG_BATCHSIZE_INTERVAL LOG_STATS_INTERVAL MARLIN_INPUT_DTYPE MARLIN_USE_ATOMIC_ADD
    MEMORY_PROFILER_ESTIMATE_CUDAGRAPHS MLA_DISABLE MOE_USE_DEEP_GEMM NO_USAGE_STATS PP_LAYER_PARTITION
    RAISE_ON_LOGIT_NANS ROCM_FP8_MFMA_PAGE_ATTN ROCM_FP8_PADDING ROCM_MOE_PADDING ROCM_QUICK_REDUCE_QUANTIZATION
    ROCM_USE_AITER ROCM_USE_AITER_LINEAR ROCM_USE_AITER_MHA ROCM_USE_AITER_MLA ROCM_USE_AITER_MOE
    ROCM_USE_AITER_RMSNORM ROCM_USE_AITER_UNIFIED_ATTENTION ROCM_USE_SKINNY_GEMM SKIP_P2P_CHECK
    TOOL_PARSE_REGEX_TIMEOUT_SECONDS USE_AOT_COMPILE USE_DEEP_GEMM USE_DEEP_GEMM_E8M0 USE_FLASHINFER_MOE_INT4
    USE_FLASHINFER_SAMPLER USE_FUSED_MOE_GROUPED_TOPK USE_NCCL_SYMM_MEM USE_STANDALONE_COMPILE USE_TRITON_AWQ
    USE_V2_MODEL_RUNNER V1_OUTPUT_PROC_CHUNK_SIZE VIDEO_FETCH_TIMEOUT WORKER_SHUTDOWN_TIMEOUT_SECONDS XGRAMMAR_CACHE_MB
"""
LET_THROUGH: tuple[str, ...] = (
    *("PYTHONUNBUFFERED", "PYTHONFAULTHANDLER", "PYTHONHASHSEED", "PYTHONMALLOC", "PYTHONASYNCIODEBUG"),
    *(f"VLLM_{name}" for name in _OF_VLLM.split()),
)
"""Of those that a pattern finds, the ones that do none of this."""

_PATTERNS = {why: f"^({'|'.join(names)})" for why, names in REASONS.items()}


def _rule(why: str, pattern: str) -> Rule:
    exceptions = [name for name in LET_THROUGH if re.match(pattern, name)]
    return Rule(
        rule=f"!self.name.matches({cel(pattern)})" + (f" || self.name in {cel(exceptions)}" if exceptions else ""),
        message=f"a variable of this name {why}",
        says=f"self.name + {cel(' ' + why)}",
        at=".name",
        why="FieldValueForbidden",
    )


VARIABLE_RULES = tuple(_rule(why, pattern) for why, pattern in _PATTERNS.items())


def why_refused(name: str) -> str | None:
    """The same sentence; None for what is let through."""
    if name in LET_THROUGH:
        return None
    return next((f"{name} {why}" for why, pattern in _PATTERNS.items() if re.match(pattern, name)), None)
