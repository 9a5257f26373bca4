"""What a measurement is valid for, and what is read from the status of an LLMDeployment."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from slipway.api.acceleratorprofile import AcceleratorProfile
from slipway.api.llmdeployment import LLMDeploymentSpec
from slipway.api.names import RUNTIME_LABEL
from slipway.models.facts import Evidence, Layers, Model
from slipway.objects.kinds import Object
from slipway.operator.planning.measured import (
    Measured,
    Measurements,
    identity_of,
    measured_in,
    measured_key,
    plan_key,
)

GIB = 1 << 30
MODEL = Model(architecture="LlamaForCausalLM", layers=(Layers(count=32, kv_heads=8, key_size=128, value_size=128),))


def spec(**parts: Any) -> LLMDeploymentSpec:
    model = {"uri": "hf://org/llama", "revision": "abc", **parts.pop("model", {})}
    return LLMDeploymentSpec.model_validate({"model": model, **parts})


def profile(name: str = "h100", **facts: Any) -> AcceleratorProfile:
    known = {"vendor": "NVIDIA", "resource": {"name": "nvidia.com/gpu"}, "memory": "80Gi", **facts}
    return AcceleratorProfile.model_validate({"metadata": {"name": name}, "spec": known})


def runtime(name: str = "slipway-vllm-cuda-1-aa", *, image: str = "vllm:1", is_a_releases: bool = True) -> Object:
    labels = {RUNTIME_LABEL: "vllm"} if is_a_releases else {}
    return {"metadata": {"name": name, "labels": labels}, "spec": {"containers": [{"image": image}]}}


def key(
    wanted: LLMDeploymentSpec | None = None,
    *,
    of: Object | None = None,
    on: AcceleratorProfile | None = None,
    tensor: int = 1,
    pipeline: int = 1,
    model: Model | None = MODEL,
) -> str:
    on = on or profile()
    pods = plan_key(wanted or spec(), of or runtime(), on.metadata.name, tensor, pipeline)
    return measured_key(pods, model, on)


# --- what it is valid for ---------------------------------------------------------------------------------------------

OTHERS = {
    "another model": key(spec(model={"uri": "hf://org/other"})),
    "another revision": key(spec(model={"revision": "def"})),
    "another engine": key(spec(engine={"name": "llamacpp"})),
    "another context": key(spec(engine={"contextLength": 4096})),
    "another KV type": key(spec(engine={"kvCacheDtype": "FP8"})),
    "another quantization": key(spec(engine={"quantization": "FP8"})),
    "another flag": key(spec(engine={"extraArgs": ["--max-num-batched-tokens=2048"]})),
    "another variable": key(spec(pod={"env": [{"name": "VLLM_X", "value": "1"}]})),
    "another limit": key(spec(pod={"resources": {"limits": {"memory": "8Gi"}}})),
    "another release": key(of=runtime("slipway-vllm-cuda-2-bb")),
    "another image of a runtime of one's own": key(of=runtime(is_a_releases=False)),
    "another accelerator": key(on=profile("h200")),
    "another size of it": key(on=profile(memory="40Gi")),
    "a part of it": key(on=profile(sharedBy=2)),
    "two devices": key(tensor=2),
    "two stages": key(pipeline=2),
    "other files": key(model=replace(MODEL, layers=())),
    "an unknown model": key(model=None),
}


def test_a_measurement_is_valid_for_one_model_accelerator_engine_and_set_of_flags() -> None:
    keys = [key(), *OTHERS.values()]
    assert len({*keys}) == len(keys)
    assert all(len(each) <= 64 for each in keys)


SAME = {
    "another number of replicas": key(spec(scaling={"maxReplicas": 7})),
    "another label": key(spec(pod={"labels": {"team": "b"}})),
    "another drain": key(spec(rollout={"drainTimeout": "7m"})),
    "facts in the spec": key(spec(model={"facts": {"layers": 32}})),
    "the default as a value": key(spec(engine={"kvCacheDtype": "Auto"})),
    "Auto that became one device": key(spec(engine={"parallelism": {"tensor": "Auto"}})),
    "another price": key(on=profile(costPerHour=7)),
    "the same numbers from elsewhere": key(
        model=replace(MODEL, name="x", evidence={"layers": Evidence.EXACT}, missing=("dtype",))
    ),
}


@pytest.mark.parametrize("why", SAME)
def test_it_stays_valid_when_what_changes_is_not_about_memory(why: str) -> None:
    assert SAME[why] == key()


def test_runtimes_of_others_are_known_by_their_content() -> None:
    one, other = (runtime("mine", image=image, is_a_releases=False) for image in ("a", "b"))
    assert identity_of(one) != identity_of(other)
    assert identity_of(runtime(image="a")) == identity_of(runtime(image="b")) == "slipway-vllm-cuda-1-aa"


def measurements(measured: Measured | None, **changes: Any) -> Measurements:
    known: dict[str, Any] = {"spec": spec(), "model": MODEL, "runtimes": {"slipway-vllm-cuda": identity_of(runtime())}}
    return Measurements(measured=measured, **{**known, **changes})


def test_a_plan_finds_the_measurement_of_the_candidate_that_was_measured() -> None:
    measured = Measured(key=key(), weights=15 * GIB)
    known = measurements(measured)
    assert known.on(profile(), "slipway-vllm-cuda", 1, 1) == measured
    assert known.on(profile(), "slipway-vllm-cuda", 2, 1) is None
    assert known.on(profile("h200"), "slipway-vllm-cuda", 1, 1) is None
    assert known.on(profile(), "slipway-vllm-rocm", 1, 1) is None
    assert measurements(measured, model=None).on(profile(), "slipway-vllm-cuda", 1, 1) is None
    assert measurements(None).on(profile(), "slipway-vllm-cuda", 1, 1) is None


# --- what the status has ----------------------------------------------------------------------------------------------


def test_the_numbers_of_the_status_are_read() -> None:
    found = measured_in(
        {
            "measured": {
                "key": "k",
                "kvTokens": 900_000,
                "kvCache": "110.000Gi",
                "weights": "15.000Gi",
                "activation": "1.000Gi",
                "graphs": "0.980Gi",
                "memoryInUse": "129.000Gi",
                "memoryTotal": "139.000Gi",
                "planned": {"kvCache": "111.000Gi", "weights": "15.000Gi"},
            }
        }
    )
    assert found == Measured(
        key="k",
        kv_tokens=900_000,
        kv_cache=110 * GIB,
        weights=15 * GIB,
        activation=GIB,
        graphs=int(0.98 * GIB),
        in_use=129 * GIB,
        total=139 * GIB,
        planned_kv_cache=111 * GIB,
    )


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "many", "-1Gi", "9" * 300, None, [], {}], ids=repr)
def test_numbers_that_cannot_be_true_are_unknown(value: object) -> None:
    names = ("kvTokens", "kvCache", "weights", "activation", "graphs", "memoryInUse", "memoryTotal")
    assert measured_in({"measured": {"key": "k", **dict.fromkeys(names, value)}}) == Measured(key="k")
    for planned in (value, {"kvCache": value}):
        assert measured_in({"measured": {"key": "k", "planned": planned}}) == Measured(key="k")


@pytest.mark.parametrize("measured", [None, [], {}, 7, {"key": 7}, {"kvTokens": 7}])
def test_a_status_without_a_measurement_has_none(measured: object) -> None:
    assert measured_in({"measured": measured}) is measured_in({}) is measured_in(None) is None
