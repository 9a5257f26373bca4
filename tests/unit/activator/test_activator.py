"""The entire activator: which peers it follows, and which deployments it refreshes."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress

import pytest
from kubernetes.aio.client import Configuration
from slipway.activator.activator import Activator
from slipway.activator.tracking.refresh_queue import RefreshQueue
from slipway.activator.tracking.watches import ActivatorService, watches
from slipway.api.model_key import ModelKey
from slipway.objects.kinds import CONFIG_MAP, ENDPOINT_SLICE, LLM_DEPLOYMENT, POD, SERVICE, Object
from support.programs.settings import activator_settings

HOME = ActivatorService("slipway-system", "slipway-activator")


def test_with_named_namespaces_only_those_and_our_own_objects_are_watched() -> None:
    home, watched = HOME.namespace, ("chat", "code")
    namespaces = {watch.kind: watch.namespaces for watch in watches(HOME, lambda _: (), watched)}
    of_models = dict.fromkeys((LLM_DEPLOYMENT, SERVICE, POD), watched)
    assert namespaces == of_models | {CONFIG_MAP: (home,), ENDPOINT_SLICE: (*watched, home)}


async def test_callers_are_then_looked_up_there_with_keda_and_our_own() -> None:
    activator = Activator(activator_settings(["--watch-namespaces=chat,keda"]), Configuration())
    assert activator._pod_lookup._where == ("chat", "keda", "slipway-system")


class Following:
    def __init__(self) -> None:
        self.replicas: Mapping[str, str] = {}

    def follow(self, replicas: Mapping[str, str]) -> None:
        self.replicas = replicas


class Scene:
    """The peers that it follows, given what is in its cache."""

    def __init__(self) -> None:
        self.activator = Activator(activator_settings(), Configuration())
        self.following = Following()
        self.activator._subscriptions = self.following  # type: ignore[assignment]
        self.activator._is_open = True

    def follows(self, *slices: Object) -> Mapping[str, str]:
        for each in slices:
            self.activator._watching.store.take(ENDPOINT_SLICE, "ADDED", each, now=0)
            self.activator._changed(HOME)
        return self.following.replicas


@pytest.fixture
async def scene() -> Scene:
    return Scene()


def endpoint(address: str, pod: str = "", *, ready: bool = True, kind: str = "Pod") -> Object:
    target = {"targetRef": {"kind": kind, "name": pod}} if pod else {}
    return {"addresses": [address], "conditions": {"ready": ready}, **target}


def of_service(*endpoints: Object, name: str = "a", namespace: str = HOME.namespace, **labels: str) -> Object:
    metadata = {"name": name, "namespace": namespace, "uid": name + namespace, "resourceVersion": "1"}
    all_labels = {
        "kubernetes.io/service-name": HOME.service,
        **{key.replace("_", "/"): each for key, each in labels.items()},
    }
    return {"metadata": {**metadata, "labels": all_labels}, "endpoints": list(endpoints)}


async def test_it_follows_the_ready_pods_of_its_own_service(scene: Scene) -> None:
    one, other, late = endpoint("10.0.0.1", "one"), endpoint("10.0.0.2", "two"), endpoint("10.0.0.3", "c", ready=False)
    assert scene.follows(of_service(one, other, late)) == {"10.0.0.1": "one", "10.0.0.2": "two"}
    assert scene.activator._tracker.metrics_poller.activators == 2


async def test_it_follows_a_terminating_replica_since_it_may_hold_requests(scene: Scene) -> None:
    ending = endpoint("10.0.0.2", "two", ready=False)
    ending["conditions"]["terminating"] = True
    assert scene.follows(of_service(endpoint("10.0.0.1", "one"), ending)) == {"10.0.0.1": "one", "10.0.0.2": "two"}
    assert scene.activator._tracker.metrics_poller.activators == 1


@pytest.mark.parametrize(
    "stranger",
    [
        of_service(endpoint("10.6.6.6", "one"), namespace="evil"),
        of_service(endpoint("10.6.6.6", "one"), **{"slipway.dev_llmdeployment": "slipway-activator"}),
        of_service(endpoint("10.6.6.6")),
        of_service(endpoint("10.6.6.6", "one", kind="Node")),
    ],
    ids=["another namespace's Service", "the Service of a model", "no pod", "something other than a pod"],
)
async def test_it_follows_no_other_pod(scene: Scene, stranger: Object) -> None:
    assert scene.follows(of_service(endpoint("10.0.0.1", "one"), name="own"), stranger) == {"10.0.0.1": "one"}


async def test_before_it_responds_it_follows_no_peer(scene: Scene) -> None:
    scene.activator._is_open = False
    assert scene.follows(of_service(endpoint("10.0.0.1", "one"))) == {}


async def test_a_replica_with_two_addresses_is_one(scene: Scene) -> None:
    scene.follows(of_service(endpoint("10.0.0.1", "one"), name="v4"), of_service(endpoint("fd00::1", "one"), name="v6"))
    assert scene.activator._tracker.metrics_poller.activators == 1


# --- refreshed deployments -------------------------------------------------------------------------------------------

OLD, NEW = ModelKey("chat", "old"), ModelKey("chat", "new")


def port_of(key: ModelKey, version: int) -> Object:
    metadata = {"name": "slipway-activator-ports-00", "namespace": HOME.namespace, "uid": "1"}
    return {
        "metadata": {**metadata, "resourceVersion": f"{version}"},
        "data": {"20000": f"{key} uid-of-{key.name}"},
    }


async def test_a_deployment_that_loses_a_port_is_refreshed_before_the_one_that_gets_it_and_before_all_others(
    scene: Scene,
) -> None:
    watching, refreshed = scene.activator._watching, list[ModelKey]()
    scene.activator._tracker._queue = RefreshQueue(refreshed.append, asyncio.get_running_loop().time)
    scene.activator._caches_are_filled = True
    scene.activator._changed(NEW)
    for version, key in enumerate([OLD, NEW], 1):
        watching._take(CONFIG_MAP, "MODIFIED", port_of(key, version))
    refreshing = asyncio.create_task(scene.activator._tracker.keep_refreshing())
    for _ in range(10):
        await asyncio.sleep(0)
    refreshing.cancel()
    assert refreshed == [OLD, NEW, NEW]


async def test_while_the_last_requests_are_answered_it_still_refreshes_what_changes(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Held requests may wait for a replica that is only just getting ready."""
    activator, refreshed = scene.activator, asyncio.Event()
    serves = asyncio.Event()

    @asynccontextmanager
    async def listeners() -> AsyncIterator[None]:
        try:
            yield
        finally:
            activator._changed(NEW)
            await refreshed.wait()

    @asynccontextmanager
    async def scaler() -> AsyncIterator[int]:
        serves.set()
        yield 1

    monkeypatch.setattr(activator._watching.store, "unsynced", list)
    monkeypatch.setattr(activator, "_listeners", listeners)
    monkeypatch.setattr(activator, "_scaler", scaler)
    monkeypatch.setattr(gc, "freeze", lambda: None)
    activator._tracker._queue = RefreshQueue(lambda _: refreshed.set(), asyncio.get_running_loop().time)
    serving = asyncio.create_task(activator._serve())
    await serves.wait()
    await asyncio.sleep(0)
    serving.cancel()
    async with asyncio.timeout(10):
        with suppress(asyncio.CancelledError):
            await serving
    assert refreshed.is_set()
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("looking")]
