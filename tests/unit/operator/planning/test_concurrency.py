"""How many requests a replica works on at a time: one number, for the engine and for everything else."""

from __future__ import annotations

from typing import Any

import pytest
from slipway.contract.engines import LLAMACPP
from slipway.operator.planning.engine_settings import settings_for
from slipway_runtime.engines import llamacpp
from support.builders.rendering import arguments, deployment, on_h100, plan, profile

H100 = profile("h100", memory="81559Mi", features=["bf16", "fp8"])
A100 = profile("h100", memory="80Gi", features=["bf16"])
L40S = profile("h100", memory="46068Mi", features=["bf16", "fp8"])
CPU = profile("h100", vendor="CPU", resource={"name": "cpu"})
B200 = profile("h100", memory="183359Mi", features=["bf16", "fp8"])
HALF = profile("h100", memory="40779Mi", features=["bf16", "fp8"], sharedBy=2)


def llama(**engine: Any) -> Any:
    return deployment(engine={"name": "llamacpp", **engine})


@pytest.mark.parametrize("wanted", [on_h100(engine={"maxConcurrency": 3}), llama(maxConcurrency=3)])
def test_the_number_of_the_spec_is_used_without_a_reason(wanted: Any) -> None:
    planned = plan(wanted)
    assert planned.max_concurrency == 3
    assert not [sentence for sentence in planned.why if "at a time" in sentence]


@pytest.mark.parametrize(("mode", "slots"), [("Latency", 1), ("Balanced", 4), ("Throughput", 8)])
def test_llamacpp_gets_as_many_slots_as_the_plan_says(mode: str, slots: int) -> None:
    planned = plan(llama(mode=mode))
    assert planned.max_concurrency == slots
    assert f"--parallel={slots}" in arguments(llama(mode=mode))


def test_the_runtime_alone_would_choose_the_same_slots() -> None:
    assert LLAMACPP.concurrency == llamacpp.PARALLEL


@pytest.mark.parametrize(
    ("device", "engine", "sequences"),
    [
        (H100, {}, 1024),
        (H100, {"mode": "Latency"}, 1024),
        (H100, {"mode": "Throughput"}, 2048),
        (A100, {}, 256),
        (L40S, {}, 256),
        (CPU, {}, 128),
    ],
    ids=["a large GPU", "for latency", "for throughput", "an older GPU", "a small GPU", "a CPU"],
)
def test_vllm_gets_the_number_that_it_would_choose_on_its_own(device: Any, engine: Any, sequences: int) -> None:
    assert plan(on_h100(engine=engine), [device]).max_concurrency == sequences


def batched(tokens: str, **engine: Any) -> Any:
    return on_h100(engine={"extraArgs": [f"--max-num-batched-tokens={tokens}"], **engine})


@pytest.mark.parametrize(
    ("device", "wanted", "sequences"),
    [
        (H100, batched("8192"), 1024),
        (H100, batched("16k"), 1024),
        (H100, batched("512"), 512),
        (L40S, batched("2048"), 256),
        (L40S, batched("2048", mode="Throughput"), 512),
        (L40S, batched("128", mode="Throughput"), 128),
        (L40S, batched("64", maxConcurrency=32), 32),
        (CPU, batched("2048"), 128),
        (H100, batched("auto"), None),
    ],
)
def test_tokens_of_a_batch_limit_the_requests_as_in_vllm(device: Any, wanted: Any, sequences: int | None) -> None:
    """`min(default, max_num_batched_tokens)`: vllm/engine/arg_utils.py of 0.32.0, line 3180."""
    assert plan(wanted, [device]).max_concurrency == sequences


STEPS = [
    (H100, {}, 8192, 1024),
    (H100, {"mode": "Throughput"}, 16384, 2048),
    (H100, {"mode": "Latency"}, 2048, 1024),
    (B200, {}, 16384, 1024),
    (B200, {"mode": "Throughput"}, 32768, 2048),
    (HALF, {}, 8192, 1024),
    (A100, {}, 2048, 256),
    (L40S, {}, 2048, 256),
    (L40S, {"extraArgs": ["--max-num-batched-tokens=2048"]}, 2048, 256),
    (L40S, {"extraArgs": ["--max-num-batched-tokens=4096"], "mode": "Throughput"}, 4096, 512),
    (L40S, {"extraArgs": ["--max-num-batched-tokens=100"]}, 100, 100),
    (CPU, {}, 2048, 128),
]


@pytest.mark.parametrize(("device", "engine", "tokens", "sequences"), STEPS)
def test_a_step_is_as_large_as_vllm_makes_it(device: Any, engine: Any, tokens: int, sequences: int) -> None:
    """`get_batch_defaults` of vllm/engine/arg_utils.py of 0.32.0, for a server; a mode is doubled where it is open."""
    settings = settings_for(on_h100(engine=engine).spec, device, tensor=1, pipeline=1)
    assert (settings.batched_tokens, settings.sequences) == (tokens, sequences)


def test_on_cpus_each_device_adds_a_step() -> None:
    settings = settings_for(on_h100().spec, CPU, tensor=2, pipeline=1)
    assert (settings.batched_tokens, settings.sequences) == (4096, 256)


def test_a_plan_says_why_a_replica_takes_that_many_requests() -> None:
    assert plan(llama(mode="Latency")).why[-1] == (
        "A replica works on 1 request at a time, which is the default of llamacpp here in mode Latency; "
        "engine.maxConcurrency sets another number."
    )


@pytest.mark.parametrize(
    "wanted",
    [deployment(engine={"name": "sglang"}), on_h100(engine={"extraArgs": ["--max_num_batched_tokens=all"]})],
    ids=["a third-party engine", "vllm with a batch size that can't be read"],
)
def test_a_concurrency_that_only_the_engine_knows_is_left_to_it(wanted: Any) -> None:
    planned = plan(wanted)
    assert planned.max_concurrency is None
    assert not [argument for argument in arguments(wanted) if "max-num-seqs" in argument]


def test_the_field_for_tokens_of_a_step_decides_where_no_flag_does() -> None:
    fewer = on_h100(engine={"maxBatchedTokens": 512}).spec
    settings = settings_for(fewer, H100, tensor=1, pipeline=1)
    assert (settings.batched_tokens, settings.sequences) == (512, 512)
    both = batched("4096", maxBatchedTokens=512).spec
    assert settings_for(both, H100, tensor=1, pipeline=1).batched_tokens == 4096
