"""Which changes of a spec a plan proposes where a model doesn't fit."""

from __future__ import annotations

from typing import Any

import pytest
from slipway.api.acceleratorprofile import AcceleratorProfile
from slipway.models.facts import Model
from slipway.operator.planning.candidates import Candidate
from slipway.operator.planning.fitting import Fit, Misfit, fit
from slipway.operator.planning.remedies import changes
from slipway.operator.planning.supply import Supply
from support.builders.models import LLAMA_8B, QWEN_14B
from support.builders.rendering import cpu, deployment, profile

AMPERE = profile("ampere", memory="24Gi", devicesPerNode=8, features=["bf16", "int8"])
ADA = profile("ada", memory="24Gi", devicesPerNode=8, features=["bf16", "fp8", "int8"])


def proposed(it: AcceleratorProfile, model: Model = LLAMA_8B, draft: Model | None = None, **spec: Any) -> list[str]:
    made, candidate = deployment(**spec).spec, Candidate(it, 1, 1)
    found = fit(made, candidate, model, draft=draft)
    assert isinstance(found, Misfit), found
    return list(changes(made, found, model, Supply(), draft=draft))


def test_a_cache_in_fp8_is_proposed_only_where_the_device_can_compute_with_it() -> None:
    """50,000 tokens of 128 KiB are 6.1 GiB, and weights 15."""
    long = {"contextLength": 50_000, "parallelism": {"tensor": 1}}
    assert "engine.kvCacheDtype: FP8" in proposed(ADA, engine=long)
    assert "engine.kvCacheDtype: FP8" not in proposed(AMPERE, engine=long)


def test_more_devices_must_hold_the_draft_as_well() -> None:
    engine = {"contextLength": 8192, "parallelism": {"tensor": 1}}
    assert "engine.parallelism.tensor: 2" in proposed(AMPERE, QWEN_14B, engine=engine)
    found = proposed(AMPERE, QWEN_14B, LLAMA_8B, engine=engine)
    assert "engine.parallelism.tensor: 2" not in found


@pytest.mark.parametrize("engine", ["vllm", "llamacpp"])
def test_on_cpus_the_memory_limit_is_what_can_grow(engine: str) -> None:
    spec: dict[str, Any] = {"engine": {"name": engine, "contextLength": 8192}}
    found = next(each for each in proposed(cpu(memory="16Gi"), **spec) if each.startswith("pod."))
    field, _, limit = found.partition(": ")
    assert field == "pod.resources.limits.memory"
    larger = deployment(**spec, pod={"resources": {"limits": {"memory": limit}}}).spec
    assert isinstance(fit(larger, Candidate(cpu(memory="16Gi"), 1, 1), LLAMA_8B), Fit)


def test_on_accelerators_no_memory_limit_is_proposed() -> None:
    assert not [each for each in proposed(AMPERE, engine={"contextLength": 131072}) if each.startswith("pod.")]
