"""Writes are remembered: nothing is written twice, and changes of other clients are seen."""

from __future__ import annotations

import pytest
from slipway.api.model_key import ModelKey
from slipway.kube.overlay import Overlay
from slipway.kube.store import Store
from slipway.objects.kinds import (
    DEPLOYMENT,
    ENDPOINT_SLICE,
    LLM_DEPLOYMENT,
    RESOURCE_CLAIM_TEMPLATE,
    SERVICE,
    Kind,
    Object,
)
from slipway.operator.reconciling.memory import TOO_OFTEN, WITHIN, Applied, Memories, projected

KEY = ModelKey("chat", "llama")
WANTED: Object = {"spec": {"port": 80}}


def live(version: int, port: int = 80, *, uid: str = "1", **more: object) -> Object:
    return {"metadata": {"uid": uid, "resourceVersion": str(version)}, "spec": {"port": port, **more}}


@pytest.fixture
def applied() -> Applied:
    return Applied.of(WANTED, live(10))


# --- one object ------------------------------------------------------------------------------------------------------


def test_an_applied_manifest_is_not_new_and_a_changed_one_is(applied: Applied) -> None:
    assert applied.is_of(live(10), WANTED)
    assert not applied.is_of(live(10), {"spec": {"port": 81}})


def test_a_manifest_applied_to_a_predecessor_is_new(applied: Applied) -> None:
    assert not applied.is_of(live(11, uid="2"), WANTED)


@pytest.mark.parametrize(
    ("there", "drifted"),
    [
        (live(11, 81), True),
        (live(11), False),
        (live(11, other="field"), False),
        (live(9, 81), False),  # because the cache lags behind our own write
    ],
)
def test_a_changed_field_of_ours_is_seen(applied: Applied, there: Object, drifted: bool) -> None:
    assert applied.has_drifted(there, WANTED) is drifted


def test_values_normalized_by_the_api_server_are_not_drift() -> None:
    wanted = {"spec": {"cpu": "1000m"}}
    assert not Applied.of(wanted, live(10, cpu="1")).has_drifted(live(11, cpu="1"), wanted)


def test_an_object_that_is_repaired_too_often_is_left_alone_for_a_while(applied: Applied) -> None:
    for second in range(TOO_OFTEN):
        assert applied.pause(now=second) == 0
        applied = Applied.of(WANTED, live(20 + second), applied)
        applied.note_repair(now=second)
    assert applied.pause(now=10) == WITHIN - 10
    assert applied.pause(now=WITHIN) == 0


def test_only_our_fields_are_compared_and_lists_as_a_unit() -> None:
    found = {"a": {"b": 1, "c": 2}, "ports": [{"port": 80, "nodePort": 30000}], "d": 3}
    wanted = {"a": {"b": 0}, "ports": [{"port": 80}], "missing": True}
    assert projected(found, wanted) == {
        "a": {"b": 1},
        "ports": [{"port": 80, "nodePort": 30000}],
        "missing": None,
    }


# --- one LLMDeployment -----------------------------------------------------------------------------------------------


@pytest.fixture
def overlay() -> Overlay:
    return Overlay(Store([SERVICE, LLM_DEPLOYMENT, ENDPOINT_SLICE, DEPLOYMENT, RESOURCE_CLAIM_TEMPLATE]))


@pytest.fixture
def memories(overlay: Overlay) -> Memories:
    memories = Memories(overlay)
    memory = memories.of(KEY, "1")
    memory.applied[SERVICE] = Applied.of(WANTED, live(10))
    memory.state = ("Idle", "ScaledToZero")
    memories.name_claims(KEY, ("models",))
    for kind, name in (
        (SERVICE, "llama"),
        (LLM_DEPLOYMENT, "llama"),
        (ENDPOINT_SLICE, "llama-activator"),
        (DEPLOYMENT, "llama-predictor"),
        (RESOURCE_CLAIM_TEMPLATE, "llama-0123abcd"),
    ):
        overlay.wrote(kind, written(kind, name))
    return memories


def written(kind: Kind, name: str, namespace: str = "chat") -> Object:
    metadata = {"name": name, "namespace": namespace, "uid": name, "resourceVersion": "10"}
    return {"apiVersion": kind.api_version, "kind": kind.name, "metadata": metadata}


def test_memory_lasts_from_one_reconcile_to_the_next(memories: Memories) -> None:
    assert SERVICE in memories.of(KEY, "1").applied
    assert memories.by_state() == {("Idle", "ScaledToZero"): 1}


def test_nothing_is_remembered_of_a_predecessor(memories: Memories, overlay: Overlay) -> None:
    assert memories.of(KEY, "2").applied == {}
    assert [*memories.named_by(("chat", "models"))] == []
    assert len(overlay) == 0


def test_one_call_forgets_everything_about_a_model_and_nothing_about_others(
    memories: Memories, overlay: Overlay
) -> None:
    memories.of(ModelKey("chat", "other"), "3")
    memories.name_claims(ModelKey("chat", "other"), ("models",))
    overlay.wrote(SERVICE, written(SERVICE, "other"))
    overlay.wrote(SERVICE, written(SERVICE, "llama", namespace="code"))
    memories.drop(KEY)
    assert len(memories) == 1
    assert [*memories.named_by(("chat", "models"))] == [("chat", "other")]
    assert len(overlay) == 2


def test_a_new_leader_remembers_nothing(memories: Memories, overlay: Overlay) -> None:
    memories.clear()
    assert (len(memories), len(overlay), memories.by_state()) == (0, 0, {})
    assert [*memories.named_by(("chat", "models"))] == []
