"""A fault of a pod ends with its block, also if the walk of its runbook fails: other tests use the cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, cast

import pytest
from slipway_devcluster.cluster import Cluster
from support.cluster.kube import Kube, KubectlError
from support.faults.platform_faults import Scene
from support.faults.pod_faults import KEEPS, SLOT, by_a_pod_of_higher_priority, with_a_finalizer

WITHOUT_FINALIZERS = {"metadata": {"finalizers": None}}
WITHOUT_SLOTS = {"status": {"capacity": {SLOT: None}, "allocatable": {SLOT: None}}}
CLASSES = ["batch-chat", "interactive-chat"]


class Recorded:
    """kubectl, as far as faults use it: it keeps the last change of each object. `refuses`: what fails, and how."""

    namespace = "chat"

    def __init__(self, refuses: Callable[[str, Mapping[str, Any]], str] = lambda verb, change: "") -> None:
        self.changes: dict[str, Mapping[str, Any]] = {}
        self.deleted: list[str] = []
        self.refuses = refuses

    async def wait_for_any(self, kind: str, selector: str, is_met: object) -> dict[str, Any]:
        return {"metadata": {"name": "llama-1"}}

    async def run(self, *arguments: str) -> str:
        return ""

    async def apply(self, *objects: Mapping[str, Any]) -> None:
        self._try("apply", {})

    async def patch(self, kind: str, name: str, change: Mapping[str, Any], *, subresource: str = "") -> None:
        self._try("patch", change)
        self.changes[kind] = change

    async def delete(self, kind: str, name: str) -> None:
        self.deleted.append(name)

    def _try(self, verb: str, change: Mapping[str, Any]) -> None:
        if error := self.refuses(verb, change):
            raise KubectlError(error)


def scene(kube: Recorded) -> Scene:
    return Scene(cast(Kube, kube), cast(Cluster, None), "python")


class WalkError(Exception):
    """Of the runbook's walk."""


async def walk_fails(fault: AbstractAsyncContextManager[object], kube: Recorded) -> Mapping[str, Any]:
    """Returns what was changed while the fault lasted."""
    during: dict[str, Any] = {}
    with suppress(WalkError):
        async with fault:
            during = {**kube.changes}
            raise WalkError
    return during


async def test_a_finalizer_goes_though_the_walk_has_failed() -> None:
    kube = Recorded()
    during = await walk_fails(with_a_finalizer(scene(kube)), kube)
    assert during["pod"] == {"metadata": {"finalizers": [KEEPS]}}
    assert kube.changes["pod"] == WITHOUT_FINALIZERS


async def test_a_pod_without_its_finalizer_may_be_gone_but_another_error_is_shown() -> None:
    def refusing(error: str) -> Recorded:
        return Recorded(lambda verb, change: error if change == WITHOUT_FINALIZERS else "")

    gone, forbidden = (refusing(f'Error from server ({each}): pods "llama-1"') for each in ("NotFound", "Forbidden"))
    await walk_fails(with_a_finalizer(scene(gone)), gone)
    with pytest.raises(KubectlError, match="Forbidden"):
        await walk_fails(with_a_finalizer(scene(forbidden)), forbidden)


async def test_the_node_has_no_slot_afterwards_and_the_cluster_no_class() -> None:
    kube = Recorded()
    during = await walk_fails(by_a_pod_of_higher_priority(scene(kube)), kube)
    assert during["node"]["status"]["capacity"] == {SLOT: "1"}
    assert kube.changes["node"] == WITHOUT_SLOTS
    assert kube.deleted == CLASSES


async def test_the_same_holds_if_the_objects_of_the_fault_are_refused() -> None:
    kube = Recorded(lambda verb, change: "no connection" if verb == "apply" else "")
    with pytest.raises(KubectlError, match="no connection"):
        await walk_fails(by_a_pod_of_higher_priority(scene(kube)), kube)
    assert kube.changes["node"] == WITHOUT_SLOTS
    assert kube.deleted == CLASSES
