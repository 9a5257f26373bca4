"""The operator's real loop on an API server in memory, for unit tests. Its caches learn of a change only when a test
lets them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from slipway.api.model_key import ModelKey
from slipway.api.names import FIELD_MANAGER, STATUS_FIELD_MANAGER
from slipway.contract.runbooks import NO_RUNBOOKS, Runbooks
from slipway.kube.call_retries import Patience
from slipway.kube.client import FieldManagers, KubeClient
from slipway.kube.events import EventRecorder
from slipway.kube.metrics import WatchMetrics
from slipway.kube.overlay import Overlay
from slipway.kube.store import Store, place_of, pruned
from slipway.kube.watch import Watch
from slipway.kube.work_queue import RetryLaterError
from slipway.objects.kinds import (
    CONFIG_MAP,
    LLM_DEPLOYMENT,
    Kind,
    Object,
)
from slipway.observing.keeping import FOUND_BY
from slipway.observing.snapshot import PlatformPart
from slipway.operator.installation import Installation
from slipway.operator.reconciling.applying import Applier
from slipway.operator.reconciling.asking import Elsewhere
from slipway.operator.reconciling.claims import Claims
from slipway.operator.reconciling.fetch_polling import FetchPolling
from slipway.operator.reconciling.image_maker import ImageMaker
from slipway.operator.reconciling.image_volumes import ImageVolumes
from slipway.operator.reconciling.inspector import Inspector
from slipway.operator.reconciling.measuring import Measuring
from slipway.operator.reconciling.memory import Memories
from slipway.operator.reconciling.portbook import PortBook
from slipway.operator.reconciling.pusher import Pusher
from slipway.operator.reconciling.reconciler import Reconciler
from slipway.operator.reconciling.references import References
from slipway.operator.reconciling.reporting import Reporter
from slipway.operator.reconciling.rights import Rights
from slipway.operator.reconciling.scaling_steps import ScalingSteps
from slipway.operator.reconciling.snapshots import SnapshotReader
from slipway.operator.reconciling.usage_polling import UsagePolling
from slipway.operator.reconciling.watches import watches
from slipway.process.metrics import MetricsRegistry

from support.fakes.api_server import KEY, FakeApiServer


def status(loop: Loop) -> Object:
    found: Object = loop.api.get(LLM_DEPLOYMENT).get("status", {})
    return found


def condition(loop: Loop, type_: str) -> Object:
    [found] = [each for each in status(loop)["conditions"] if each["type"] == type_]
    found_one: Object = found
    return found_one


def state_and_reason(loop: Loop) -> tuple[str, str]:
    """Returns the state, and the reason why it isn't ready."""
    return status(loop)["state"], condition(loop, "Ready")["reason"]


MANAGERS = FieldManagers(objects=FIELD_MANAGER, status=STATUS_FIELD_MANAGER)
IMPATIENT = Patience(deadline=0.001, first_pause=0.001)
NOW = datetime(2026, 11, 21, 10, 0, 0, tzinfo=UTC)
INSTALLATION = Installation("slipway-system", ("slipway-activator", "slipway-activator-2"))


def watched(installation: Installation) -> list[Watch[ModelKey]]:
    return watches(
        everyone=lambda: (), on_node=lambda _: (), node=lambda _: None, ports=lambda _: (), installation=installation
    )


WATCHED = watched(INSTALLATION)


def _store_for(watched: list[Watch[ModelKey]]) -> Store:
    return Store(
        [watch.kind for watch in watched],
        hints=[each.kind for each in watched if each.is_hint],
        packed=[each.kind for each in watched if each.packed],
        index_by=FOUND_BY,
    )


class Loop:
    """The real loop. `silent`: kinds whose watches deliver nothing."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] | None = None,
        now: Callable[[], datetime] | None = None,
        per_namespace: int = 1000,
        pause: float = 0.0,
        installation: Installation = INSTALLATION,
        api: FakeApiServer | None = None,
        runbooks: Runbooks = NO_RUNBOOKS,
    ) -> None:
        self.api = api or FakeApiServer()
        self.silent: set[Kind] = set()
        self._now = 100.0
        self._passed = 0.0
        clock = clock or (lambda: self._passed)
        self.time = NOW  # wall clock
        now = now or (lambda: self.time)
        self.watched = watched(installation)
        self.store = _store_for(self.watched)
        client = KubeClient(self.api, WatchMetrics(MetricsRegistry()), patience=IMPATIENT, managers=MANAGERS)  # type: ignore[arg-type]
        events = EventRecorder(client, controller="of-a-test", instance="test", clock=clock, now=now)
        self.requeued: list[tuple[ModelKey, float]] = []  # the keys to reconcile again, and when
        self.ports = self._port_book(client, clock, per_namespace, pause)
        self.overlay = Overlay(self.store)
        self.memories = Memories(self.overlay)
        self.kserve: PlatformPart | None = None
        self.keda: PlatformPart | None = None
        self.closed: set[tuple[Kind, str]] = set()  # where our rights on objects of the kind are gone
        self.reader = self._snapshot_reader(now, installation)
        self.inspector = Inspector(
            client, self.overlay, lambda key: self.requeued.append((key, 0)), self.reader.being_read
        )
        self.pusher = Pusher(client, self.overlay)
        self.image_maker = ImageMaker(client, self.overlay, installation.fetcher)
        self.image_volumes = ImageVolumes(client, namespace=INSTALLATION.namespace, clock=clock)
        self.seconds_between_readings = 10.0
        self.infos: dict[str, bytes] = {}  # what pods respond, by their address
        self.measuring = Measuring(changed=lambda key: self.requeued.append((key, 0)), fetch=self._info, pauses=(0.0,))
        self.scaling_steps = ScalingSteps(changed=lambda key: self.requeued.append((key, 0)), fetch=self._followed)
        self.followed: dict[str, bytes] = {}  # what activators respond, by their address
        self.usage = UsagePolling(
            on_use=lambda key, uid, use: self.memories.record_use(key, uid, use, self.time),
            changed=lambda key: self.requeued.append((key, 0)),
            fetch=self._info,
            clock=clock,
        )
        self.fetches = FetchPolling(changed=lambda key: self.requeued.append((key, 0)), fetch=self._info, clock=clock)
        self.references = References(client, self.store, self.memories, clock=clock)
        self.elsewhere = Elsewhere()  # what a site and the Hub know of models
        self.wanted: list[tuple[ModelKey, str, str | None]] = []  # what the Hub was asked
        self.refusal = ""  # why it isn't asked yet
        self.reporter = Reporter(client, events, self.overlay, runbooks, clock=self._passing)
        self.reconciler = self._reconciler(client, clock, installation)

    def _port_book(self, client: KubeClient, clock: Callable[[], float], per_namespace: int, pause: float) -> PortBook:
        return PortBook(
            client,
            self.store,
            namespace=INSTALLATION.namespace,
            activators=INSTALLATION.activators,
            per_namespace=per_namespace,
            look_again=lambda key, seconds: self.requeued.append((key, seconds)),
            clock=clock,
            pause=pause,
        )

    def _snapshot_reader(self, now: Callable[[], datetime], installation: Installation) -> SnapshotReader:
        return SnapshotReader(
            self.store,
            self.overlay,
            port_of=self.ports.port_of,
            now=now,
            installation=installation,
            kserve=lambda: self.kserve,
            keda=lambda: self.keda,
            is_closed=lambda kind, namespace: (kind, namespace) in self.closed,
        )

    def _reconciler(self, client: KubeClient, clock: Callable[[], float], installation: Installation) -> Reconciler:
        return Reconciler(
            store=self.store,
            memories=self.memories,
            reader=self.reader,
            ports=self.ports,
            applier=Applier(client, self.store, self.overlay, clock=clock),
            claims=Claims(client, self.overlay),
            inspector=self.inspector,
            pusher=self.pusher,
            image_maker=self.image_maker,
            image_volumes=self.image_volumes,
            reporter=self.reporter,
            references=self.references,
            measuring=self.measuring,
            scaling_steps=self.scaling_steps,
            usage=self.usage,
            fetches=self.fetches,
            rights=Rights(client, slipway_namespace=INSTALLATION.namespace, clock=self._passing),
            installation=installation,
            elsewhere=lambda: self.elsewhere,
            want=self._want,
        )

    def _want(self, key: ModelKey, uri: str, revision: str | None) -> str:
        self.wanted.append((key, uri, revision))
        return self.refusal

    async def _followed(self, address: str) -> bytes | None:
        return self.followed.get(address)

    async def _info(self, address: str) -> bytes | None:
        return self.infos.get(address)

    def _passing(self) -> float:
        self._now += self.seconds_between_readings
        return self._now

    def take_over(self) -> None:
        """Another replica has led meanwhile."""
        self.memories.clear()
        self.ports.start_over()
        self.inspector.start_over()

    def pass_time(self, seconds: float) -> None:
        """Advances the clock of its delays."""
        self._passed += seconds

    def catch_up(self) -> None:
        """Delivers all changes to the caches."""
        tables = {thing["metadata"]["name"]: thing for thing in self.store.all(CONFIG_MAP)}
        self._catch_up()
        tables |= {thing["metadata"]["name"]: thing for thing in self.store.all(CONFIG_MAP)}
        for table in tables.values():
            self.ports.concerns(table)

    def _catch_up(self) -> None:
        for watch in self.watched:
            if watch.kind in self.silent:
                continue
            if watch.kind in self.api.missing:
                self.store.miss(watch.kind)
                continue
            there = [thing for (kind, *_), thing in self.api.objects.items() if kind == watch.kind]
            kept = [thing for thing in map(watch.kept, there) if thing and is_selected(watch, thing)]
            for thing in kept:
                self.store.take(watch.kind, "MODIFIED", thing, now=0)
            self.store.compare(watch.kind, kept, since=self.store.mark, now=0)

    def delete(self, kind: Kind, *, namespace: str = KEY[0], name: str = KEY[1]) -> None:
        """Deletes an object, and delivers that to the caches."""
        gone = self.api.get(kind, namespace=namespace, name=name)
        self.api.remove(kind, namespace=namespace, name=name)
        self.store.take(kind, "DELETED", gone, now=0)

    async def reconcile(self, key: ModelKey = KEY) -> float | None:
        """Delivers all changes to the caches, then reconciles."""
        self.catch_up()
        return await self.reconciler.reconcile(key)

    async def failing_reconcile(self, key: ModelKey = KEY) -> str:
        """Returns the error that a reconcile raises."""
        try:
            await self.reconcile(key)
        except Exception as error:  # the queue treats every error as a failure
            return str(error) if isinstance(error, RetryLaterError) else f"{type(error).__name__}: {error}"
        raise AssertionError("the turn went well")

    async def settle(self, key: ModelKey = KEY, *, turns: int = 5) -> None:
        for _ in range(turns):
            await self.reconcile(key)
        self.api.writes()


def is_selected(watch: Watch[Any], thing: Object) -> bool:
    """Whether the watch selects the object."""
    name, _, value = watch.label_selector.partition("=")
    labels = pruned(thing)["metadata"].get("labels", {})
    has_label = not name or (labels.get(name) == value if value else name in labels)
    return has_label and (not watch.namespaces or place_of(thing)[0] in watch.namespaces)
