"""The failures that are known by a sentence of the engine, or of what lies below it.

The order counts: the first row that any line fits is the cause. So what is told about a cause comes before what is told
about its consequences, and what says much before what says little.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from slipway_runtime.failure import Reason


@dataclass(frozen=True)
class Known:
    """A sentence, as a regular expression; what it means, and what to do."""

    sentence: str
    reason: Reason
    remedy: str

    def fits(self, line: str) -> bool:
        return bool(re.search(self.sentence, line))


RESET_IT = "Cordon the node and reset the GPU; if it happens again, have it replaced."
MORE_MEMORY = "Choose an accelerator with more memory, more of them (parallelism.tensor), or a quantized model."
RAISE_LIMIT = "Raise the memory limit in pod.resources, lower engine.contextLength, or take a smaller quantization."
FETCH_AGAIN = "Fetch the model again, or take another revision of it."
SHORTER = "Lower engine.contextLength, set kvCacheDtype: FP8, or choose an accelerator with more memory."
OTHER_ENGINE = "Choose another engine or a newer image, or a model of a known architecture."
SEE_FLAGS = "Correct engine.extraArgs; the engine's own documentation lists its flags."
OTHER_QUANTIZATION = "Take the model in another quantization, or leave engine.quantization out."
REMOTE_CODE = "If you have read the code that the checkpoint brings and trust it, allow trust-remote-code by name."

ACCELERATOR = (
    Known(r"(?i)uncorrectable ECC error|ECC_?UNCORRECTABLE|ECCUncorrectable", Reason.GPU_UNHEALTHY, RESET_IT),
    Known(r"NVRM: Xid|\bXid \(|\bXID \d+", Reason.GPU_UNHEALTHY, RESET_IT),
    Known(
        r"(?i)GPU (?:is lost|has fallen off the bus)|Unable to determine the device handle",
        Reason.GPU_UNHEALTHY,
        RESET_IT,
    ),
    Known(
        r"CUDA error: (?:hardware stack error|an illegal instruction|GPU requires reset)",
        Reason.GPU_UNHEALTHY,
        RESET_IT,
    ),
    Known(
        r"CUDA error: system not yet initialized|Error 802|SYSTEM_NOT_READY",
        Reason.GPU_UNHEALTHY,
        "Start nvidia-fabricmanager on the node: GPUs behind NVSwitch don't work without it.",
    ),
    Known(
        r"Memory access fault by GPU node|HSA_STATUS_ERROR_(?:EXCEPTION|MEMORY_APERTURE_VIOLATION)",
        Reason.GPU_UNHEALTHY,
        "Look for amdgpu's messages in the node's kernel log; if they name the same GPU again, reset or replace it.",
    ),
    Known(
        r"NVIDIA driver on your system is too old|driver version is insufficient for CUDA runtime|Error 803",
        Reason.DRIVER_MISMATCH,
        "Update the node's driver, or take an image that is built for an older CUDA.",
    ),
    Known(
        r"Found no NVIDIA driver|libcuda\.so\.1: cannot open shared object|Failed to infer device type",
        Reason.DRIVER_MISMATCH,
        "Install the driver and its container toolkit on the node, and name the runtimeClass where there are several.",
    ),
    Known(
        r"no kernel image is available for execution|hipErrorNoBinaryForGpu",
        Reason.DRIVER_MISMATCH,
        "Take an image that is built for this kind of GPU, or choose another accelerator.",
    ),
    Known(
        r"No (?:CUDA|HIP) GPUs are available|no CUDA-capable device is detected",
        Reason.POD_CONFIG_ERROR,
        "Ask for accelerators in the pod's resources.",
    ),
    Known(
        r"invalid device ordinal|(?:World|world) size \(?\d+\)? is larger than the number of available GPUs",
        Reason.BAD_ENGINE_ARGUMENTS,
        "Ask for as many devices as tensor and pipeline parallelism multiply to.",
    ),
)

MEMORY = (
    Known(
        r"Free memory on device .* is less than desired GPU memory utilization",
        Reason.GPU_BUSY,
        "Find the process that holds the memory with nvidia-smi on the node; or lower --gpu-memory-utilization.",
    ),
    Known(r"To serve at least one request with the model's max seq len", Reason.CONTEXT_TOO_LONG, SHORTER),
    Known(
        r"User-specified max_model_len .* is greater than the derived max_model_len", Reason.CONTEXT_TOO_LONG, SHORTER
    ),
    Known(r"Failed to load model - not enough GPU memory", Reason.GPU_OUT_OF_MEMORY, MORE_MEMORY),
    Known(r"No available memory for the cache blocks", Reason.GPU_OUT_OF_MEMORY, MORE_MEMORY),
    Known(r"Cannot auto-fit max_model_len: not enough GPU memory", Reason.GPU_OUT_OF_MEMORY, MORE_MEMORY),
    Known(
        r"out of memory occurred when warming up sampler",
        Reason.GPU_OUT_OF_MEMORY,
        "Lower engine.maxConcurrency, or --gpu-memory-utilization.",
    ),
    Known(
        r"(?:CUDA|HIP) out of memory|torch\.OutOfMemoryError|CUDA_ERROR_OUT_OF_MEMORY",
        Reason.GPU_OUT_OF_MEMORY,
        MORE_MEMORY,
    ),
    Known(r"cudaMalloc failed: out of memory", Reason.GPU_OUT_OF_MEMORY, MORE_MEMORY),
    Known(
        r"Available memory on node .* is less than (?:desired CPU memory utilization|requested memory for kv)",
        Reason.HOST_OUT_OF_MEMORY,
        "Set VLLM_CPU_KVCACHE_SPACE to the GiB that the KV cache may have, or raise the memory limit in pod.resources.",
    ),
    Known(r"insufficient memory \(attempted to allocate", Reason.HOST_OUT_OF_MEMORY, RAISE_LIMIT),
    Known(
        r"DefaultCPUAllocator: (?:can't|not enough) |not enough memory: you tried to allocate",
        Reason.HOST_OUT_OF_MEMORY,
        RAISE_LIMIT,
    ),
    Known(r"\bMemoryError\b|std::bad_alloc|\[Errno 12\]", Reason.HOST_OUT_OF_MEMORY, RAISE_LIMIT),
)

ROOM = (
    Known(
        r"Error while creating shared memory segment|No space left on device.*/dev/shm|/dev/shm.*No space left on",
        Reason.POD_CONFIG_ERROR,
        "Mount a larger emptyDir of medium Memory at /dev/shm.",
    ),
    Known(
        r"No space left on device|\[Errno 28\]|Disk quota exceeded",
        Reason.POD_CONFIG_ERROR,
        "Give the pod's caches a larger volume.",
    ),
    Known(
        r"failed to open GGUF file '.*' \(Permission denied\)|Permission denied: '/mnt/(?:models|adapters)",
        Reason.MODEL_ACCESS_DENIED,
        "Let everybody read the model's files, or set the pod's fsGroup to their group.",
    ),
    Known(
        r"PermissionError: \[Errno 13\]|Read-only file system",
        Reason.POD_CONFIG_ERROR,
        "Mount a volume there that the pod's fsGroup may write to.",
    ),
    Known(
        r"couldn't bind HTTP server socket|[Aa]ddress already in use",
        Reason.BAD_ENGINE_ARGUMENTS,
        "Choose a port that is free and an address of this pod; in host networks, each pod needs ports of its own.",
    ),
)

MODEL = (
    Known(r"Model architectures? .* (?:is|are) not supported", Reason.UNSUPPORTED_ARCHITECTURE, OTHER_ENGINE),
    Known(r"Model architecture .* was supported in vLLM until", Reason.UNSUPPORTED_ARCHITECTURE, OTHER_ENGINE),
    Known(r"Model architectures .* failed to be inspected", Reason.UNSUPPORTED_ARCHITECTURE, OTHER_ENGINE),
    Known(r"unknown model architecture: '", Reason.UNSUPPORTED_ARCHITECTURE, OTHER_ENGINE),
    Known(r"Transformers does not recognize this architecture", Reason.UNSUPPORTED_ARCHITECTURE, OTHER_ENGINE),
    Known(
        r"must be executed|requires you to execute|trust_remote_code=True", Reason.UNSUPPORTED_ARCHITECTURE, REMOTE_CODE
    ),
    Known(
        r"this GGUF file is version|is extremely large, is there a mismatch|GGUFv1 is no longer supported"
        r"|has invalid ggml type",
        Reason.UNSUPPORTED_ARCHITECTURE,
        "Convert the model anew with a llama.cpp of about the engine's age, or take a newer image.",
    ),
    Known(
        r"unknown pre-tokenizer type|unknown tokenizer: '",
        Reason.UNSUPPORTED_ARCHITECTURE,
        "Take a newer image, or a GGUF whose tokenizer this llama.cpp knows.",
    ),
    Known(
        r"failed to open '.*': No such file|failed to load lora adapter '",
        Reason.MODEL_NOT_FOUND,
        "Check the adapter's uri in engine.adapters.",
    ),
    Known(r"failed to load GGUF split from", Reason.MODEL_CORRUPT, FETCH_AGAIN),
    Known(
        r"invalid magic characters|failed to read (?:magic|key-value pairs|tensor (?:info|data))",
        Reason.MODEL_CORRUPT,
        FETCH_AGAIN,
    ),
    Known(r"data is not within the file bounds|check_tensor_dims: tensor", Reason.MODEL_CORRUPT, FETCH_AGAIN),
    Known(r"key not found in model: ", Reason.MODEL_CORRUPT, FETCH_AGAIN),
    Known(
        r"cannot find tokenizer|[Cc]an't load tokenizer|instantiate the backend tokenizer",
        Reason.MODEL_CORRUPT,
        FETCH_AGAIN,
    ),
    Known(
        r"SafetensorError|Error while deserializing header|MetadataIncompleteBuffer", Reason.MODEL_CORRUPT, FETCH_AGAIN
    ),
    Known(
        r"Attempted to load weight \(|assert .*(?:shape|size\(\)) == loaded_weight\."
        r"|There is no module or parameter named|weights were not initialized from checkpoint"
        r"|size mismatch for |shape mismatch|start \(\d+\) \+ length \(\d+\) exceeds dimension size",
        Reason.MODEL_CORRUPT,
        "The weights are not those of the model that config.json describes: fetch both from the same revision.",
    ),
    Known(
        r"Cannot find any model weights with|does not appear to have a file named|Can't load the configuration of",
        Reason.MODEL_NOT_FOUND,
        "Check spec.model.uri and its path.",
    ),
    Known(
        r"Repo id must be in the form|Invalid repository ID or local directory|failed to open GGUF file",
        Reason.MODEL_NOT_FOUND,
        "Check spec.model.uri and its path.",
    ),
    Known(
        r"OfflineModeIsEnabled|LocalEntryNotFoundError|outgoing traffic has been disabled|couldn't connect to 'https://hugg",
        Reason.MODEL_NOT_FOUND,
        "Put all that the model needs into its folder: the engine fetches nothing by itself.",
    ),
    Known(r"Unrecognized model in|isn't a valid JSON file|not a valid JSON file", Reason.MODEL_CORRUPT, FETCH_AGAIN),
    Known(
        r"Quantization method specified in the model config .* does not match",
        Reason.QUANTIZATION_MISMATCH,
        OTHER_QUANTIZATION,
    ),
    Known(r"(?:Unknown|Invalid) quantization method", Reason.QUANTIZATION_MISMATCH, OTHER_QUANTIZATION),
    Known(
        r"quantization method .* is not supported for the current GPU|Quantization scheme is not supported",
        Reason.QUANTIZATION_MISMATCH,
        "Choose a newer accelerator, or another quantization.",
    ),
    Known(r"quantization is currently not supported in", Reason.QUANTIZATION_MISMATCH, OTHER_QUANTIZATION),
)

ARGUMENTS = (
    Known(
        r"Total number of attention heads .* must be divisible by tensor parallel size",
        Reason.BAD_ENGINE_ARGUMENTS,
        "Set engine.parallelism.tensor to a number that divides them.",
    ),
    Known(
        r"Bfloat16 is only supported on GPUs with compute capability",
        Reason.BAD_ENGINE_ARGUMENTS,
        "Add --dtype=half to engine.extraArgs, or choose a newer accelerator.",
    ),
    Known(
        r"LoRA rank \d+ is greater than max_lora_rank",
        Reason.BAD_ENGINE_ARGUMENTS,
        "Add --max-lora-rank with the adapter's rank to engine.extraArgs.",
    ),
    Known(
        r"quantized V cache requires flash_attn|V cache quantization requires flash_attn",
        Reason.BAD_ENGINE_ARGUMENTS,
        "Turn flash attention on, or leave the cache's types as they are.",
    ),
    Known(r"chat template parsing error", Reason.BAD_ENGINE_ARGUMENTS, "Correct the chat template, or leave it out."),
    Known(
        r"unrecognized arguments: |error: argument |the following arguments are required",
        Reason.BAD_ENGINE_ARGUMENTS,
        SEE_FLAGS,
    ),
    Known(r"error: invalid argument: |error while handling argument", Reason.BAD_ENGINE_ARGUMENTS, SEE_FLAGS),
    Known(r"Value error, ", Reason.BAD_ENGINE_ARGUMENTS, SEE_FLAGS),  # of vLLM's config classes
)

ENGINE = (
    Known(
        r"ncclSystemError|ncclInternalError|ncclUnhandledCudaError|NCCL error|NCCL WARN .*failed",
        Reason.ENGINE_CRASHED,
        "The GPUs couldn't talk to each other: look at /dev/shm and the node; NCCL_DEBUG=INFO in pod.env says more.",
    ),
    Known(
        r"Watchdog caught collective operation timeout",
        Reason.ENGINE_CRASHED,
        "One GPU stopped answering the others: look for Xid messages in the node's kernel log.",
    ),
    Known(
        r"CUDA error: an illegal memory access|CUDA error: unspecified launch failure|device-side assert",
        Reason.ENGINE_CRASHED,
        "Look for Xid messages in the node's kernel log; without them it is the engine's fault: try another version.",
    ),
    Known(
        r"GGML_ASSERT\(",
        Reason.ENGINE_CRASHED,
        "It is a fault of llama.cpp or of the GGUF file: try another version of either.",
    ),
    Known(
        r"ModuleNotFoundError: No module named|ImportError: ",
        Reason.ENGINE_CRASHED,
        "The image lacks a package or has one of the wrong version: take another image.",
    ),
)

KNOWN: tuple[Known, ...] = (*ACCELERATOR, *MEMORY, *ROOM, *MODEL, *ARGUMENTS, *ENGINE)
