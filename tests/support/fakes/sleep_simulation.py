"""A simulation of a model that goes to sleep and wakes again, in virtual time: the deciding code is real.

Real: what both activators know, their queues, activity and demand, their exchange of demand, what they report to KEDA,
and the rule of the activator's EndpointSlice. Simulated, each with a random delay: watches, KEDA, the ReplicaSet, the
kubelet, the engine, the operator and kube-proxy.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from slipway.activator.keda._generated import externalscaler_pb2 as pb
from slipway.activator.keda.fleet_demand import FleetDemand, PeerCount
from slipway.activator.keda.scaler import ExternalScaler
from slipway.activator.proxy.admission import GlobalLimits
from slipway.activator.proxy.client_identity import Client
from slipway.activator.proxy.error_responses import RefusedRequestError
from slipway.activator.proxy.queued_request import QueuedRequest
from slipway.activator.proxy.request_queue import RequestQueue
from slipway.activator.proxy.retry_policy import UpstreamFailure, may_retry
from slipway.activator.shared.demand import Demand
from slipway.activator.shared.model_state import ModelState, ModelStates
from slipway.activator.shared.replica import Replica
from slipway.activator.tracking.engine_metrics import MetricsReading
from slipway.activator.tracking.poller import PollTarget
from slipway.activator.tracking.tracker import Tracker
from slipway.api.model_key import ModelKey
from slipway.api.names import OWNER_LABEL, activator_slice_name
from slipway.kube.store import Store
from slipway.objects.kinds import ENDPOINT_SLICE, LLM_DEPLOYMENT, POD, SERVICE, Object
from slipway.observing.keeping import FOUND_BY
from slipway.operator.rendering.activatorslice import conditions

LLAMA = ModelKey("chat", "llama")
REF = pb.ScaledObjectRef(namespace=LLAMA.namespace, name=LLAMA.name)
CALL = SimpleNamespace(peer=lambda: "unix:@keda")
"""The only member of gRPC's context that the scaler reads, except in errors."""
BEGIN = datetime(2026, 11, 21, tzinfo=UTC)
IDLE_AFTER, POLLING, COOLDOWN = 10.0, 5.0, 5.0
ENDPOINTS_DELAY = 3.0  # seconds for which a terminating replica still serves requests
LABELS = {OWNER_LABEL: LLAMA.name}


def clock() -> float:
    return asyncio.get_running_loop().time()


def now() -> datetime:
    return BEGIN + timedelta(seconds=clock())


class LostError(Exception):
    """A request got no response."""


@dataclass(eq=False)
class EnginePod:
    """A pod: `is_ready` is its condition in the API server, `state` is the real state of its engine."""

    world: World
    number: int
    created: float = field(default_factory=clock)
    state: str = "loading"
    is_ready: bool = False
    changed_at: float = field(default_factory=clock)
    terminating: asyncio.Event = field(default_factory=asyncio.Event)
    in_flight: int = 0
    tokens: int = 0

    @property
    def is_leaving(self) -> bool:
        return self.terminating.is_set()

    @property
    def address(self) -> str:
        return f"10.0.0.{self.number}"

    async def live(self) -> None:
        starting = asyncio.create_task(self._start())
        await self.terminating.wait()
        await self.world.pause(0.3)
        starting.cancel()
        if self.state == "serving":
            self.world.later(1.0, self._turn, False)
            await asyncio.sleep(ENDPOINTS_DELAY)
            self.state = "draining"
            while self.in_flight:  # noqa: ASYNC110 - in virtual time, it costs nothing
                await asyncio.sleep(0.1)
        self.state = "gone"
        await self.world.pause(0.3)
        self.world.pods.remove(self)
        self.world.changed()

    async def _start(self) -> None:
        await asyncio.sleep(self.world.chance.uniform(0.5, 9))
        self.state = "serving"
        for activator in self.world.activators:
            self.world.later(0.1, activator.greet, self)
        await self.world.pause(1.0)
        self._turn(True)

    def _turn(self, is_ready: bool) -> None:
        self.is_ready, self.changed_at = is_ready, clock()
        self.world.changed()

    async def serve(self) -> UpstreamFailure | None:
        """Serves one request; None means that it was answered."""
        if self.state in ("loading", "gone"):
            return UpstreamFailure.NO_CONNECTION
        if self.state == "draining":
            return UpstreamFailure.TURNED_AWAY
        self.in_flight += 1
        await self.world.pause(2.0)
        self.tokens += 8
        self.in_flight -= 1
        return None

    def object(self) -> Object:
        ready = {"type": "Ready", "status": str(self.is_ready), "lastTransitionTime": stamp(self.changed_at)}
        leaving = {"deletionTimestamp": stamp(clock())} if self.is_leaving else {}
        name = f"llama-{self.number}"
        return {
            "metadata": metadata(name, uid=name, labels=LABELS, creationTimestamp=stamp(self.created), **leaving),
            "spec": {"containers": [{"name": "engine"}], "nodeName": "node"},
            "status": {
                "phase": "Running",
                "podIP": self.address,
                "conditions": [ready],
                "containerStatuses": [{"name": "engine", "containerID": name, "state": {"running": {}}}],
            },
        }


class World:
    def __init__(self, chance: random.Random, *, operator_lag: float = 0.5, idle_after: float = IDLE_AFTER) -> None:
        self.chance, self._operator_lag = chance, operator_lag
        self.deployment = deployment(idle_after=idle_after)
        self.replicas = 0
        self.pods: list[EnginePod] = []
        self.slice_is_ready = True  # whether the activator's EndpointSlice is ready for traffic
        self.wants_none = asyncio.Event()  # set when KEDA wants no replica any more
        self._numbers = 0
        self._routes: list[EnginePod | Activator] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.activators = [Activator(self, number) for number in range(2)]
        one, two = self.activators
        one.share_demand_with(two)
        two.share_demand_with(one)
        for activator in self.activators:
            activator.observe()
            self.run(activator.poll_engines())
            self.run(activator.keep_observing())
        self._route()
        self._last_active = clock()
        self.run(self._hear_pushes())
        self.run(self._poll())

    # --- time -------------------------------------------------------------------------------------------------------

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def pause(self, most: float) -> None:
        await asyncio.sleep(self.chance.uniform(0, most))

    def later(self, most: float, deed: Callable[..., None], *args: object) -> None:
        asyncio.get_running_loop().call_later(self.chance.uniform(0, most), deed, *args)

    async def end(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result

    def annotate(self, name: str) -> None:
        """Writes the present time, in whole seconds as people and Argo CD write it."""
        annotations = self.deployment["metadata"].get("annotations") or {}
        metadata = {**self.deployment["metadata"], "annotations": annotations | {name: stamp(clock())}}
        self.deployment = {**self.deployment, "metadata": {**metadata, "resourceVersion": version()}}
        self.changed()

    # --- who learns of a change, and when ---------------------------------------------------------------------------

    def changed(self) -> None:
        for activator in self.activators:
            self.later(0.5, activator.observe)
        self.later(self._operator_lag, self._lead)
        self.later(0.5, self._route)

    def _lead(self) -> None:
        """The operator's decision whether the Service leads to the activator."""
        leads = not any(pod.is_ready and not pod.is_leaving for pod in self.pods)
        if leads != self.slice_is_ready:
            self.slice_is_ready = leads
            self.changed()

    def _route(self) -> None:
        """Routes as kube-proxy does: to ready endpoints, and if there are none, to terminating ones that still
        serve."""
        ready: list[EnginePod | Activator] = [pod for pod in self.pods if pod.is_ready and not pod.is_leaving]
        ending: list[EnginePod | Activator] = [pod for pod in self.pods if pod.is_ready and pod.is_leaving]
        (ready if self.slice_is_ready else ending).extend(self.activators)
        self._routes = ready or ending

    # --- KEDA, and the ReplicaSet -----------------------------------------------------------------------------------

    async def _hear_pushes(self) -> None:
        scaler = self.chance.choice(self.activators).scaler
        async for answer in scaler.StreamIsActive(REF, CALL):  # type: ignore[arg-type]
            if answer.result:
                self._last_active = clock()
                self._scale(1)

    async def _poll(self) -> None:
        await self.pause(POLLING)
        while True:
            scaler = self.chance.choice(self.activators).scaler
            if (await scaler.IsActive(REF, CALL)).result:  # type: ignore[arg-type]
                self._last_active = clock()
                self._scale(1)
            elif clock() - self._last_active > COOLDOWN:
                self._scale(0)
                self.wants_none.set()
            await asyncio.sleep(POLLING)

    def _scale(self, replicas: int) -> None:
        if replicas != self.replicas:
            self.later(0.2, self._set_replicas, replicas)

    def _set_replicas(self, replicas: int) -> None:
        self.replicas = replicas
        self.later(0.2, self._follow_replicas)

    def _follow_replicas(self) -> None:
        there = [pod for pod in self.pods if not pod.is_leaving]
        if self.replicas and not there:
            self._numbers += 1
            self.pods.append(EnginePod(self, self._numbers))
            self.run(self.pods[-1].live())
        for pod in there if not self.replicas else ():
            pod.terminating.set()
        self.changed()

    # --- clients ----------------------------------------------------------------------------------------------------

    @property
    def moment(self) -> str:
        if any(pod.is_leaving for pod in self.pods):
            return "going to sleep"
        return "awake" if self.replicas else "asleep"

    async def request(self) -> str:
        """Sends one request; returns the state of the model when it arrived, or raises LostError if it gets no
        response."""
        moment = self.moment
        if not self._routes:
            raise LostError(f"{moment}: the connection was refused")
        where = self.chance.choice(self._routes)
        if isinstance(where, Activator):
            await where.answer()
        elif failure := await where.serve():
            raise LostError(f"{moment}: the pod itself said {failure}")
        return moment

    async def until_asleep(self) -> None:
        async with asyncio.timeout(120):
            while self.replicas or self.pods:  # noqa: ASYNC110 - in virtual time, it costs nothing
                await asyncio.sleep(0.5)


class Activator:
    """One replica of the activator, without its sockets."""

    def __init__(self, world: World, number: int) -> None:
        self.world, self.number = world, number
        self._store = Store([LLM_DEPLOYMENT, SERVICE, POD, ENDPOINT_SLICE], index_by=FOUND_BY)
        for kind, thing in ((LLM_DEPLOYMENT, world.deployment), (SERVICE, service())):
            self._store.take(kind, "ADDED", thing, now=0)
        self._own = Demand()
        self._everyone = FleetDemand(self._own)
        self._deployments = ModelStates()
        self._knowledge = Tracker(self._store, self._deployments, port_of=lambda _: 20123, now=now, clock=clock)
        self._scraping, self._greeting = PodPoller(), PodPoller()
        self._knowledge.metrics_poller = self._scraping  # type: ignore[assignment]
        self._knowledge.readiness_poller = self._greeting  # type: ignore[assignment]
        self._queue: RequestQueue | None = None
        self._deployments.listen(self._hear)
        self.scaler = ExternalScaler(self._everyone.all)

    def _hear(self, deployment: ModelKey, known: ModelState | None) -> None:
        assert known
        if self._queue:
            self._queue.update(known)
        else:
            self._queue = RequestQueue(known, GlobalLimits(), self._own)

    def share_demand_with(self, other: Activator) -> None:
        def pass_on() -> None:
            wanted = self._own.of(LLAMA)
            other._everyone.record(str(self.number), [PeerCount(LLAMA, wanted.active, wanted.waiting)], clock())

        self._own.listen(lambda *_: self.world.later(0.1, pass_on))

    @property
    def wants(self) -> bool:
        """Whether this replica alone wants the model awake."""
        return self._own.of(LLAMA).active

    def observe(self) -> None:
        """Updates the store to what the watches report by now."""
        self._store.take(LLM_DEPLOYMENT, "MODIFIED", self.world.deployment, now=0)
        there = {pod.object()["metadata"]["name"]: pod.object() for pod in self.world.pods}
        for gone in [pod for pod in self._store.all(POD) if pod["metadata"]["name"] not in there]:
            self._store.take(POD, "DELETED", gone, now=0)
        for pod in there.values():
            self._store.take(POD, "MODIFIED", pod, now=0)
        self._store.take(ENDPOINT_SLICE, "MODIFIED", extra_slice(leads=self.world.slice_is_ready), now=0)
        self._knowledge.refresh(LLAMA)

    async def keep_observing(self) -> None:
        await self._knowledge.keep_refreshing()

    async def poll_engines(self) -> None:
        while True:
            await asyncio.sleep(self.world.chance.uniform(1, 2))
            for pod in self.world.pods:
                if self._scraping.target(pod) and pod.state in ("serving", "draining"):
                    reading = MetricsReading(pod.in_flight, pod.tokens)
                    self._knowledge.record_reading(LLAMA, f"llama-{pod.number}", reading)

    def greet(self, pod: EnginePod) -> None:
        """Greets a pod that has just become ready."""
        if (target := self._greeting.target(pod)) and pod.state == "serving":
            self._knowledge.record_ready(target)

    async def answer(self) -> None:
        """Does what `RequestHandler` does."""
        assert self._queue
        try:
            request = self._queue.enter(Client("192.0.2.1"))
            try:
                while failure := await self._ask(self._queue, request):
                    self._queue.failed(request, failure)
                    if not may_retry(failure, sent=False, replayable=True, tries=request.tries):
                        raise LostError(f"the activator gave up: {failure}")
                self._queue.responded(request)
            finally:
                self._queue.leave(request)
        except RefusedRequestError as refused:
            raise LostError(f"the activator refused: {refused}") from None

    async def _ask(self, queue: RequestQueue, request: QueuedRequest) -> UpstreamFailure | None:
        replica: Replica = await queue.queue(request)
        pod = next((pod for pod in self.world.pods if pod.address == replica.host), None)
        return await pod.serve() if pod else UpstreamFailure.NO_CONNECTION


class PodPoller:
    def __init__(self) -> None:
        self._targets: dict[str, PollTarget] = {}

    def follow(self, _: ModelKey, targets: Iterable[PollTarget]) -> None:
        self._targets = {target.uid: target for target in targets}

    def target(self, pod: EnginePod) -> PollTarget | None:
        return self._targets.get(pod.object()["metadata"]["uid"])


# --- objects ---------------------------------------------------------------------------------------------------------


def stamp(at: float) -> str:
    return f"{BEGIN + timedelta(seconds=at):%Y-%m-%dT%H:%M:%SZ}"


def metadata(name: str, *, uid: str = "", **more: Any) -> Object:
    return {"name": name, "namespace": LLAMA.namespace, "uid": uid or name, "resourceVersion": version(), **more}


def version() -> str:
    return str(int(clock() * 1000))


def deployment(*, idle_after: float = IDLE_AFTER) -> Object:
    spec = {"model": {"uri": "pvc://m/"}, "scaling": {"idleAfter": f"{idle_after:.0f}s", "hold": {"timeout": "120s"}}}
    return {"metadata": metadata(LLAMA.name, generation=1), "spec": spec}


def service() -> Object:
    ports = [{"port": 80, "targetPort": 8080}]
    return {"metadata": metadata(LLAMA.name, labels=LABELS), "spec": {"ports": ports}}


def extra_slice(*, leads: bool) -> Object:
    endpoints = [{"addresses": [f"10.0.1.{each}"], "conditions": conditions(leads=leads)} for each in range(2)]
    return {"metadata": metadata(activator_slice_name(LLAMA.name), labels=LABELS), "endpoints": endpoints}
