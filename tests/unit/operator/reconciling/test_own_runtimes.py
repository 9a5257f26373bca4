"""When a ClusterServingRuntime of this release is created, and when one of an older release is deleted."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from kubernetes.aio.client import Configuration
from slipway.kube.errors import Call, ForbiddenError
from slipway.objects.kinds import CLUSTER_SERVING_RUNTIME, INFERENCE_SERVICE, Object
from slipway.operator.reconciling import own_runtimes
from slipway.operator.reconciling.operator import Operator
from slipway.operator.reconciling.own_runtimes import OwnRuntimes, runtimes_of
from support.builders.stored import kube_object
from support.programs.settings import operator_settings

CURRENT = "slipway-vllm-cuda-2.0.0-bbbbbbbb"


class Client:
    def __init__(self, *inference_services: Object, refuses: int = 0) -> None:
        self.there, self.deleted, self.applied = list(inference_services), list[str](), list[str]()
        self.has_applied = asyncio.Event()
        self._refuses = refuses

    async def apply(self, kind: Any, obj: Object) -> None:
        self._refuses -= 1
        if self._refuses >= 0:
            raise ForbiddenError(Call("apply", "ClusterServingRuntime", CURRENT), "no such right", code=403)
        self.applied.append(obj["metadata"]["name"])
        self.has_applied.set()

    async def list(self, kind: Any, *, keep: Any) -> list[Object]:
        assert kind is INFERENCE_SERVICE
        return [keep(each) for each in self.there]

    async def delete(self, kind: Any, name: str, *, only: Object) -> None:
        assert (kind, only["metadata"]["name"]) == (CLUSTER_SERVING_RUNTIME, name)
        self.deleted.append(name)


class Store:
    def __init__(self, *runtimes: Object) -> None:
        self.there = list(runtimes)
        self.synced, self.missing = True, False

    def is_synced(self, _: Any) -> bool:
        return self.synced

    def is_missing(self, _: Any) -> bool:
        return self.missing

    def get(self, _: Any, name: str) -> Object | None:
        return next((each for each in self.there if each["metadata"]["name"] == name), None)

    def all(self, _: Any) -> list[Object]:
        return self.there


def runtime(name: str, *, is_ours: bool = True, **metadata: Any) -> Object:
    labels = {"slipway.dev/runtime": "slipway-vllm-cuda"} if is_ours else {}
    return kube_object(CLUSTER_SERVING_RUNTIME, name, metadata={"labels": labels, **metadata})


def used(name: str) -> Object:
    return kube_object(INFERENCE_SERVICE, spec={"predictor": {"model": {"runtime": name}}})


def old_runtimes(client: Client, *there: Object, leads: bool = True, keep_unused: float | None = 1.0) -> OwnRuntimes:
    store: Any = Store(*there)
    kube_client: Any = client
    ours = {"slipway-vllm-cuda": runtime(CURRENT)}
    return OwnRuntimes(kube_client, store, ours=ours, keep_unused=keep_unused, leads=lambda: leads)


# --- those of this release -------------------------------------------------------------------------------------------


async def test_models_wait_for_a_runtime_that_is_about_to_be_created() -> None:
    assert old_runtimes(Client()).are_coming
    assert not old_runtimes(Client(), runtime(CURRENT)).are_coming


async def test_models_do_not_wait_for_a_runtime_that_cannot_be_created() -> None:
    runtimes = old_runtimes(Client(refuses=10))
    making = asyncio.create_task(runtimes.run())
    await asyncio.sleep(0.01)
    assert not runtimes.are_coming
    making.cancel()


async def test_a_missing_runtime_is_created_and_an_existing_one_is_left_unchanged() -> None:
    client = Client()
    await old_runtimes(client).make()
    assert client.applied == [CURRENT]
    await old_runtimes(client, runtime(CURRENT)).make()
    assert client.applied == [CURRENT]


@pytest.mark.parametrize("obstacle", ["another leads", "not known yet", "no KServe"])
async def test_no_runtime_is_created_while_the_existing_ones_are_unknown(obstacle: str) -> None:
    client = Client()
    ours = old_runtimes(client, leads=obstacle != "another leads")
    store: Any = ours._store
    store.synced, store.missing = obstacle != "not known yet", obstacle == "no KServe"
    await ours.make()
    assert client.applied == []


async def test_a_refused_runtime_is_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_runtimes, "TRY_AGAIN_AFTER", 0.01)
    client = Client(refuses=2)
    making = asyncio.create_task(old_runtimes(client).run())
    async with asyncio.timeout(5):
        await client.has_applied.wait()
    making.cancel()
    assert client.applied == [CURRENT]


# --- those of older releases -----------------------------------------------------------------------------------------


async def test_if_only_some_namespaces_are_watched_no_runtime_is_deleted() -> None:
    operator = Operator(operator_settings(["--watch-namespaces=chat"]), Configuration())
    assert operator._own_runtimes._keep_unused is None


async def test_a_runtime_that_is_unused_at_two_checks_in_a_row_is_deleted() -> None:
    client = Client()
    old = old_runtimes(client, runtime("slipway-vllm-cuda-1.0.0-aaaaaaaa"), runtime(CURRENT))
    await old.look()
    assert client.deleted == []
    await old.look()
    assert client.deleted == ["slipway-vllm-cuda-1.0.0-aaaaaaaa"]


async def test_a_runtime_in_use_stays() -> None:
    client = Client(used("slipway-vllm-cuda-1.0.0-aaaaaaaa"))
    old = old_runtimes(client, runtime("slipway-vllm-cuda-1.0.0-aaaaaaaa"))
    for _ in range(3):
        await old.look()
    assert client.deleted == []


async def test_a_runtime_used_in_between_gets_the_full_time_again() -> None:
    client = Client()
    old = old_runtimes(client, runtime("slipway-vllm-cuda-1.0.0-aaaaaaaa"))
    await old.look()
    client.there = [used("slipway-vllm-cuda-1.0.0-aaaaaaaa")]
    await old.look()
    client.there = []
    await old.look()
    assert client.deleted == []


KEPT = [
    runtime(CURRENT),
    runtime("somebody-elses", is_ours=False),
    runtime("team-a-vllm-cuda-13"),
    runtime("slipway-vllm-cuda-1.0.0-aaaaaaaa", deletionTimestamp="2026-11-21T10:00:00Z"),
]


@pytest.mark.parametrize("existing", KEPT, ids=["of this release", "of another owner", "a copy of one", "terminating"])
async def test_only_runtimes_of_older_releases_are_deleted(existing: Object) -> None:
    client = Client()
    old = old_runtimes(client, existing)
    for _ in range(3):
        await old.look()
    assert client.deleted == []


async def test_a_standby_deletes_no_runtime() -> None:
    client = Client()
    old = old_runtimes(client, runtime("slipway-vllm-cuda-1.0.0-aaaaaaaa"), leads=False)
    for _ in range(3):
        await old.look()
    assert client.deleted == []


def test_a_runtime_counts_as_used_by_any_component_and_if_kserve_has_chosen_it() -> None:
    spec = {"predictor": {"model": {"runtime": "a"}}, "transformer": {"model": {"runtime": "b"}}, "explainer": None}
    found = runtimes_of({"spec": spec, "status": {"clusterServingRuntimeName": "c"}})
    assert found == {"runtimes": ["a", "b", "c"]}
