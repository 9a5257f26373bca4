"""The sentences by which engines, downloaders, registries and the scheduler can be understood, and what they mean.

An exit code says little: every start of vLLM that fails ends with 1. The text says it all, if one knows the sentence.
"""

from __future__ import annotations

import json
import re
from typing import NamedTuple

from slipway.api.reasons import Reason
from slipway.observing.cause import reason_named
from slipway.observing.redacting import redacted

LONGEST = 600  # characters of somebody's words that fit a message


class Said(NamedTuple):
    """What somebody's words mean, and the part of them that says so."""

    reason: Reason
    words: str


Table = tuple[tuple[str, Reason], ...]

ENGINE: Table = (
    # vLLM
    (r"To serve at least one request with the model's max seq len", Reason.CONTEXT_TOO_LONG),
    (r"User-specified max_model_len .* is greater than the derived max_model_len", Reason.CONTEXT_TOO_LONG),
    (r"Free memory on device .* is less than desired GPU memory utilization", Reason.GPU_BUSY),
    (r"Failed to load model - not enough GPU memory", Reason.GPU_OUT_OF_MEMORY),
    (r"No available memory for the cache blocks", Reason.GPU_OUT_OF_MEMORY),
    (r"Cannot auto-fit max_model_len: not enough GPU memory", Reason.GPU_OUT_OF_MEMORY),
    (r"CUDA out of memory|torch\.OutOfMemoryError|HIP out of memory", Reason.GPU_OUT_OF_MEMORY),
    (r"Available memory on node .* is less than desired CPU memory utilization", Reason.HOST_OUT_OF_MEMORY),
    (r"Model architectures? .* (?:are|is) not supported", Reason.UNSUPPORTED_ARCHITECTURE),
    (r"Cannot find any model weights with", Reason.MODEL_NOT_FOUND),
    (r"Repo id must be in the form|Invalid repository ID or local directory specified", Reason.MODEL_NOT_FOUND),
    (r"Quantization method specified in the model config .* does not match", Reason.QUANTIZATION_MISMATCH),
    (r"Unknown quantization method", Reason.QUANTIZATION_MISMATCH),
    (r"The quantization method .* is not supported for the current GPU", Reason.QUANTIZATION_MISMATCH),
    (r"Total number of attention heads .* must be divisible by tensor parallel size", Reason.BAD_ENGINE_ARGUMENTS),
    # the driver below it
    (r"NVIDIA driver on your system is too old", Reason.DRIVER_MISMATCH),
    (r"CUDA driver version is insufficient for CUDA runtime version", Reason.DRIVER_MISMATCH),
    (r"Found no NVIDIA driver|libcuda\.so\.1: cannot open shared object file", Reason.DRIVER_MISMATCH),
    (r"nvidia-container-cli: requirement error: unsatisfied condition", Reason.DRIVER_MISMATCH),
    (r"uncorrectable ECC error|CUDA error: an illegal instruction|GPU is lost|\bXid\b", Reason.GPU_UNHEALTHY),
    # llama.cpp
    (r"unknown model architecture", Reason.UNSUPPORTED_ARCHITECTURE),
    (r"invalid magic characters|tensor .* data is not within the file bounds", Reason.MODEL_CORRUPT),
    (r"safetensors_rust\.SafetensorError|Error while deserializing header", Reason.MODEL_CORRUPT),
    (r"failed to open GGUF file|no \.?gguf file|no model file", Reason.MODEL_NOT_FOUND),
    (r"mount the model there or name its place with --model", Reason.MODEL_NOT_FOUND),
    (r"name the one to serve with --model", Reason.BAD_ENGINE_ARGUMENTS),
    (r"ggml_.*failed to allocate .* buffer", Reason.GPU_OUT_OF_MEMORY),
    # any of them
    (r"unrecognized arguments|invalid argument:|the following arguments are required", Reason.BAD_ENGINE_ARGUMENTS),
    (r"error: argument -", Reason.BAD_ENGINE_ARGUMENTS),
)

DOWNLOADER: Table = (
    (r"GatedRepoError|Access to model .* is restricted", Reason.MODEL_ACCESS_DENIED),
    (r"\b40[13] Client Error|AccessDenied|InvalidAccessKeyId|SignatureDoesNotMatch", Reason.MODEL_ACCESS_DENIED),
    (r"Unauthorized|Forbidden|AuthenticationError|permission denied", Reason.MODEL_ACCESS_DENIED),
    (r"RepositoryNotFoundError|RevisionNotFoundError|EntryNotFoundError", Reason.MODEL_NOT_FOUND),
    (r"NoSuchBucket|NoSuchKey|404 Client Error|Failed to fetch model\. No model found", Reason.MODEL_NOT_FOUND),
    (r"The path or model .* does not exist", Reason.MODEL_NOT_FOUND),
)

RUNTIME_COULD_NOT_START: Table = (
    (r"nvidia-container-cli|libcuda|could not select device driver", Reason.DRIVER_MISMATCH),
    (r"no such file or directory|executable file not found|permission denied", Reason.BAD_ENGINE_ARGUMENTS),
)

SCHEDULER: tuple[tuple[str, Reason, str], ...] = (
    (r"persistentvolumeclaim .* not found", Reason.POD_CONFIG_ERROR, "A volume that the pod names isn't there"),
    (r"unbound immediate PersistentVolumeClaims", Reason.VOLUME_NOT_READY, "A volume has no storage yet"),
    (r"volume node affinity conflict", Reason.UNSCHEDULABLE, "The pod's volume is on other nodes"),
    (r"Insufficient (?P<what>[\w.-]+/[\w.-]+)", Reason.UNSCHEDULABLE, "No node has enough {what} free"),
    (r"Insufficient (?P<what>cpu|memory|ephemeral-storage)", Reason.UNSCHEDULABLE, "No node has enough {what} free"),
    (r"Too many pods", Reason.UNSCHEDULABLE, "No node has room for one more pod"),
    (r"match Pod's.*untolerated taint", Reason.UNSCHEDULABLE, "No node is both of the right kind and open to all"),
    (r"didn't match Pod's node affinity/selector", Reason.UNSCHEDULABLE, "No node is of the right kind"),
    (r"untolerated taint", Reason.UNSCHEDULABLE, "The nodes are kept for others by a taint"),
)  # the first that fits counts: a node that nearly fits says more than those of another kind

PASSING_PULL = r"\b(?:429|5\d\d)\b|toomanyrequests|timeout|timed out|connection (?:refused|reset)|no such host"
FINAL_PULL = r"\b40[134]\b|not found|does not exist|manifest unknown|unauthorized|authorization failed|denied|forbidden"


def pull_is_hopeless(text: str) -> bool:
    """Whether the registry has said that it won't ever give this image to us."""
    return not re.search(PASSING_PULL, text, re.IGNORECASE) and bool(re.search(FINAL_PULL, text, re.IGNORECASE))


_SEE_ABOVE = re.compile(r"See root cause above|Engine core initialization failed")
_STANDING_IN_FRONT = re.compile(
    r"^(?:rpc error: code = \w+ desc = "
    r'|Back-off pulling image "[^"]*": |Failed to pull image "[^"]*": '
    r"|(?:ErrImagePull|ImagePullBackOff): )"
)
_MADE_UP_NAME = re.compile(
    r'^(?:\(combined from similar events\): )?(?:Error creating: )?(?:[\w.-]+ "[^"]*" is forbidden: )?'
)


def explain(text: str, table: Table) -> Said | None:
    """What the last line that the table knows means; our runtime's own explanation, where there is one, goes first."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for line in reversed(lines):
        if said := _explained_by_runtime(line):
            return said
    for line in reversed(lines):
        for pattern, reason in table:
            if re.search(pattern, line, re.IGNORECASE):
                return Said(reason, shorten(line))
    return None


def last_line(text: str) -> str:
    """The last line that says something by itself."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if not _SEE_ABOVE.search(line)] or lines
    return shorten(telling[-1]) if telling else ""


def explain_scheduler(text: str) -> Said:
    """Why the pod has no node: the reading of the scheduler's words, and the words."""
    told = re.split(r" no new claims to deallocate| preemption:", text)[0].removesuffix(" not found").rstrip(". ,")
    for pattern, reason, reading in SCHEDULER:
        if found := re.search(pattern, told):
            return Said(reason, f"{reading.format(**found.groupdict())}: {shorten(told)}")
    return Said(Reason.UNSCHEDULABLE, shorten(told))


def plain(text: str) -> str:
    """Without what stands in front of the words and changes from one try to the next."""
    while found := _STANDING_IN_FRONT.match(text):
        text = text[found.end() :]
    return shorten(_MADE_UP_NAME.sub("", text, count=1))


def shorten(text: str) -> str:
    """In one line that fits a message, without credentials: all that is told of others' words goes through here."""
    line = redacted(" ".join(text.split()))
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"


def _explained_by_runtime(line: str) -> Said | None:
    """Our runtime ends a failure with one line of JSON: {"reason": …, "message": …, "remedy": …}."""
    if not line.startswith("{"):
        return None
    try:
        told = json.loads(line)
        return Said(reason_named(told["reason"]), shorten(f"{told['message']} {told.get('remedy', '')}"))
    except (ValueError, KeyError, TypeError):
        return None
