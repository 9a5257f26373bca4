"""Which accelerator a plan chooses, which resources it requests, and what it says about that."""

from __future__ import annotations

from typing import Any

import pytest
from slipway.api.reasons import Reason
from slipway.operator.planning import Unplannable, make_plan
from support.builders.rendering import GPU_TAINT, cpu, deployment, on_h100, plan, profile


def unplannable(spec: dict[str, Any], profiles: list[Any]) -> Unplannable:
    answer = make_plan(deployment(**spec).spec, profiles, name="llama")
    assert isinstance(answer, Unplannable)
    return answer


def test_the_first_named_profile_that_exists_is_used_and_the_others_are_reported_as_rejected() -> None:
    planned = plan(deployment(accelerator={"profiles": ["b200", "h100", "a100"]}), [profile("a100"), profile("h100")])
    assert planned.profile == "h100"
    assert planned.rejected == ("b200: there is no AcceleratorProfile of this name.",)


def test_a_gpu_plan_has_the_devices_nodes_and_tolerations_of_its_profile() -> None:
    planned = plan(on_h100(engine={"parallelism": {"tensor": 2}}))
    assert planned.runtime == "slipway-vllm-cuda"
    assert planned.gpus_per_replica == 2
    assert planned.resources == {"requests": {"nvidia.com/gpu": "2"}, "limits": {"nvidia.com/gpu": "2"}}
    assert (planned.node_terms, planned.node_selector) == (({"gpu": "h100"},), {})
    assert planned.tolerations == [GPU_TAINT]


def test_if_several_units_of_a_resource_make_one_device_that_many_are_requested() -> None:
    shared = profile("h100", resource={"name": "nvidia.com/gpu", "count": 4})
    assert plan(on_h100(), [shared]).resources["limits"] == {"nvidia.com/gpu": "4"}


def test_pipeline_and_tensor_parallelism_multiply() -> None:
    wanted = on_h100(engine={"parallelism": {"tensor": 2, "pipeline": 2}})
    assert plan(wanted, [profile("h100", devicesPerNode=8)]).gpus_per_replica == 4


def test_llamacpp_uses_the_cheapest_cpu_by_default() -> None:
    planned = plan(
        deployment(engine={"name": "llamacpp"}),
        [cpu("big", costPerHour=2), profile("h100"), cpu("small", costPerHour=1)],
    )
    assert (planned.profile, planned.runtime, planned.gpus_per_replica) == ("small", "slipway-llamacpp", 0)
    assert planned.resources == {"requests": {"cpu": "1"}, "limits": {"memory": "16Gi"}}
    assert planned.why[0] == "small: llamacpp runs on CPUs, and this is the cheapest profile of a CPU."


def test_an_unknown_engine_without_a_profile_is_left_to_its_serving_runtime() -> None:
    planned = plan(deployment(engine={"name": "sglang"}), [])
    assert (planned.runtime, planned.profile, planned.resources) == ("sglang", "", {"requests": {}, "limits": {}})
    assert planned.why[0].startswith("The spec names no accelerator profile, so the ServingRuntime sglang itself says")


def test_third_party_engines_that_need_a_gpu_are_not_planned_without_a_profile() -> None:
    answer = unplannable({"engine": {"name": "slipway-sglang"}}, [profile("h100")])
    assert answer.reason is Reason.NO_ACCELERATOR_FITS
    assert "name one or more in accelerator.profiles (there are h100)" in answer.message


def test_a_third_party_engine_that_runs_on_cpus_needs_no_profile() -> None:
    planned = plan(deployment(engine={"name": "slipway-ovms"}), [])
    assert (planned.runtime, planned.gpus_per_replica) == ("slipway-ovms", 0)


def test_a_plan_says_that_memory_was_not_checked() -> None:
    assert (
        "Whether the model fits into the memory was not looked at: nothing is known about its size; spec.model.facts "
        "can say it." in plan(on_h100()).why
    )


def test_a_plan_says_that_a_policy_was_not_followed_where_it_could_have_mattered() -> None:
    planned = plan(
        on_h100(accelerator={"profiles": ["h100", "l4"], "policy": "Fastest"}), [profile("h100"), profile("l4")]
    )
    assert "Policy Fastest needs the model's size, so profiles are taken in the spec's order." in planned.why


@pytest.mark.parametrize(
    ("own", "requested"),
    [
        ({"limits": {"memory": "4Gi"}}, {"requests": {"cpu": "1", "memory": "4Gi"}, "limits": {"memory": "4Gi"}}),
        ({"requests": {"cpu": "4"}}, {"requests": {"cpu": "4"}, "limits": {"memory": "16Gi"}}),
    ],
    ids=["a limit is a request too", "a request replaces the profile's"],
)
def test_the_resources_of_the_spec_override_those_of_the_profile(
    own: dict[str, Any], requested: dict[str, Any]
) -> None:
    assert plan(deployment(engine={"name": "llamacpp"}, pod={"resources": own})).resources == requested


def test_node_selectors_and_tolerations_of_the_spec_come_besides_those_of_the_profile_once() -> None:
    pod = {"nodeSelector": {"zone": "a"}, "tolerations": [GPU_TAINT, {"key": "mine", "operator": "Exists"}]}
    planned = plan(on_h100(pod=pod))
    assert (planned.node_terms, planned.node_selector) == (({"gpu": "h100"},), {"zone": "a"})
    assert planned.tolerations == [GPU_TAINT, {"key": "mine", "operator": "Exists"}]


def test_the_runtime_class_of_the_spec_overrides_that_of_the_profile() -> None:
    gpu = profile("h100", runtimeClass="nvidia")
    assert plan(on_h100(), [gpu]).runtime_class == "nvidia"
    assert plan(on_h100(pod={"runtimeClassName": "kata"}), [gpu]).runtime_class == "kata"


NAMED = {"accelerator": {"profiles": ["h100"]}}

TABLE = [
    (
        "no profile of the name",
        NAMED,
        [cpu()],
        Reason.PROFILE_MISSING,
        "No accelerator profile of the spec can be taken. h100: there is no AcceleratorProfile of this name. "
        "Name another in accelerator.profiles (there are cpu).",
    ),
    (
        "llamacpp on a GPU",
        NAMED | {"engine": {"name": "llamacpp"}},
        [profile("h100")],
        Reason.NO_ACCELERATOR_FITS,
        "No accelerator profile of the spec can be taken. h100: llamacpp doesn't run on hardware of vendor NVIDIA. "
        "Name another in accelerator.profiles (there are h100).",
    ),
    (
        "more devices than a node has",
        NAMED | {"engine": {"parallelism": {"tensor": 4}}},
        [profile("h100")],
        Reason.NO_ACCELERATOR_FITS,
        "No accelerator profile of the spec can be taken. h100: a replica wants 4 devices, and a node has 2 for it at "
        "most. Name another in accelerator.profiles (there are h100).",
    ),
    (
        "vllm, and no profile named",
        {},
        [profile("h100")],
        Reason.NO_ACCELERATOR_FITS,
        "Slipway can't choose an accelerator for llama: nothing is known about its size; spec.model.facts can say it. "
        "Give it, or name one or more in accelerator.profiles (there are h100).",
    ),
    (
        "llamacpp, and no profile of a CPU",
        {"engine": {"name": "llamacpp"}},
        [],
        Reason.PROFILE_MISSING,
        "llama runs on CPUs, and there is no AcceleratorProfile of vendor CPU: let Slipway's chart "
        "bring it (accelerators.vendors.cpu), or write one.",
    ),
]


@pytest.mark.parametrize(
    ("spec", "profiles", "reason", "message"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_an_impossible_plan_is_explained(
    spec: dict[str, Any], profiles: list[Any], reason: Reason, message: str
) -> None:
    answer = unplannable(spec, profiles)
    assert (answer.reason, answer.message) == (reason, message)
