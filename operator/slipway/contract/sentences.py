"""The sentences by which a failed start is recognized, of all engines and of what is below them.

Written by `make generate`; instead of this file, change
runtime-image/contract/sentences.yaml or that of an engine in slipway_runtime/engines.
"""

from __future__ import annotations

PREFIXES: tuple[str, ...] = (
    "\\((?:EngineCore|Worker|ApiServer|APIServer|DPCoordinator)\\w* (?:rank=\\d+ )?pid=\\d+\\) *",
    "(?:CRITICAL|ERROR|WARNING|INFO|DEBUG) \\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\d (?:\\[[^\\]]*\\] ?)?",
    "\\d+\\.\\d\\d\\.\\d{3}\\.\\d{3} [EWID] (?:(?:srv|cmn|slot) +\\w+: )?",
)
NOISE: tuple[str, ...] = (
    "See root cause above",
    "Engine core initialization failed",
    "^EngineCore failed to start",
    "Process EngineCore",
    "please check the input params",
    "exiting due to ",
    "cleaning up before exit",
    "main loop exit",
    "Traceback \\(most recent call last\\)",
    '^ *File "',
    "^[\\s^~]*$",
    "During handling of the above exception",
    "The above exception was the direct cause",
    "resource_tracker",
    "For further information visit https://errors\\.pydantic\\.dev",
    "warnings\\.warn",
)
QUOTES_CLIENTS: tuple[str, ...] = (
    "Error with model error=",
    "fields were present in the request",
    "(?:Received request|Generated response) ",
    "got exception: \\{",
    "llama_model_loader: - kv +\\d|print_info: general\\.name",
    '\\{"time":"[^"]*","event":"(?:request|failure)"',
    '- "[A-Z]+ \\S* HTTP/\\d',
)
ROWS: tuple[tuple[str, str, str], ...] = (
    (
        "(?i:uncorrectable ECC error|ECC_?UNCORRECTABLE|ECCUncorrectable)|NVRM: Xid|\\bXid \\(|\\bXID \\d+|(?i:GPU (?:is lost|has fallen off the bus))|Unable to determine the device handle|CUDA error: (?:hardware stack error|an illegal instruction|GPU requires reset)",
        "GpuUnhealthy",
        "Cordon the node and reset the GPU; replace the GPU if this happens again.",
    ),
    (
        "CUDA error: system not yet initialized|Error 802|SYSTEM_NOT_READY",
        "GpuUnhealthy",
        "Start nvidia-fabricmanager on the node; GPUs behind an NVSwitch don't work without it.",
    ),
    (
        "Memory access fault by GPU node|HSA_STATUS_ERROR_(?:EXCEPTION|MEMORY_APERTURE_VIOLATION)",
        "GpuUnhealthy",
        "Look for messages of amdgpu in the node's kernel log; reset or replace the GPU if they name the same one again.",
    ),
    (
        "NVIDIA driver on your system is too old|driver version is insufficient for CUDA runtime|Error 803",
        "DriverMismatch",
        "Update the node's driver, or use an image that is built for an older CUDA version.",
    ),
    (
        "nvidia-container-cli: requirement error: unsatisfied condition",
        "DriverMismatch",
        "Update the node's driver, or use an image that is built for an older CUDA version.",
    ),
    (
        "Found no NVIDIA driver|libcuda\\.so\\.1: cannot open shared object|Failed to infer device type",
        "DriverMismatch",
        "Install the driver and its container toolkit on the node, and set the profile's runtimeClass if the node has more than one.",
    ),
    (
        "no kernel image is available for execution|hipErrorNoBinaryForGpu",
        "DriverMismatch",
        "Use an image that is built for this type of GPU, or choose another accelerator.",
    ),
    (
        "No (?:CUDA|HIP) GPUs are available|no CUDA-capable device is detected",
        "PodConfigError",
        "Request accelerators in the pod's resources.",
    ),
    (
        "invalid device ordinal|(?:World|world) size \\(?\\d+\\)? is larger than the number of available GPUs",
        "BadEngineArguments",
        "Request as many devices as tensor parallelism times pipeline parallelism.",
    ),
    (
        "Free memory on device .* is less than desired GPU memory utilization",
        "GpuBusy",
        "Find the process that uses the memory with nvidia-smi on the node; or lower --gpu-memory-utilization in a runtime of your own.",
    ),
    (
        "To serve at least one request with the model's max seq len|User-specified max_model_len .* is greater than the derived max_model_len",
        "ContextTooLong",
        "Lower engine.contextLength, set engine.kvCacheDtype to FP8, or choose an accelerator with more memory.",
    ),
    (
        "Failed to load model - not enough GPU memory|No available memory for the cache blocks|Cannot auto-fit max_model_len: not enough GPU memory",
        "GpuOutOfMemory",
        "Choose an accelerator with more memory, use more of them (engine.parallelism.tensor), or use a quantized model.",
    ),
    ("out of memory occurred when warming up sampler", "GpuOutOfMemory", "Lower engine.maxConcurrency."),
    (
        "Available memory on node .* is less than (?:desired CPU memory utilization|requested memory for kv)",
        "HostOutOfMemory",
        "Set VLLM_CPU_KVCACHE_SPACE in pod.env to the GiB that the KV cache may use, or raise the memory limit in pod.resources.",
    ),
    (
        "insufficient memory \\(attempted to allocate|ggml_\\w+: failed to allocate CPU\\w* buffer|ggml_backend_cpu_\\w+: failed to allocate buffer",
        "HostOutOfMemory",
        "Raise the memory limit in pod.resources, lower engine.contextLength, or use a model with a smaller quantization.",
    ),
    (
        "ggml_\\w+: failed to allocate .* ?buffer",
        "GpuOutOfMemory",
        "Choose an accelerator with more memory, lower engine.contextLength, or use a model with a smaller quantization.",
    ),
    (
        "(?:CUDA|HIP) out of memory|torch\\.OutOfMemoryError|CUDA_ERROR_OUT_OF_MEMORY|cudaMalloc failed: out of memory",
        "GpuOutOfMemory",
        "Choose an accelerator with more memory, use more of them (engine.parallelism.tensor), or use a quantized model.",
    ),
    (
        "DefaultCPUAllocator: (?:can't|not enough) |not enough memory: you tried to allocate|\\bMemoryError\\b|std::bad_alloc|\\[Errno 12\\]",
        "HostOutOfMemory",
        "Raise the memory limit in pod.resources, lower engine.contextLength, or use a model with a smaller quantization.",
    ),
    (
        "failed to open GGUF file '.*' \\(Permission denied\\)",
        "ModelAccessDenied",
        "Make the model's files readable for all users, or set the pod's fsGroup to their group.",
    ),
    (
        "couldn't bind HTTP server socket",
        "BadEngineArguments",
        "Choose a free port and an address of this pod; pods that share the host's network need different ports.",
    ),
    (
        "Error while creating shared memory segment|No space left on device.*/dev/shm|/dev/shm.*No space left on",
        "PodConfigError",
        "Mount a larger emptyDir with medium Memory at /dev/shm.",
    ),
    (
        "No space left on device|\\[Errno 28\\]|Disk quota exceeded",
        "PodConfigError",
        "Give the pod's caches a larger volume.",
    ),
    (
        "Permission denied: '/mnt/(?:models|adapters)",
        "ModelAccessDenied",
        "Make the model's files readable for all users, or set the pod's fsGroup to their group.",
    ),
    (
        "PermissionError: \\[Errno 13\\]|Read-only file system",
        "PodConfigError",
        "Mount a volume there that the pod's fsGroup may write to.",
    ),
    (
        "[Aa]ddress already in use",
        "BadEngineArguments",
        "Choose a free port and an address of this pod; pods that share the host's network need different ports.",
    ),
    (
        "Model architectures? .* (?:is|are) not supported|Model architecture .* was supported in vLLM until|Model architectures .* failed to be inspected",
        "UnsupportedArchitecture",
        "Choose another engine or a newer image, or a model whose architecture this engine supports.",
    ),
    (
        "Attempted to load weight \\(|assert .*(?:shape|size\\(\\)) == loaded_weight\\.|There is no module or parameter named|weights were not initialized from checkpoint|size mismatch for |shape mismatch|start \\(\\d+\\) \\+ length \\(\\d+\\) exceeds dimension size",
        "ModelCorrupt",
        "The weights don't match config.json: download both from the same revision.",
    ),
    ("Cannot find any model weights with", "ModelNotFound", "Check spec.model.uri and the path in it."),
    (
        "Quantization method specified in the model config .* does not match|(?:Unknown|Invalid) quantization method|quantization is currently not supported in",
        "QuantizationMismatch",
        "Use the model in another quantization, or leave engine.quantization out.",
    ),
    (
        "quantization method .* is not supported for the current GPU|Quantization scheme is not supported",
        "QuantizationMismatch",
        "Choose a newer accelerator, or another quantization.",
    ),
    (
        "unknown model architecture: '",
        "UnsupportedArchitecture",
        "Choose another engine or a newer image, or a model whose architecture this engine supports.",
    ),
    (
        "this GGUF file is version|is extremely large, is there a mismatch|GGUFv1 is no longer supported|has invalid ggml type",
        "UnsupportedArchitecture",
        "Convert the model again with a llama.cpp of about the engine's age, or use a newer image.",
    ),
    (
        "unknown pre-tokenizer type|unknown tokenizer: '",
        "UnsupportedArchitecture",
        "Use a newer image, or a GGUF file whose tokenizer this llama.cpp supports.",
    ),
    (
        "failed to open '.*': No such file|failed to load lora adapter '",
        "ModelNotFound",
        "Check the adapter's uri in engine.adapters.",
    ),
    (
        "failed to load GGUF split from|invalid magic characters|failed to read (?:magic|key-value pairs|tensor (?:info|data))|data is not within the file bounds|check_tensor_dims: tensor|key not found in model: |cannot find tokenizer",
        "ModelCorrupt",
        "Download the model again, or use another revision of it.",
    ),
    ("failed to open GGUF file", "ModelNotFound", "Check spec.model.uri and the path in it."),
    (
        "Transformers does not recognize this architecture",
        "UnsupportedArchitecture",
        "Choose another engine or a newer image, or a model whose architecture this engine supports.",
    ),
    (
        "must be executed|requires you to execute|trust_remote_code=True",
        "UnsupportedArchitecture",
        "If you have read the code that comes with the checkpoint and trust it, allow trust-remote-code by name in a runtime of your own.",
    ),
    (
        "[Cc]an't load tokenizer|instantiate the backend tokenizer|SafetensorError|Error while deserializing header|MetadataIncompleteBuffer",
        "ModelCorrupt",
        "Download the model again, or use another revision of it.",
    ),
    (
        "does not appear to have a file named|Can't load the configuration of|Repo id must be in the form|Invalid repository ID or local directory|No (?:\\.gguf file|config\\.json) in |mount the model there or name its place with --model",
        "ModelNotFound",
        "Check spec.model.uri and the path in it.",
    ),
    (
        "OfflineModeIsEnabled|LocalEntryNotFoundError|outgoing traffic has been disabled|couldn't connect to 'https://hugg",
        "ModelNotFound",
        "Put every file that the model needs into its folder; the engine downloads nothing.",
    ),
    (
        "Unrecognized model in|isn't a valid JSON file|not a valid JSON file",
        "ModelCorrupt",
        "Download the model again, or use another revision of it.",
    ),
    (
        "Total number of attention heads .* must be divisible by tensor parallel size",
        "BadEngineArguments",
        "Set engine.parallelism.tensor to a divisor of the number of attention heads.",
    ),
    (
        "Bfloat16 is only supported on GPUs with compute capability",
        "BadEngineArguments",
        "Add --dtype=half to engine.extraArgs, or choose a newer accelerator.",
    ),
    (
        "LoRA rank \\d+ is greater than max_lora_rank",
        "BadEngineArguments",
        "Add --max-lora-rank with the adapter's rank to engine.extraArgs.",
    ),
    (
        "Value error, ",
        "BadEngineArguments",
        "Correct engine.extraArgs; the engine's own documentation lists its flags.",
    ),
    (
        "quantized V cache requires flash_attn|V cache quantization requires flash_attn",
        "BadEngineArguments",
        "Turn flash attention on, or leave the types of the KV cache as they are.",
    ),
    ("chat template parsing error", "BadEngineArguments", "Correct the chat template, or leave it out."),
    (
        "error: invalid argument: |error while handling argument",
        "BadEngineArguments",
        "Correct engine.extraArgs; the engine's own documentation lists its flags.",
    ),
    ("name the one to serve with --model", "BadEngineArguments", "Name one file in the path of spec.model.uri."),
    (
        "unrecognized arguments: |error: argument |the following arguments are required",
        "BadEngineArguments",
        "Correct engine.extraArgs; the engine's own documentation lists its flags.",
    ),
    (
        "GGML_ASSERT\\(",
        "EngineCrashed",
        "This is a bug of llama.cpp, or the GGUF file is wrong: try another version of either.",
    ),
    (
        "ncclSystemError|ncclInternalError|ncclUnhandledCudaError|NCCL error|NCCL WARN .*failed",
        "EngineCrashed",
        "The GPUs couldn't communicate with each other: check /dev/shm and the node; set NCCL_DEBUG=INFO in pod.env to see more.",
    ),
    (
        "Watchdog caught collective operation timeout",
        "EngineCrashed",
        "One GPU stopped responding to the others: look for Xid messages in the node's kernel log.",
    ),
    (
        "CUDA error: an illegal memory access|CUDA error: unspecified launch failure|device-side assert",
        "EngineCrashed",
        "Look for Xid messages in the node's kernel log; if there are none, this is a bug of the engine, so try another version of it.",
    ),
    (
        "ModuleNotFoundError: No module named|ImportError: ",
        "EngineCrashed",
        "The image lacks a Python package, or has a wrong version of it: use another image.",
    ),
)
