"""Content of a tenant's own objects doesn't affect other tenants: no loop ends, and no memory is filled."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from itertools import count
from typing import Any, cast

import pytest
from hypothesis import given, settings
from slipway.activator.proxy.admission import GlobalLimits
from slipway.activator.proxy.request_queue import RequestQueue
from slipway.activator.proxy.retry_after import after_wake
from slipway.activator.shared.demand import Demand
from slipway.activator.shared.model_state import ModelState, ModelStates
from slipway.activator.tracking import tracker
from slipway.activator.tracking.poller import PollTarget
from slipway.activator.tracking.tracker import Tracker
from slipway.activator.tracking.watches import ActivatorService
from slipway.activator.tracking.watches import watches as of_the_activator
from slipway.api.model_key import ModelKey
from slipway.api.names import MANAGED_BY, MANAGED_BY_LABEL, OWNER_LABEL
from slipway.api.reasons import Reason
from slipway.kube.metrics import WatchMetrics
from slipway.kube.store import Packing, Store, size_of
from slipway.kube.watch import Watch
from slipway.kube.watching import Watching
from slipway.objects.kinds import (
    DEPLOYMENT,
    ENDPOINT_SLICE,
    INFERENCE_SERVICE,
    LLM_DEPLOYMENT,
    POD,
    POD_MONITOR,
    SCALED_OBJECT,
    SERVICE,
    SERVING_RUNTIME,
    Kind,
    Object,
    kind_of,
)
from slipway.observing.keeping import FOUND_BY
from slipway.observing.observation import observe
from slipway.observing.phases import length_of
from slipway.observing.snapshot import Snapshot
from slipway.observing.status import same, status_of
from slipway.operator.installation import Installation
from slipway.operator.planning import Unplannable
from slipway.operator.reconciling.platform import KEDA, PlatformWatch
from slipway.operator.reconciling.watches import watches as of_the_operator
from slipway.process.metrics import MetricsRegistry
from support.builders.hostile_values import statuses
from support.fakes import sleep_simulation as model
from support.fakes.sleep_simulation import LLAMA

TRAP = ModelKey("evil", "llama")


class NoPoller:
    """A poller that polls nothing."""

    def follow(self, _: ModelKey, targets: Iterable[PollTarget]) -> None:
        pass


class Activator:
    """The activator's state of two models, up to the demand for KEDA; a tenant may write anything into one of them."""

    def __init__(self) -> None:
        self.store, self.known = Store([LLM_DEPLOYMENT, SERVICE, POD, ENDPOINT_SLICE], index_by=FOUND_BY), ModelStates()
        self.demand, self._gates, self._versions = Demand(), dict[ModelKey, RequestQueue](), count(1)
        self.knowledge = Tracker(
            self.store, self.known, port_of=lambda _: 20123, now=lambda: model.BEGIN, clock=lambda: 0.0
        )
        self.knowledge.readiness_poller = self.knowledge.metrics_poller = NoPoller()  # type: ignore[assignment]
        self.known.listen(self._on_state)

    def _on_state(self, deployment: ModelKey, state: ModelState | None) -> None:
        if state is None:
            if gate := self._gates.pop(deployment, None):
                gate.close()
        elif gate := self._gates.get(deployment):
            gate.update(state)
        else:
            self._gates[deployment] = RequestQueue(state, GlobalLimits(), self.demand)

    def write(self, deployment: ModelKey, kind: Any = LLM_DEPLOYMENT, obj: Object | None = None, **more: Any) -> None:
        obj = obj or model.deployment()
        metadata = {
            **obj["metadata"],
            "namespace": deployment.namespace,
            "resourceVersion": str(next(self._versions)),
        }
        self.store.take(kind, "MODIFIED", {**obj, **more, "metadata": metadata}, now=0)

    def knows(self, deployment: ModelKey) -> bool:
        return self.known.of(deployment) is not None


@pytest.fixture
async def activator(monkeypatch: pytest.MonkeyPatch) -> Activator:
    monkeypatch.setattr(model, "version", lambda: "1")
    return Activator()


# --- memory and time -------------------------------------------------------------------------------------------------

OWNED = {OWNER_LABEL: "none", MANAGED_BY_LABEL: MANAGED_BY}
TEXT, MANY = "x" * 700_000, [f"{each:08}" for each in range(15_000)]


def large(kind: Kind, **fields: Any) -> Object:
    """An object as large as the API server accepts, in every field that may be large."""
    metadata = {
        "name": "none",
        "namespace": "evil",
        "uid": "1",
        "resourceVersion": "1",
        "labels": {**OWNED, **dict.fromkeys(MANY, "")},
        "annotations": {"a": TEXT},
        "finalizers": MANY,
        "ownerReferences": [{"kind": "LLMDeployment", "name": "none", "uid": each} for each in MANY],
    }
    return {"apiVersion": kind.api_version, "kind": kind.name, "metadata": metadata, **fields}


def large_pod() -> Object:
    env = [{"name": f"E{each}", "value": each} for each in MANY]
    containers: list[Object] = [
        {"name": each, "image": "x", "env": env if each == MANY[0] else []} for each in MANY[:2_000]
    ]
    resources = {"limits": {"memory": "1Gi", **dict.fromkeys(MANY, "1")}}
    containers[0]["resources"] = resources
    ended = {"state": {"terminated": {"exitCode": 1, "message": "y" * 4096}}}
    status = {
        "phase": "Pending",
        "message": TEXT,
        "podIP": "10.0.0.1",
        "podIPs": [{"ip": each} for each in MANY],
        "conditions": [
            {"type": each, "status": "True", "message": "y" * 5_000} for each in ("Ready", "x", *MANY[:100])
        ],
        "containerStatuses": [{"name": each, "ready": False, "image": "x" * 5_000, **ended} for each in MANY[:2_000]],
    }
    spec = {"schedulerName": "none", "nodeSelector": dict.fromkeys(MANY, ""), "containers": containers}
    return large(POD, spec=spec, status=status)


def large_slice(name: str = "none-activator") -> Object:
    endpoints = [{"addresses": ["10.0.0.1"], "hostname": each, "conditions": {"ready": False}} for each in MANY]
    obj = large(ENDPOINT_SLICE, endpoints=endpoints, ports=[{"port": 1, "name": each} for each in MANY])
    return {**obj, "metadata": {**obj["metadata"], "name": name}}


def large_child(kind: Kind) -> Object:
    return large(kind, spec={"ports": [{"name": each} for each in MANY]}, status={"conditions": [{"message": TEXT}]})


def large_model() -> Object:
    """An LLMDeployment, whose spec is bounded by the CRD."""
    spec = {"model": {"uri": "pvc://m/"}, "pod": {"env": MANY[:64]}, "engine": {"extraArgs": ["z" * 1024] * 64}}
    conditions = [{"type": "Ready", "status": "False", "message": "y" * 32768}]
    return large(LLM_DEPLOYMENT, spec=spec, status={"message": "short", "conditions": conditions})


def activators() -> dict[Kind, Watch[Any]]:
    return {
        each.kind: each
        for each in of_the_activator(ActivatorService("slipway-system", "slipway-activator"), lambda _: ())
    }


def operators() -> dict[Kind, Watch[Any]]:
    index = {"everyone": lambda: (), "on_node": lambda _: (), "node": lambda _: None, "ports": lambda _: ()}
    return {each.kind: each for each in of_the_operator(installation=Installation(), **index)}  # type: ignore[arg-type]


STORED_BY_ACTIVATORS = [
    # an object of megabytes, and the most characters of it that are stored
    (large_pod, 160_000),  # with the termination messages of 32 containers, which is more than the kubelet allows
    (large_slice, 600),
    (lambda: large_child(SERVICE), 600),
    (large_model, 80_000),
]
STORED_BY_OPERATORS = [
    (large_pod, 160_000),
    (large_slice, 600),
    (lambda: large_slice("none-x7"), 600),
    (large_model, 110_000),
    *((lambda kind=kind: large_child(kind), 600) for kind in (SERVICE, POD_MONITOR, SCALED_OBJECT, INFERENCE_SERVICE)),
    (lambda: large_child(SERVING_RUNTIME), 600),
    (lambda: large(DEPLOYMENT, spec={"template": TEXT}, status={"conditions": [{"message": TEXT}] * 99}), 140_000),
]


@pytest.mark.parametrize(
    ("watches", "make", "most"),
    [
        *((activators, *each) for each in STORED_BY_ACTIVATORS),
        *((operators, *each) for each in STORED_BY_OPERATORS),
    ],
)
def test_only_a_small_part_of_a_large_object_is_stored(
    watches: Callable[[], dict[Kind, Watch[Any]]], make: Callable[[], Object], most: int
) -> None:
    obj = make()
    assert size_of(obj) > 1_000_000
    watch = watches()[kind_of(obj)]
    stored = watch.kept(obj, labels=FOUND_BY)
    assert stored is not None
    assert size_of(stored) <= most
    assert {*watch.keys(stored)} == {*watch.keys(obj)}


def test_a_hundred_large_pending_pods_take_less_than_a_hundred_kilobytes() -> None:
    env = [{"name": f"E{each}", "value": f"{each}"} for each in range(18_000)]
    pod = {
        "metadata": {"name": "p", "namespace": "evil", "uid": "u", "resourceVersion": "1", "labels": OWNED},
        "spec": {"schedulerName": "none", "containers": [{"name": "c", "image": "x", "env": env}]},
        "status": {"phase": "Pending"},
    }
    for watches in (activators(), operators()):
        assert watches[POD].packed
        assert 100 * len(Packing.pack(watches[POD].shrunk(pod))) < 100_000


async def test_objects_are_shrunk_before_they_reach_the_event_loop_that_serves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    delivered: list[Object] = []
    watching = watched(activators().values())
    monkeypatch.setattr(watching, "_take", lambda kind, type_, obj: delivered.append(obj))
    arrive = watching._delivering(watching._epoch)
    await asyncio.to_thread(arrive, POD, "MODIFIED", large_pod())
    await asyncio.sleep(0)
    [obj] = delivered
    assert size_of(obj) <= 160_000


async def test_an_unreadable_object_is_stored_by_its_name_and_the_next_one_is_delivered(
    caplog: pytest.LogCaptureFixture,
) -> None:
    keys: list[Any] = []
    watching = watched(activators().values(), add=keys.append)
    unreadable, readable = large_child(LLM_DEPLOYMENT), model_of("good")
    unreadable["spec"] = ["no", "object"]
    arrive = watching._delivering(watching._epoch)
    for obj in (unreadable, readable):
        arrive(LLM_DEPLOYMENT, "ADDED", obj)
    await asyncio.sleep(0.01)
    assert keys == [ModelKey("evil", "none"), ModelKey("evil", "good")]
    assert "spec" not in (watching.store.get(LLM_DEPLOYMENT, "none", "evil") or {})  # a missing spec allows no client
    assert "only the name is stored" in caplog.text


async def test_an_error_in_handling_a_deletion_does_not_stop_the_audit() -> None:
    def fail(_: Any) -> None:
        raise ValueError("odd")

    watching = watched(activators().values(), add=fail)
    watching._gone(LLM_DEPLOYMENT, [model_of("good")])


async def test_an_error_in_the_check_of_keda_does_not_stop_the_operator(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    following = PlatformWatch(
        KEDA,
        "keda",
        client=cast(Any, None),
        concern=cast(Any, None),
        now=lambda: datetime.now(UTC),
    )
    monkeypatch.setattr(following, "part", lambda: "odd")
    following.check()
    assert "The check of KEDA failed" in caplog.text


def model_of(name: str) -> Object:
    metadata = {"name": name, "namespace": "evil", "uid": "1", "resourceVersion": "1"}
    return {"metadata": metadata, "spec": {"model": {"uri": "pvc://m/"}}}


def watched(watches: Iterable[Watch[Any]], add: Callable[[Any], None] = lambda _: None) -> Watching[Any]:
    return Watching(
        [*watches], client=cast(Any, None), add=add, metrics=WatchMetrics(MetricsRegistry()), index_by=FOUND_BY
    )


# --- values that could end a loop ------------------------------------------------------------------------------------

STATUSES = {
    "a phase that is not a duration": {"lastColdStart": {"load": "soon"}},
    "an endless phase": {"lastColdStart": {"load": f"{'9' * 400}h"}},
    "a negative number of requests": {"plan": {"maxConcurrency": -1}},
    "a huge number of requests": {"plan": {"maxConcurrency": 2**62}},
    "the year 0": {
        "conditions": [
            {"type": "Ready", "status": "False", "reason": "x", "lastTransitionTime": "0000-01-01T00:00:00Z"}
        ]
    },
}


@pytest.mark.parametrize("status", STATUSES.values(), ids=STATUSES)
async def test_no_status_keeps_its_own_model_or_others_from_being_served(activator: Activator, status: Object) -> None:
    activator.write(TRAP, status=status)
    activator.write(LLAMA)
    activator.knowledge.refresh_all()
    assert activator.knows(LLAMA)
    state = activator.known.of(TRAP)
    assert state
    assert 1 <= state.target_per_replica <= 4096
    assert math.isfinite(state.expected_wake or 0)
    assert math.isfinite(state.limits.timeout)


@settings(max_examples=100, deadline=None)
@given(status=statuses())
def test_the_activator_can_read_every_status_that_the_crd_admits(status: Object) -> None:
    async def check() -> None:
        activator = Activator()
        activator.write(TRAP, obj=ASLEEP, status=status)
        activator.knowledge.refresh_all()
        state = activator.known.of(TRAP)
        assert state
        assert after_wake(state.expected_wake or 0, elapsed=0) <= 7 * 86_400

    asyncio.run(check())


@settings(max_examples=100, deadline=None)
@given(status=statuses())
def test_the_operator_can_replace_every_status_that_the_crd_admits(status: Object) -> None:
    seen = observe(None, Snapshot(now=model.BEGIN))
    written = status_of(1, NO_PLAN, seen, status, model.BEGIN)
    assert written["state"] == "Failed"
    assert length_of(written.get("lastColdStart") or {}) is not None
    assert same(written, status_of(1, NO_PLAN, seen, written, model.BEGIN))


NO_PLAN = Unplannable(Reason.INVALID_SPEC, "the spec can't be read")
ASLEEP: Object = {
    "metadata": {"name": LLAMA.name, "namespace": LLAMA.namespace, "uid": "1", "generation": 1},
    "spec": {"model": {"uri": "pvc://m/"}},
}

SPECS = {
    "a limit that is not a number": {"scaling": {"hold": {"maxBytes": "64e4294967302"}}},
    "a size that is not a number": {"model": {"uri": "pvc://m/", "facts": {"weights": "1e999999999999999999999"}}},
    "no model": {"model": None},
    "a list instead of an object": {"model": {"uri": "pvc://m/"}, "engine": ["vllm"]},
}


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
async def test_no_spec_keeps_the_models_of_others_from_being_served(activator: Activator, spec: Object) -> None:
    activator.write(TRAP, spec={**model.deployment()["spec"], **spec})
    activator.write(LLAMA)
    activator.knowledge.refresh_all()
    assert activator.knows(LLAMA)


async def test_a_model_that_the_activator_cannot_read_is_logged_once_and_served_again_once_it_is_readable(
    activator: Activator, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracker, "REFRESH_AGAIN_AFTER", 0.01)
    activator.write(TRAP)
    activator.knowledge.refresh_all()
    activator.write(TRAP, spec={"model": 7})
    activator.write(LLAMA)
    activator.knowledge.refresh_all()
    assert (activator.knows(TRAP), activator.knows(LLAMA)) == (False, True)
    refreshing = asyncio.create_task(activator.knowledge.keep_refreshing())
    await asyncio.sleep(0.1)
    assert not refreshing.done()
    errors = [each for each in caplog.records if each.levelno >= logging.ERROR]
    assert [(each.__dict__["key"], each.levelname) for each in errors] == [("evil/llama", "ERROR")]
    activator.write(TRAP)
    activator.knowledge.refresh(TRAP)
    assert activator.knows(TRAP)
    refreshing.cancel()
