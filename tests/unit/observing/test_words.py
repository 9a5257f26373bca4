"""The meaning of messages from engines, downloaders, registries and the scheduler."""

from __future__ import annotations

import pytest
from slipway.api.reasons import Reason
from slipway.observing import words


def meaning(explained: words.Said | None) -> tuple[Reason, str] | None:
    return (explained.reason, explained.words) if explained else None


SEE_ABOVE = (
    "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {'EngineCore': 1}"
)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("Free memory on device cuda:0 (3.1/79.1 GiB) is less than desired GPU memory utilization", Reason.GPU_BUSY),
        (
            "Failed to load model - not enough GPU memory. Try lowering --gpu-memory-utilization",
            Reason.GPU_OUT_OF_MEMORY,
        ),
        ("No available memory for the cache blocks. Try increasing `gpu_memory_utilization`", Reason.GPU_OUT_OF_MEMORY),
        (
            "To serve at least one request with the model's max seq len (100000), (1.53 GiB KV cache is needed",
            Reason.CONTEXT_TOO_LONG,
        ),
        (
            "Cannot auto-fit max_model_len: not enough GPU memory available to serve even a single token.",
            Reason.GPU_OUT_OF_MEMORY,
        ),
        ("CUDA out of memory occurred when warming up sampler with 256 dummy requests.", Reason.GPU_OUT_OF_MEMORY),
        ("User-specified max_model_len (9999) is greater than the derived max_model_len", Reason.CONTEXT_TOO_LONG),
        (
            "Model architectures ['X'] are not supported for now. Supported architectures: dict_keys([])",
            Reason.UNSUPPORTED_ARCHITECTURE,
        ),
        (
            "Model architecture X is not supported in-tree anymore. Please install the plugin at",
            Reason.UNSUPPORTED_ARCHITECTURE,
        ),
        ("RuntimeError: Cannot find any model weights with `/mnt/models`", Reason.MODEL_NOT_FOUND),
        ("HFValidationError: Repo id must be in the form 'repo_name'", Reason.MODEL_NOT_FOUND),
        ("Invalid repository ID or local directory specified: '/nope'", Reason.MODEL_NOT_FOUND),
        (
            "Quantization method specified in the model config (awq) does not match the quantization method",
            Reason.QUANTIZATION_MISMATCH,
        ),
        ("Unknown quantization method: x. Must be one of", Reason.QUANTIZATION_MISMATCH),
        (
            "The quantization method fp8 is not supported for the current GPU. Minimum capability: 89.",
            Reason.QUANTIZATION_MISMATCH,
        ),
        (
            "Total number of attention heads (30) must be divisible by tensor parallel size (4).",
            Reason.BAD_ENGINE_ARGUMENTS,
        ),
        (
            "llama_model_load: error loading model architecture: unknown model architecture: 'mamba9'",
            Reason.UNSUPPORTED_ARCHITECTURE,
        ),
        ("gguf_init_from_file: invalid magic characters: 'PK', expected 'GGUF'", Reason.MODEL_CORRUPT),
        ("error: argument --max-model-len: invalid int value: 'many'", Reason.BAD_ENGINE_ARGUMENTS),
        (
            "slipway-runtime: No .gguf file in /mnt/models (it is empty); llama.cpp needs the model in that format.",
            Reason.MODEL_NOT_FOUND,
        ),
        (
            "slipway-runtime: /mnt/models does not exist; mount the model there or name its place with --model.",
            Reason.MODEL_NOT_FOUND,
        ),
        (
            "slipway-runtime: 2 .gguf files in /mnt/models (a.gguf, b.gguf); name the one to serve with --model.",
            Reason.BAD_ENGINE_ARGUMENTS,
        ),
    ],
)
def test_an_engine_is_understood_though_its_last_line_says_nothing(line: str, reason: Reason) -> None:
    assert meaning(words.explain(f"INFO 10:00 loading\n{line}\n{SEE_ABOVE}\n", words.ENGINE)) == (reason, line)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("huggingface_hub.errors.RepositoryNotFoundError: 404 Client Error.", Reason.MODEL_NOT_FOUND),
        ("huggingface_hub.errors.RevisionNotFoundError: 404 Client Error.", Reason.MODEL_NOT_FOUND),
        ("botocore.errorfactory.NoSuchBucket: The specified bucket does not exist", Reason.MODEL_NOT_FOUND),
        ("RuntimeError: Failed to fetch model. No model found in s3://models/none.", Reason.MODEL_NOT_FOUND),
        ("huggingface_hub.errors.GatedRepoError: 401 Client Error.", Reason.MODEL_ACCESS_DENIED),
        ("ClientError: An error occurred (InvalidAccessKeyId) when calling ListObjects", Reason.MODEL_ACCESS_DENIED),
    ],
)
def test_a_downloader_is_understood(line: str, reason: Reason) -> None:
    assert meaning(words.explain(line, words.DOWNLOADER)) == (reason, line)


def test_the_explanation_of_the_runtime_comes_before_the_log_of_the_engine() -> None:
    text = '{"reason": "GpuBusy", "message": "pid 12 holds 40 GiB", "log": []}\nCUDA out of memory'
    assert meaning(words.explain(text, words.ENGINE)) == (Reason.GPU_BUSY, "pid 12 holds 40 GiB")


def test_an_unknown_reason_of_a_newer_runtime_keeps_its_message() -> None:
    assert meaning(words.explain('{"reason": "New", "message": "it is so"}', words.ENGINE)) == (
        Reason.UNKNOWN,
        "it is so",
    )


@pytest.mark.parametrize("line", ["{", "{}", '{"reason": "GpuBusy"}', "[1]", '{"level": "info", "message": "x"}'])
def test_json_without_an_explanation_is_not_an_explanation(line: str) -> None:
    assert words.explain(line, words.ENGINE) is None


def test_the_last_line_that_means_something_on_its_own_is_quoted() -> None:
    assert words.last_line(f"one\nValueError: two\n{SEE_ABOVE}\n\n") == "ValueError: two"


@pytest.mark.parametrize(
    ("message", "reason", "reading"),
    [
        (
            "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.",
            Reason.UNSCHEDULABLE,
            "No node has enough nvidia.com/gpu free",
        ),
        (
            "0/3 nodes are available: 1 Insufficient memory, 2 node(s) had untolerated taint(s).",
            Reason.UNSCHEDULABLE,
            "No node has enough memory free",
        ),
        (
            "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector.",
            Reason.UNSCHEDULABLE,
            "No node is of the right kind",
        ),
        (
            "0/3 nodes are available: 3 node(s) had untolerated taint {team: b}.",
            Reason.UNSCHEDULABLE,
            "The nodes are kept for others by a taint",
        ),
        (
            "0/2 nodes are available: 1 cannot allocate all claims, 1 node(s) had untolerated taint(s).",
            Reason.UNSCHEDULABLE,
            "No node has enough devices free for the claim",
        ),
        (
            "0/2 nodes are available: 2 request accelerators: device class gpu.example.com does not exist.",
            Reason.UNSCHEDULABLE,
            "The cluster has no DeviceClass gpu.example.com",
        ),
        (
            '0/3 nodes are available: persistentvolumeclaim "w" not found.',
            Reason.POD_CONFIG_ERROR,
            "A volume that the pod names isn't there",
        ),
        (
            "0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims.",
            Reason.VOLUME_NOT_READY,
            "A volume has no storage yet",
        ),
    ],
)
def test_the_scheduler_is_understood_and_quoted(message: str, reason: Reason, reading: str) -> None:
    explained = words.explain_scheduler(f"{message} preemption: 0/3 nodes are available: 3 Preemption is not helpful.")
    assert meaning(explained) == (reason, f"{reading}: {message.rstrip('.')}")


@pytest.mark.parametrize(
    ("answer", "hopeless"),
    [
        ('failed to resolve reference "registry/team/model:1": registry/team/model:1: not found', True),
        ("failed to authorize: unexpected status: 401 Unauthorized", True),
        ("pull access denied, repository does not exist or may require authorization", True),
        ("unexpected status from HEAD request: 429 Too Many Requests", False),
        ("unexpected status from HEAD request: 503 Service Unavailable", False),
        ("dial tcp: lookup registry.internal: no such host", False),
        ("dial tcp 10.0.0.1:443: i/o timeout", False),
    ],
)
def test_only_a_refusal_of_the_registry_is_final(answer: str, hopeless: bool) -> None:
    assert words.pull_is_hopeless(answer) is hopeless


@pytest.mark.parametrize(
    "message",
    [
        "rpc error: code = NotFound desc = it is not there",
        'Back-off pulling image "a/b:1": ErrImagePull: it is not there',
        'Error creating: pods "model-7d9f-x2x4z" is forbidden: it is not there',
    ],
)
def test_parts_that_change_at_every_try_are_left_out_so_that_they_cause_no_writes(message: str) -> None:
    assert words.unwrapped(message) == "it is not there"


def test_long_text_is_cut_to_fit_a_message() -> None:
    assert len(words.shorten("word " * 1000)) == words.LONGEST
