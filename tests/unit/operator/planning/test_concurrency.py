"""How many requests a replica works on at a time: one number, for the engine and for everything else."""

from __future__ import annotations

from typing import Any

import pytest
from slipway.contract.engines import LLAMACPP
from slipway_runtime.engines import llamacpp
from support.builders.rendering import arguments, deployment, on_h100, plan, profile

H100 = profile("h100", memory="81559Mi", features=["bf16", "fp8"])
A100 = profile("h100", memory="80Gi", features=["bf16"])
L40S = profile("h100", memory="46068Mi", features=["bf16", "fp8"])
CPU = profile("h100", vendor="CPU", resource={"name": "cpu"})


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


def test_a_plan_says_why_a_replica_takes_that_many_requests() -> None:
    assert plan(llama(mode="Latency")).why[-1] == (
        "A replica works on 1 request at a time, which is the default of llamacpp here in mode Latency; "
        "engine.maxConcurrency sets another number."
    )


@pytest.mark.parametrize(
    "wanted",
    [deployment(engine={"name": "sglang"}), on_h100(engine={"extraArgs": ["--max_num_batched_tokens=128"]})],
    ids=["a third-party engine", "vllm with a user-defined batch size"],
)
def test_a_concurrency_that_only_the_engine_knows_is_left_to_it(wanted: Any) -> None:
    planned = plan(wanted)
    assert planned.max_concurrency is None
    assert not [argument for argument in arguments(wanted) if "max-num-seqs" in argument]
