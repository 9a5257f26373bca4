"""Reconciles while an object is missing or the platform is down: reported even at zero, like the recovery."""

from __future__ import annotations

from typing import Any

import pytest
from slipway.kube.store import Store
from slipway.objects.kinds import (
    CONFIG_MAP,
    DEPLOYMENT,
    ENDPOINT_SLICE,
    INFERENCE_SERVICE,
    LLM_DEPLOYMENT,
    PERSISTENT_VOLUME_CLAIM,
    POD,
    PRIORITY_CLASS,
    RUNTIME_CLASS,
    SECRET,
    SERVICE,
    SERVICE_ACCOUNT,
    Kind,
    Object,
)
from slipway.observing.snapshot import PlatformPart
from slipway.operator.reconciling.platform import KSERVE, PartReader
from support.builders.stored import kube_object, made_by_kserve, pod
from support.programs.operator_loop import Loop, condition, state_and_reason, status

CREATED_LONG_AGO = {"creationTimestamp": "2026-11-20T10:00:00Z"}


async def asleep(loop: Loop) -> None:
    """Puts the model at zero, created long ago."""
    for kind in (LLM_DEPLOYMENT, SERVICE):
        await loop.settle(turns=2)
        loop.api.change(kind, {"metadata": CREATED_LONG_AGO})
    loop.api.put(made_by_kserve(0, owner=loop.api.get(INFERENCE_SERVICE)))
    await loop.settle()


def gets(loop: Loop, kind: Kind) -> int:
    return sum(str(each) == f"get {kind.name}" for each in loop.api.requests)


# --- objects that the spec names -------------------------------------------------------------------------------------


async def test_a_missing_claim_is_reported_at_zero_until_the_claim_exists(loop: Loop) -> None:
    await asleep(loop)
    assert status(loop)["state"] == "Idle"
    loop.api.remove(PERSISTENT_VOLUME_CLAIM, name="models")
    await loop.reconcile()
    assert state_and_reason(loop) == ("Failed", "PodConfigError")
    assert "spec.model.uri names PersistentVolumeClaim models, which doesn't exist" in status(loop)["message"]
    assert condition(loop, "Stalled")["status"] == "True"
    loop.api.put(kube_object(PERSISTENT_VOLUME_CLAIM, "models", status={"phase": "Bound"}))
    await loop.reconcile()
    assert status(loop)["state"] == "Idle"


async def test_a_change_of_a_claim_concerns_only_the_models_that_name_it(loop: Loop) -> None:
    await loop.reconcile()
    claim, other = ("chat", "models"), ("chat", "others")
    assert [*loop.memories.named_by(claim)] == [("chat", "llama")]
    assert [*loop.memories.named_by(other)] == []
    loop.api.change(LLM_DEPLOYMENT, {"spec": {"model": {"uri": "pvc://others/llama"}}})
    await loop.reconcile()
    assert [*loop.memories.named_by(claim)] == []
    assert [*loop.memories.named_by(other)] == [("chat", "llama")]
    loop.delete(LLM_DEPLOYMENT)
    await loop.reconciler.reconcile(next(iter(loop.memories.named_by(other))))
    assert [*loop.memories.named_by(other)] == []


NAMES: list[tuple[Kind, dict[str, Any]]] = [
    (CONFIG_MAP, {"volumes": [{"name": "v", "configMap": {"name": "named"}}]}),
    (SERVICE_ACCOUNT, {"serviceAccountName": "named"}),
    (PRIORITY_CLASS, {"priorityClassName": "named"}),
    (RUNTIME_CLASS, {"runtimeClassName": "named"}),
]


@pytest.mark.parametrize(("kind", "names"), NAMES, ids=[kind.name for kind, _ in NAMES])
async def test_a_missing_object_is_checked_with_growing_pauses_until_it_exists(
    loop: Loop, kind: Kind, names: dict[str, Any]
) -> None:
    await asleep(loop)
    loop.api.change(LLM_DEPLOYMENT, {"spec": {"pod": names}})
    pauses = []
    for _ in range(6):
        pauses.append(await loop.reconcile())
        loop.pass_time(pauses[-1] or 0)
    assert pauses == [2, 4, 8, 16, 30, 30]
    assert state_and_reason(loop) == ("Failed", "PodConfigError")
    assert f"names {kind.name} named, which doesn't exist" in status(loop)["message"]
    loop.api.put(kube_object(kind, "named"))
    assert await loop.reconcile() is None
    assert "PodConfigError" not in str(status(loop))


async def test_an_existing_object_is_not_queried_at_each_reconcile(loop: Loop) -> None:
    loop.api.put(kube_object(CONFIG_MAP, "named"))
    await asleep(loop)
    loop.api.change(LLM_DEPLOYMENT, {"spec": {"pod": NAMES[0][1]}})
    for _ in range(5):
        await loop.reconcile()
    assert gets(loop, CONFIG_MAP) == 1
    loop.pass_time(301)
    await loop.reconcile()
    assert gets(loop, CONFIG_MAP) == 2


async def test_an_object_that_cannot_be_queried_is_not_reported_as_missing(loop: Loop) -> None:
    await asleep(loop)
    loop.api.change(LLM_DEPLOYMENT, {"spec": {"pod": NAMES[0][1]}})
    for answer in ((403, "cannot get resource"), (503, "not now"), None):
        loop.api.faults["get ConfigMap"] = answer
        await loop.reconcile()
        assert condition(loop, "Stalled")["status"] == "False"
        loop.pass_time(301)


@pytest.mark.parametrize(("allowed", "expected"), [(True, "PodConfigError"), (False, "ScaledToZero")])
async def test_a_secret_is_checked_only_if_that_is_allowed(loop: Loop, allowed: bool, expected: str) -> None:
    await asleep(loop)
    loop.api.may_get_secrets = allowed
    loop.api.change(LLM_DEPLOYMENT, {"spec": {"access": {"apiKeysSecret": "keys"}}})
    loop.api.put({**loop.api.get(LLM_DEPLOYMENT), "spec": {**loop.api.get(LLM_DEPLOYMENT)["spec"]}})
    await loop.reconcile()
    assert condition(loop, "Ready")["reason"] in (expected, "Updating")
    assert ("PodConfigError" in str(status(loop))) is allowed
    assert bool(gets(loop, SECRET)) is allowed


def with_key(name: str, key: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"configMapKeyRef": {"name": "named", "key": key}}}


async def test_a_key_missing_from_a_config_map_is_reported_until_it_exists(loop: Loop) -> None:
    await asleep(loop)
    loop.api.put(kube_object(CONFIG_MAP, "named", data={"a": "1"}, binaryData={"c": "AA=="}))
    loop.api.change(LLM_DEPLOYMENT, {"spec": {"pod": {"env": [with_key("APP_A", "a"), with_key("APP_B", "b")]}}})
    assert await loop.reconcile() == 2
    assert state_and_reason(loop) == ("Failed", "PodConfigError")
    assert (
        "spec.pod.env[APP_B] names the key b of ConfigMap named, which doesn't exist in it" in status(loop)["message"]
    )
    assert gets(loop, CONFIG_MAP) == 1
    loop.api.change(CONFIG_MAP, {"data": {"b": ""}}, name="named")
    loop.pass_time(2)
    assert await loop.reconcile() is None
    assert "PodConfigError" not in str(status(loop))


async def test_a_missing_secret_of_a_registry_is_a_remark_if_it_may_be_checked(loop: Loop) -> None:
    await asleep(loop)
    loop.api.may_get_secrets = True
    loop.api.change(LLM_DEPLOYMENT, {"spec": {"pod": {"imagePullSecrets": [{"name": "r"}]}}})
    assert await loop.reconcile() == 300
    assert any(each.startswith("SecretMissing: spec.pod.imagePullSecrets[r]") for each in status(loop)["plan"]["why"])
    assert condition(loop, "Stalled")["status"] == "False"
    loop.api.put(kube_object(SECRET, "r"))
    loop.pass_time(300)
    assert await loop.reconcile() is None
    assert "SecretMissing" not in str(status(loop))


async def test_objects_applied_together_with_a_new_deployment_get_time_to_appear(loop: Loop) -> None:
    loop.api.remove(PERSISTENT_VOLUME_CLAIM, name="models")
    loop.api.change(LLM_DEPLOYMENT, {"metadata": {"creationTimestamp": "2026-11-21T09:59:59Z"}})
    assert await loop.reconcile() == 2
    assert "PodConfigError" not in str(status(loop))


async def test_a_serving_replica_goes_on_though_the_next_one_would_lack_an_object(loop: Loop) -> None:
    await asleep(loop)
    loop.api.put(made_by_kserve(1))
    loop.api.put(pod(is_ready=True))
    loop.api.remove(PERSISTENT_VOLUME_CLAIM, name="models")
    await loop.reconcile()
    assert status(loop)["state"] == "Degraded"
    assert condition(loop, "Ready")["status"] == "True"


# --- the platform ----------------------------------------------------------------------------------------------------

DOWN = kube_object(DEPLOYMENT, "kserve-controller-manager", "kserve", spec={"replicas": 0})


async def test_an_outage_of_kserve_is_reported_at_zero_and_its_end_too(loop: Loop) -> None:
    await asleep(loop)
    loop.kserve = PlatformPart(namespace="kserve", controller=DOWN)
    await loop.reconcile()
    assert state_and_reason(loop) == ("Failed", "KServeDown")
    assert condition(loop, "Reconciling")["status"] == "True"
    loop.kserve = PlatformPart(namespace="kserve", controller={**DOWN, "status": {"readyReplicas": 1}})
    loop.api.writes()
    loop.kserve = None
    await loop.reconcile()
    assert status(loop)["state"] == "Idle"


async def test_an_outage_that_continues_writes_nothing(loop: Loop) -> None:
    await asleep(loop)
    loop.kserve = PlatformPart(namespace="kserve", controller=DOWN)
    await loop.reconcile()
    loop.api.writes()
    for _ in range(5):
        await loop.reconcile()
    assert loop.api.writes() == []


async def test_a_serving_model_writes_once_that_it_could_not_scale_and_sends_no_event(loop: Loop) -> None:
    await asleep(loop)
    loop.api.put(made_by_kserve(1))
    loop.api.put(pod(is_ready=True))
    await loop.settle()
    loop.kserve = PlatformPart(namespace="kserve", controller=DOWN)
    for _ in range(5):
        await loop.reconcile()
    assert loop.api.writes() == ["apply-status LLMDeployment"]
    assert (status(loop)["state"], condition(loop, "Scaled")["reason"]) == ("Serving", "KServeDown")


async def test_a_keda_with_a_vulnerability_is_a_remark_of_the_plan(loop: Loop) -> None:
    template = {"spec": {"containers": [{"image": "keda:2.20.0"}]}}
    spec = {"replicas": 1, "template": template}
    old = kube_object(DEPLOYMENT, "keda-operator", "keda", spec=spec, status={"readyReplicas": 1})
    loop.keda = PlatformPart(namespace="keda", controller=old)
    await loop.reconcile()
    assert any(each.startswith("KedaTooOld: KEDA 2.20.0") for each in status(loop)["plan"]["why"])


# --- reading the state of the platform -------------------------------------------------------------------------------


def stored(kind: Kind, name: str, **fields: Any) -> Object:
    metadata = {"uid": name, "resourceVersion": "1", **fields.pop("metadata", {})}
    return kube_object(kind, name, "kserve", metadata=metadata, **fields)


def test_the_controller_its_pods_and_the_slices_of_its_webhook_are_read_from_a_namespace() -> None:
    store = Store([DEPLOYMENT, POD, ENDPOINT_SLICE])
    reader = PartReader(KSERVE, "kserve", store)
    assert reader.part() is None
    labels = {"kubernetes.io/service-name": "kserve-webhook-server-service"}
    listed_by_kind = {
        DEPLOYMENT: [stored(DEPLOYMENT, "kserve-controller-manager"), stored(DEPLOYMENT, "other")],
        POD: [stored(POD, "one")],
        ENDPOINT_SLICE: [stored(ENDPOINT_SLICE, "w", metadata={"labels": labels}), stored(ENDPOINT_SLICE, "x")],
    }
    for kind, listed in listed_by_kind.items():
        for each in listed:
            store.take(kind, None, each, now=0)
        store.compare(kind, listed, since=store.mark, now=0)
    part = reader.part()
    assert part
    assert part.controller == listed_by_kind[DEPLOYMENT][0]
    assert [each["metadata"]["name"] for each in (*part.pods, *part.webhook)] == ["one", "w"]
    assert reader.part() is part
    store.take(POD, "DELETED", stored(POD, "one"), now=0)
    assert reader.part() is not part
