"""Templates of claims of devices, from a plan that claims them to their end."""

from __future__ import annotations

from typing import Any

import pytest
from slipway.objects.kinds import (
    ACCELERATOR_PROFILE,
    CLUSTER_SERVING_RUNTIME,
    INFERENCE_SERVICE,
    LLM_DEPLOYMENT,
    RESOURCE_CLAIM_TEMPLATE,
    Object,
)
from support.builders.stored import kube_object, llm, made_by_kserve
from support.programs.operator_loop import Loop, condition, status

RUNTIME = {"supportedModelFormats": [{"name": "huggingface"}], "containers": [{"name": "kserve-container"}]}


def gpu(**devices: Any) -> Object:
    spec = {"vendor": "NVIDIA", "devicesPerNode": 8, "memory": "80Gi", **devices}
    return kube_object(ACCELERATOR_PROFILE, "gpu", spec=spec)


def on_gpu(tensor: int = 1) -> Object:
    return llm(
        engine={"name": "vllm", "parallelism": {"tensor": tensor}},
        accelerator={"profiles": ["gpu"]},
    )


@pytest.fixture
def claiming(loop: Loop) -> Loop:
    """An LLMDeployment on a profile whose devices are claimed."""
    loop.api.put(gpu(deviceClass="gpu.example.com"))
    loop.api.put(kube_object(CLUSTER_SERVING_RUNTIME, "slipway-vllm-cuda", spec=RUNTIME))
    loop.api.put(on_gpu())
    return loop


def templates(loop: Loop) -> list[str]:
    return [name for kind, _, name in loop.api.objects if kind == RESOURCE_CLAIM_TEMPLATE]


def named_by_pods(loop: Loop) -> list[str]:
    claims = loop.api.get(INFERENCE_SERVICE)["spec"]["predictor"].get("resourceClaims") or []
    return [each["resourceClaimTemplateName"] for each in claims]


async def test_a_template_is_created_and_named_by_the_pods(claiming: Loop) -> None:
    await claiming.settle()
    assert len(templates(claiming)) == 1
    assert templates(claiming) == named_by_pods(claiming)


async def test_a_steady_state_writes_nothing(claiming: Loop) -> None:
    await claiming.settle()
    await claiming.reconcile()
    assert claiming.api.writes() == []


async def test_a_template_that_was_deleted_by_hand_is_created_again(claiming: Loop) -> None:
    await claiming.settle()
    [name] = templates(claiming)
    claiming.delete(RESOURCE_CLAIM_TEMPLATE, name=name)
    await claiming.settle()
    assert templates(claiming) == [name]


async def test_more_devices_are_another_template_and_the_first_one_goes(claiming: Loop) -> None:
    await claiming.settle()
    [before] = templates(claiming)
    claiming.api.change(LLM_DEPLOYMENT, {"spec": {"engine": {"parallelism": {"tensor": 2}}}})
    await claiming.settle()
    [after] = templates(claiming)
    assert before != after
    assert named_by_pods(claiming) == [after]


async def test_during_a_rollout_both_templates_exist(claiming: Loop) -> None:
    await claiming.settle()
    claiming.api.put(made_by_kserve(2, owner=claiming.api.get(INFERENCE_SERVICE), updatedReplicas=1))
    claiming.api.change(LLM_DEPLOYMENT, {"spec": {"engine": {"parallelism": {"tensor": 2}}}})
    await claiming.settle()
    assert len(templates(claiming)) == 2


async def test_a_tenants_own_template_with_our_label_stays(claiming: Loop) -> None:
    theirs = {"labels": {"slipway.dev/llmdeployment": "llama"}}
    claiming.api.put(kube_object(RESOURCE_CLAIM_TEMPLATE, "mine", metadata=theirs, spec={}))
    await claiming.settle()
    assert "mine" in templates(claiming)


async def test_where_the_api_server_serves_no_claims_the_status_says_so(claiming: Loop) -> None:
    claiming.api.missing.add(RESOURCE_CLAIM_TEMPLATE)
    await claiming.reconcile()
    assert condition(claiming, "Planned")["reason"] == "NoAcceleratorFits"
    assert "doesn't serve resource.k8s.io/v1" in status(claiming)["message"]
