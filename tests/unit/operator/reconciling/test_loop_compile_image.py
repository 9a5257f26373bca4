"""Compiled code from an image, in the operator's loop: mounted, given up, and tried again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from slipway.objects.kinds import (
    LLM_DEPLOYMENT,
    POD,
    Object,
)
from slipway.operator.reconciling.image_volumes import FRESH
from support.builders.stored import kube_object
from support.programs.compile_image_loop import (
    IMAGE,
    NOT_FOUND,
    REPOSITORY,
    asleep,
    cache,
    made_by_kserve,
    predictor,
    volume,
    waiting_pod,
    waking,
)
from support.programs.operator_loop import Loop

# --- an image that the spec names ------------------------------------------------------------------------------------


async def test_it_is_mounted_read_only_where_the_store_is(named: Loop) -> None:
    await named.settle()
    assert volume(named) == {
        "name": "slipway-compiled",
        "image": {"reference": IMAGE, "pullPolicy": "IfNotPresent"},
    }
    model = predictor(named)["model"]
    assert model["args"][0] == "--cache=/var/cache/slipway-compiled"
    assert model["volumeMounts"][-1] == {
        "name": "slipway-compiled",
        "mountPath": "/var/cache/slipway-compiled",
        "readOnly": True,
    }
    assert (cache(named)["kind"], cache(named)["image"]) == ("Image", IMAGE)


async def test_a_steady_state_writes_nothing(named: Loop) -> None:
    await asleep(named)
    before = len(named.api.requests)
    await named.settle()
    assert [str(each) for each in named.api.requests[before:] if each.verb != "get"] == []


@pytest.mark.parametrize("code", [422, 400])
async def test_where_the_api_server_has_no_such_volumes_nothing_is_mounted(named: Loop, code: int) -> None:
    named.api.faults["create PodTemplate"] = (code, "must specify a volume type")
    await named.settle()
    assert volume(named) is None
    assert cache(named)["kind"] == "EmptyDir"
    assert "feature ImageVolume" in cache(named)["message"]


async def test_where_the_api_server_drops_the_field_nothing_is_mounted(named: Loop) -> None:
    """As one does that doesn't know it: the pod would get an empty folder instead."""

    async def without(*_: Any, **__: Any) -> Object:
        return {"template": {"spec": {"volumes": [{"name": "image", "emptyDir": {}}]}}}

    named.image_volumes._client.create = without  # type: ignore[method-assign]
    await named.settle()
    assert volume(named) is None


async def test_it_is_given_up_where_the_api_server_refuses_the_pods_because_of_it(named: Loop) -> None:
    """As after a restart without the feature: KServe can't make its Deployment, so that no pod says why."""
    await named.settle()
    assert volume(named)
    named.api.faults["create PodTemplate"] = (422, "must specify a volume type")
    named.pass_time(FRESH)
    await named.settle()
    assert volume(named) is None
    assert "feature ImageVolume" in cache(named)["message"]


async def test_pods_that_exist_keep_it_whatever_a_dry_run_says(named: Loop) -> None:
    await asleep(named)
    made_by_kserve(named, 1)
    waiting_pod(named, "ContainerCreating", "")
    named.api.faults["create PodTemplate"] = (422, "must specify a volume type")
    named.pass_time(FRESH)
    await named.settle()
    assert volume(named)


async def test_without_the_right_to_find_out_nothing_is_mounted(named: Loop) -> None:
    named.api.faults["create PodTemplate"] = (403, "forbidden")
    await named.settle()
    assert volume(named) is None
    assert "lacks the right to create PodTemplates" in cache(named)["message"]


async def test_a_change_of_the_spec_takes_effect_at_once(named: Loop) -> None:
    await named.settle()
    other = f"{REPOSITORY}@sha256:{'c' * 64}"
    named.api.change(LLM_DEPLOYMENT, {"spec": {"engine": {"compileCache": {"image": other}}}})
    await named.settle()
    assert cache(named)["image"] == other


# --- given up --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "message", "age"),
    [
        ("ImagePullBackOff", NOT_FOUND, 0),
        ("ErrImagePull", f"{IMAGE}: pull access denied, repository does not exist or may require authorization", 0),
        ("CreateContainerError", 'failed to generate spec: failed to mkdir "": mkdir : no such file or directory', 0),
    ],
)
async def test_an_image_that_keeps_a_replica_from_running_is_given_up(
    named: Loop, reason: str, message: str, age: float
) -> None:
    await waking(named, reason, message, age=age)
    assert volume(named) is None
    assert predictor(named)["model"]["args"][0] != "--cache=/var/cache/slipway-compiled"
    assert predictor(named)["deploymentStrategy"] == {"type": "Recreate"}
    assert cache(named)["kind"] == "EmptyDir"
    assert cache(named)["givenUp"]["reason"] in ("ImageGone", "ImagePullFailed", "ImageNotMounted")


REFUSED = f'failed to do request: Head "{IMAGE}": dial tcp: connection refused'


async def test_a_registry_that_restarts_gets_a_minute_from_the_first_failure_on(named: Loop) -> None:
    """However long ago its pod got its node: other images may have been pulled before."""
    await waking(named, "ContainerCreating", "", age=3600)
    waiting_pod(named, "ErrImagePull", REFUSED, age=3600)
    await named.settle()
    named.time += timedelta(seconds=59)
    await named.settle()
    assert volume(named)
    named.time += timedelta(seconds=2)
    await named.settle()
    assert volume(named) is None
    assert cache(named)["givenUp"]["reason"] == "ImagePullFailed"


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("ErrImagePull", REFUSED),
        ("ContainerCreating", ""),
        ("ImagePullBackOff", 'Back-off pulling image "vllm:1": ErrImagePull: vllm:1: not found'),
    ],
)
async def test_it_is_kept_while_it_may_still_come_and_while_something_else_is_wrong(
    named: Loop, reason: str, message: str
) -> None:
    await waking(named, reason, message)
    assert volume(named)


async def another_is_ready(loop: Loop, version: str) -> None:
    """Two replicas of it: one waits for the image, another one of this version is ready."""
    await asleep(loop)
    made_by_kserve(loop, 2)
    waiting_pod(loop, "ImagePullBackOff", NOT_FOUND)
    waits = loop.api.get(POD, name="llama-predictor-1")
    labels = {**waits["metadata"]["labels"], "pod-template-hash": "new"}
    loop.api.put({**waits, "metadata": {**waits["metadata"], "labels": labels}})
    metadata = {"labels": {**labels, "pod-template-hash": version}}
    ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    loop.api.put(kube_object(POD, "llama-predictor-2", metadata=metadata, spec=waits["spec"], status=ready))
    await loop.settle()


async def test_replicas_that_are_ready_are_not_restarted_because_another_one_can_not_pull(named: Loop) -> None:
    await another_is_ready(named, "new")
    assert volume(named)
    assert "others are ready and keep it: the node can't pull the image" in cache(named)["message"]
    assert "givenUp" not in cache(named)
    named.delete(POD, name="llama-predictor-2")
    await named.settle()
    assert volume(named) is None


async def test_a_rollout_whose_replica_can_not_pull_goes_on_without_the_image(named: Loop) -> None:
    await another_is_ready(named, "old")
    assert volume(named) is None


async def test_it_is_tried_again_when_the_model_sleeps(named: Loop) -> None:
    await waking(named, "ImagePullBackOff", NOT_FOUND)
    named.delete(POD, name="llama-predictor-1")
    await asleep(named)
    assert volume(named)


async def test_an_image_that_never_comes_is_tried_less_and_less_often(named: Loop) -> None:
    for _ in range(2):
        await waking(named, "ImagePullBackOff", NOT_FOUND)
        named.delete(POD, name="llama-predictor-1")
    await asleep(named)
    assert volume(named) is None
    assert cache(named)["givenUp"]["tries"] == 2
    named.time += timedelta(hours=1)
    await named.settle()
    assert volume(named)
