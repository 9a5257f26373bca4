"""The reasons that the runtime can find for a failure, each with the exit code by which it ends.

Written by `make generate`; instead of this file, change
runtime-image/contract/reasons.yaml.
"""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """A cause with its meaning and its exit code."""

    meaning: str
    exit_code: int

    def __new__(cls, word: str, meaning: str = "", exit_code: int = 0) -> Reason:
        found = str.__new__(cls, word)
        found._value_ = word
        found.meaning = meaning
        found.exit_code = exit_code
        return found

    BAD_ENGINE_ARGUMENTS = ("BadEngineArguments", "The engine refuses the arguments that it was started with.", 2)
    POD_CONFIG_ERROR = ("PodConfigError", "The pod names a Secret, ConfigMap, volume or class that doesn't exist.", 3)
    MODEL_NOT_FOUND = ("ModelNotFound", "There is no model where the spec says that it is.", 10)
    MODEL_ACCESS_DENIED = ("ModelAccessDenied", "The model's source refuses the credentials, or none were given.", 11)
    MODEL_CORRUPT = ("ModelCorrupt", "The model's files exist, but they are damaged or incomplete.", 12)
    UNSUPPORTED_ARCHITECTURE = ("UnsupportedArchitecture", "The engine doesn't support this kind of model.", 13)
    QUANTIZATION_MISMATCH = ("QuantizationMismatch", "The checkpoint or the GPU doesn't support the quantization.", 14)
    GPU_UNHEALTHY = ("GpuUnhealthy", "The accelerator reports hardware errors.", 20)
    DRIVER_MISMATCH = ("DriverMismatch", "The node's driver is too old for the engine, or is missing.", 21)
    GPU_BUSY = ("GpuBusy", "Another process is using memory of the accelerator.", 22)
    GPU_OUT_OF_MEMORY = ("GpuOutOfMemory", "The accelerator's memory is too small for the model and its KV cache.", 30)
    HOST_OUT_OF_MEMORY = ("HostOutOfMemory", "The model needs more memory than its container may use.", 31)
    CONTEXT_TOO_LONG = ("ContextTooLong", "The context length is more than the model or the memory allows.", 32)
    ENGINE_CRASHED = ("EngineCrashed", "The engine ended unexpectedly.", 40)
    START_TIMEOUT = ("StartTimeout", "The engine wasn't ready within the time that it has to start.", 41)
    ENGINE_STUCK = ("EngineStuck", "The engine is running but doesn't answer its health check.", 42)
    PUSH_FAILED = ("PushFailed", "An image can't be pushed to its registry.", 60)
    UNKNOWN = ("Unknown", "The cause isn't known; the message says what was observed.", 50)
