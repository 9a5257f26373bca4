"""What each check before a start reports: a table of setups with one fault each, and of setups without."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from slipway_runtime.contract.reasons import Reason
from slipway_runtime.failure import Failure
from slipway_runtime.models import Facts, find_model, read_model
from slipway_runtime.models.facts import Shape
from slipway_runtime.preflight import Device, EngineSettings, Finding, Host, Support, examine, run
from slipway_runtime.preflight.checks import CHECKS
from support.builders.model_files import write_adapter, write_checkpoint

GIB = 1 << 30

LLAMA_8B = Facts(
    path="/mnt/models",
    format="safetensors",
    architecture="LlamaForCausalLM",
    shape=Shape(
        layers=32,
        hidden_size=4096,
        attention_heads=32,
        kv_heads=8,
        head_dim=128,
        vocabulary_size=128256,
        context_length=131072,
    ),
    weight_bytes=16060522496,
    files=4,
    parameters=8030261248,
    dtype="bfloat16",
    tokenizer="tokenizer.json",
)
LLAMA_8B_GGUF = replace(LLAMA_8B, format="gguf", architecture="llama", weight_bytes=5 * GIB, quantization="Q4_K_M")
H100 = Device(index=0, name="NVIDIA H100", memory=80 * GIB, free_memory=79 * GIB, capability=(9, 0))
L4 = replace(H100, name="NVIDIA L4", memory=24 * GIB, free_memory=24 * GIB, capability=(8, 9))
T4 = replace(H100, name="Tesla T4", memory=16 * GIB, free_memory=16 * GIB, capability=(7, 5))
V100 = replace(H100, name="Tesla V100", memory=32 * GIB, free_memory=32 * GIB, capability=(7, 0))
VLLM = Support(
    version="0.32.0",
    knows_architecture={"LlamaForCausalLM"}.__contains__,
    gone={"PhiThree": "until version 0.9.2"},
    quantizations=frozenset({"awq", "gptq", "fp8"}),
    cuda=(13, 0),
)
HOST = Host(
    devices=(H100,),
    driver="580.95",
    driver_cuda=(13, 0),
    memory=64 * GIB,
    shm=8 * GIB,
    cache_free=10 * GIB,
    support=VLLM,
)
ON_GPU = EngineSettings(engine="vllm", device="cuda", cache=Path("/var/cache/slipway/vllm"))
ON_CPU = EngineSettings(engine="llamacpp", context_length=4096, parallel=4)


def a(value: Any, **changes: Any) -> Any:
    return replace(value, **changes)


def shaped(**changes: Any) -> Facts:
    return replace(LLAMA_8B, shape=replace(LLAMA_8B.shape, **changes))


RIGHT = [
    pytest.param(ON_GPU, LLAMA_8B, HOST, id="an 8B on an H100"),
    pytest.param(ON_CPU, LLAMA_8B_GGUF, Host(memory=16 * GIB), id="an 8B as GGUF on CPUs"),
    pytest.param(
        a(ON_GPU, context_length=8192), LLAMA_8B, a(HOST, devices=(L4,)), id="an 8B with a short context on an L4"
    ),
    pytest.param(
        a(ON_GPU, context_length=-1), LLAMA_8B, a(HOST, devices=(L4,)), id="a context that vLLM reduces to fit"
    ),
    pytest.param(a(ON_GPU, tensor_parallel=2), LLAMA_8B, a(HOST, devices=(H100, H100)), id="on two devices"),
    pytest.param(ON_GPU, LLAMA_8B, a(HOST, driver_cuda=(13, 2)), id="a driver that is newer than the engine"),
    pytest.param(ON_GPU, LLAMA_8B, a(HOST, support=a(VLLM, cuda=(13, 2))), id="a driver of the same major version"),
    pytest.param(ON_GPU, LLAMA_8B, a(HOST, shm=64 << 20), id="a container's own shared memory, for one device"),
    pytest.param(
        a(ON_GPU, quantization="fp8", context_length=8192), LLAMA_8B, a(HOST, devices=(T4,)), id="halved on a T4"
    ),
    pytest.param(
        a(ON_GPU, quantization="awq_marlin"),
        a(LLAMA_8B, quantization="awq"),
        HOST,
        id="another name for the same method",
    ),
    pytest.param(ON_GPU, LLAMA_8B, a(HOST, support=Support()), id="an engine without known facts"),
    pytest.param(ON_GPU, a(LLAMA_8B, shape=Shape()), HOST, id="a model without known facts"),
    pytest.param(a(ON_GPU, needs_tokenizer=False), a(LLAMA_8B, tokenizer=None), HOST, id="a tokenizer from elsewhere"),
    pytest.param(
        a(ON_GPU, long_context=True, context_length=200_000), LLAMA_8B, HOST, id="a longer context, on purpose"
    ),
    pytest.param(
        a(ON_GPU, remote_code=True),
        a(LLAMA_8B, architecture="Own", needs_remote_code=True),
        HOST,
        id="trusted code",
    ),
    pytest.param(
        ON_GPU, LLAMA_8B, a(HOST, devices=(a(H100, warnings=("a row waits",)),)), id="a warning of the device"
    ),
]


@pytest.mark.parametrize(("settings", "facts", "host"), RIGHT)
def test_a_setup_that_can_run_passes(settings: EngineSettings, facts: Facts, host: Host) -> None:
    assert run(settings, facts, host) is None


WRONG = [
    (
        "driver answers",
        (ON_GPU, LLAMA_8B, a(HOST, driver_trouble="the NVIDIA driver is not loaded on the node")),
        (Reason.DRIVER_MISMATCH, "the NVIDIA driver is not loaded on the node", "Install the driver"),
    ),
    (
        "driver is new enough",
        (ON_GPU, LLAMA_8B, a(HOST, driver="550.54", driver_cuda=(12, 4))),
        (Reason.DRIVER_MISMATCH, "CUDA 13.0; the node's driver 550.54 runs up to CUDA 12.4", "built for CUDA 12"),
    ),
    (
        "enough devices",
        (ON_GPU, LLAMA_8B, a(HOST, devices=())),
        (Reason.POD_CONFIG_ERROR, "0 of the 1 accelerators", "Request as many"),
    ),
    (
        "enough devices",
        (a(ON_GPU, tensor_parallel=4), LLAMA_8B, a(HOST, devices=(H100, H100))),
        (Reason.BAD_ENGINE_ARGUMENTS, "2 of the 4 accelerators", "Request as many"),
    ),
    (
        "devices are healthy",
        (ON_GPU, LLAMA_8B, a(HOST, devices=(a(H100, faults=("the GPU has fallen off the bus",)),))),
        (Reason.GPU_UNHEALTHY, "NVIDIA H100 (number 0) is not healthy: the GPU has fallen off", "Cordon the node"),
    ),
    (
        "architecture is known",
        (ON_GPU, a(LLAMA_8B, architecture="NewForCausalLM"), HOST),
        (
            Reason.UNSUPPORTED_ARCHITECTURE,
            "vllm 0.32.0 doesn't support the architecture NewForCausalLM.",
            "newer image",
        ),
    ),
    (
        "architecture is known",
        (ON_GPU, a(LLAMA_8B, architecture="PhiThree"), HOST),
        (Reason.UNSUPPORTED_ARCHITECTURE, "supported until version 0.9.2", "another engine"),
    ),
    (
        "architecture is known",
        (ON_GPU, a(LLAMA_8B, architecture="Own", needs_remote_code=True), HOST),
        (Reason.UNSUPPORTED_ARCHITECTURE, "may not run the code in the checkpoint", "trust-remote-code"),
    ),
    (
        "tokenizer is there",
        (ON_GPU, a(LLAMA_8B, tokenizer=None), HOST),
        (Reason.MODEL_CORRUPT, "no tokenizer in /mnt/models", "tokenizer.json"),
    ),
    (
        "quantization is known",
        (ON_GPU, a(LLAMA_8B, quantization="bitsandbytes"), HOST),
        (Reason.QUANTIZATION_MISMATCH, "quantized by bitsandbytes, which vLLM 0.32.0 doesn't support", "AWQ"),
    ),
    (
        "quantization is what is asked for",
        (a(ON_GPU, quantization="fp8"), a(LLAMA_8B, quantization="awq"), HOST),
        (
            Reason.QUANTIZATION_MISMATCH,
            "engine.quantization is fp8, but the checkpoint is already quantized by awq",
            "Leave out engine.quantization",
        ),
    ),
    (
        "quantization is what is asked for",
        (a(ON_GPU, quantization="gptq"), LLAMA_8B, HOST),
        (Reason.QUANTIZATION_MISMATCH, "the checkpoint isn't quantized", "FP8"),
    ),
    (
        "quantization runs on the device",
        (ON_GPU, a(LLAMA_8B, quantization="awq"), a(HOST, devices=(V100,))),
        (Reason.QUANTIZATION_MISMATCH, "awq needs compute capability 7.5; Tesla V100 has 7.0", "newer accelerator"),
    ),
    (
        "tensor parallel divides",
        (a(ON_GPU, tensor_parallel=3), LLAMA_8B, a(HOST, devices=(H100,) * 3)),
        (
            Reason.BAD_ENGINE_ARGUMENTS,
            "32 attention heads can't be divided by tensor parallelism over 3",
            "one of 1, 2, 4, 8",
        ),
    ),
    (
        "pipeline has layers",
        (a(ON_GPU, pipeline_parallel=4), shaped(layers=2), a(HOST, devices=(H100,) * 4)),
        (Reason.BAD_ENGINE_ARGUMENTS, "2 layers aren't enough for 4 stages", "2 at most"),
    ),
    (
        "context is within the models",
        (a(ON_GPU, context_length=200_000), LLAMA_8B, HOST),
        (Reason.CONTEXT_TOO_LONG, "200000 tokens; the model was made for 131072", "131072 at most"),
    ),
    (
        "adapters fit",
        (a(ON_GPU, adapters={"sql": Path("/nowhere")}), LLAMA_8B, HOST),
        (Reason.MODEL_NOT_FOUND, "Adapter sql: /nowhere doesn't exist", "Mount the adapter"),
    ),
    (
        "weights fit the device",
        (ON_GPU, LLAMA_8B, a(HOST, devices=(T4,))),
        (
            Reason.GPU_OUT_OF_MEMORY,
            "15.0 GiB of weights don't fit into the usable 14.7 GiB of Tesla T4",
            "more memory",
        ),
    ),
    (
        "weights fit the device",
        (a(ON_GPU, tensor_parallel=2), a(LLAMA_8B, weight_bytes=60 * GIB), a(HOST, devices=(L4, L4))),
        (Reason.GPU_OUT_OF_MEMORY, "30.0 GiB of weights for each of 2 don't fit", "parallelism.tensor"),
    ),
    (
        "device memory is free",
        (ON_GPU, LLAMA_8B, a(HOST, devices=(a(H100, free_memory=20 * GIB),))),
        (Reason.GPU_BUSY, "has 20.0 GiB of 80.0 GiB free, but the engine would use 73.6 GiB", "nvidia-smi"),
    ),
    (
        "context fits the device",
        (ON_GPU, LLAMA_8B, a(HOST, devices=(L4,))),
        (Reason.CONTEXT_TOO_LONG, "131072 tokens takes 16.0 GiB of KV cache", "contextLength to 58"),
    ),
    (
        "context fits the device",
        (a(ON_GPU, kv_cache_bytes=4 * GIB), LLAMA_8B, HOST),
        (Reason.CONTEXT_TOO_LONG, "NVIDIA H100 has 4.0 GiB for it", "contextLength to 32768"),
    ),
    (
        "kv cache fits the device",
        (a(ON_GPU, kv_cache_bytes=70 * GIB), LLAMA_8B, HOST),
        (
            Reason.GPU_OUT_OF_MEMORY,
            "15.0 GiB of weights and 70.0 GiB of KV cache don't fit into the 79.0 GiB",
            "more memory",
        ),
    ),
    (
        "all fits the memory limit",
        (ON_CPU, LLAMA_8B_GGUF, Host(memory=4 * GIB)),
        (
            Reason.HOST_OUT_OF_MEMORY,
            "5.0 GiB of weights and 2.0 GiB of KV cache don't fit into the 4.0 GiB",
            "memory limit",
        ),
    ),
    (
        "all fits the memory limit",
        (a(ON_CPU, engine="vllm", kv_cache_bytes=4 * GIB), LLAMA_8B, a(HOST, memory=16 * GIB)),
        (Reason.HOST_OUT_OF_MEMORY, "15.0 GiB of weights and 4.0 GiB of KV cache", "pod.resources"),
    ),
    (
        "shared memory is large enough",
        (a(ON_GPU, tensor_parallel=2), LLAMA_8B, a(HOST, devices=(H100, H100), shm=64 << 20)),
        (Reason.POD_CONFIG_ERROR, "has 64 MiB, and 2 devices need 512 of it", "emptyDir of medium Memory"),
    ),
    (
        "shared memory is large enough",
        (ON_GPU, LLAMA_8B, a(HOST, shm=None)),
        (Reason.POD_CONFIG_ERROR, "is missing or not writable", "emptyDir of medium Memory"),
    ),
    (
        "caches have room",
        (ON_GPU, LLAMA_8B, a(HOST, cache_free=None)),
        (Reason.POD_CONFIG_ERROR, "/var/cache/slipway/vllm, is not writable", "fsGroup"),
    ),
    (
        "caches have room",
        (ON_GPU, LLAMA_8B, a(HOST, cache_free=100 << 20)),
        (Reason.POD_CONFIG_ERROR, "has 100 MiB left", "Enlarge"),
    ),
]


@pytest.mark.parametrize(("check", "setup", "expected"), WRONG, ids=[f"{row[0]}: {row[2][1][:40]}" for row in WRONG])
def test_a_setup_that_cannot_run_is_reported_with_a_remedy(
    check: str, setup: tuple[EngineSettings, Facts, Host], expected: tuple[Reason, str, str]
) -> None:
    *passed, last = examine(*setup)
    assert not any(finding.failure or finding.trouble for finding in passed)
    assert last.failure
    reason, message, remedy = expected
    assert (last.check, last.failure.reason, last.failure.phase) == (check, reason, "preflight")
    assert message in last.failure.message
    assert remedy in last.failure.remedy


def test_every_check_is_seen_to_fail() -> None:
    assert {row[0] for row in WRONG} == {check.__name__.replace("_", " ") for check in CHECKS}


@pytest.mark.parametrize("failure", [run(*row[1]) for row in WRONG])
def test_message_and_remedy_are_sentences_of_one_line(failure: Failure) -> None:
    for text in (failure.message, failure.remedy):
        assert text.endswith(".")
        assert "\n" not in text
        assert len(text) < 240


def test_an_exception_in_a_check_is_logged_and_does_not_stop_the_start() -> None:
    def failing_check(*_: object) -> None:
        raise ZeroDivisionError("division by zero")

    [finding] = examine(ON_GPU, LLAMA_8B, HOST, checks=[failing_check])
    assert finding.failure is None
    assert finding.trouble == "ZeroDivisionError: division by zero"


def test_adapters_of_a_higher_rank_than_allowed_are_reported(tmp_path: Path) -> None:
    folder = write_adapter(tmp_path, rank=64)
    found = run(a(ON_GPU, adapters={"sql": folder}), LLAMA_8B, HOST)
    assert found
    assert "rank 64, and the engine allows 16" in found.message
    assert run(a(ON_GPU, adapters={"sql": folder}, max_adapter_rank=64), LLAMA_8B, HOST) is None


def test_each_file_of_a_model_is_opened_twice_for_all_checks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_checkpoint(tmp_path, parts=20)
    opened = Counter[str]()
    original = Path.open

    def counted(path: Path, *how: Any, **more: Any) -> Any:
        opened.update([path.name])
        return original(path, *how, **more)

    monkeypatch.setattr(Path, "open", counted)
    facts = read_model(find_model(tmp_path, "vllm"))
    findings: list[Finding] = [*examine(ON_GPU, facts, HOST)]
    assert len(findings) == len(CHECKS)
    parts = {name: number for name, number in opened.items() if name.endswith(".safetensors")}
    assert set(parts.values()) == {2}  # one is to see whether it is a pointer of Git LFS
    assert len(parts) == 20
