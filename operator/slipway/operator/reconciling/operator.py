"""The operator's process: its parts, what they need of each other, and the order in which they end.

- `Watching` fills the caches and adds keys to the queue; on all replicas, so that a standby has warm caches.
- `PlatformWatch` does the same for KServe and KEDA, on which all LLMDeployments depend.
- `LeaderElection` opens the queue on one replica, and closes it as soon as the lead is in doubt.
- The queue calls the `Reconciler`, whose client asks the election's guard before each write.
- The management port answers from the start to the end.

When it is asked to end, it stops watching, finishes the reconciles in flight, releases the Lease, and closes.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from slipway.api.acceleratorprofile import AcceleratorProfile
from slipway.api.model_key import ModelKey
from slipway.api.names import FIELD_MANAGER, METRICS_PREFIX, STATUS_FIELD_MANAGER
from slipway.kube import health
from slipway.kube.client import FieldManagers, KubeClient
from slipway.kube.connection import Connection
from slipway.kube.events import EventRecorder
from slipway.kube.lease import LeaderElection
from slipway.kube.overlay import Overlay
from slipway.kube.store import place_of
from slipway.kube.watching import Watching
from slipway.kube.work_queue import WorkQueue
from slipway.models.catalogue import shipped
from slipway.objects.kinds import NODE, Kind, Object
from slipway.observing.keeping import FOUND_BY
from slipway.operator.reconciling.applying import Applier
from slipway.operator.reconciling.asking import Elsewhere
from slipway.operator.reconciling.claims import Claims
from slipway.operator.reconciling.exposed import Exposed
from slipway.operator.reconciling.fetch_polling import FetchPolling
from slipway.operator.reconciling.flags import OperatorSettings
from slipway.operator.reconciling.hub import Hub
from slipway.operator.reconciling.image_maker import ImageMaker
from slipway.operator.reconciling.image_volumes import ImageVolumes
from slipway.operator.reconciling.inspector import Inspector
from slipway.operator.reconciling.measuring import Measuring
from slipway.operator.reconciling.memory import Memories
from slipway.operator.reconciling.metrics import OperatorMetrics
from slipway.operator.reconciling.own_runtimes import OwnRuntimes
from slipway.operator.reconciling.platform import KEDA, KSERVE, PlatformWatch
from slipway.operator.reconciling.portbook import PortBook
from slipway.operator.reconciling.profile_status import ProfileStatuses
from slipway.operator.reconciling.pusher import Pusher
from slipway.operator.reconciling.reconciler import Reconciler
from slipway.operator.reconciling.references import References
from slipway.operator.reconciling.reporting import Reporter
from slipway.operator.reconciling.rights import Rights
from slipway.operator.reconciling.scaling_steps import ScalingSteps
from slipway.operator.reconciling.site_models import SiteModels
from slipway.operator.reconciling.snapshots import SnapshotReader
from slipway.operator.reconciling.supply import SupplyCache
from slipway.operator.reconciling.supply_polling import SupplyPolling
from slipway.operator.reconciling.usage_polling import UsagePolling
from slipway.operator.reconciling.watches import Counted, watches
from slipway.process import lifecycle
from slipway.process.lifecycle import Part, Stages
from slipway.process.management import ManagementPort
from slipway.process.metrics import MetricsRegistry

logger = logging.getLogger(__name__)

CONTROLLER = "slipway.dev/operator"  # what events name as their reporter
FINISH_WITHIN = 7.0  # seconds; then the Lease is released within 2, and the process has ended within 10

Now = Callable[[], datetime]


def utc_now() -> datetime:
    return datetime.now(UTC)


UNTIL_CREATED = 0.25  # seconds until a reconcile is tried again for which this release's runtimes were not yet there


class Operator:
    """`configuration`: the official client's, of the API server. `now`: the time of day, on which no wait depends."""

    def __init__(self, settings: OperatorSettings, configuration: Any, *, now: Now = utc_now) -> None:
        self._settings = settings
        self._installation = settings.installation
        self._connection = Connection(configuration)
        self._metrics = OperatorMetrics(MetricsRegistry(METRICS_PREFIX))
        self._term: object = None  # the term of leadership in which the memories were made
        managers = FieldManagers(objects=FIELD_MANAGER, status=STATUS_FIELD_MANAGER)
        client = KubeClient(self._connection, self._metrics.watches, managers=managers)
        self._election = self._elected(client)
        self._queue: WorkQueue[ModelKey] = WorkQueue(
            self._reconcile, self._metrics.queue, workers=settings.workers, resync_every=settings.resync
        )
        self._queue.pause()
        self._supply = SupplyCache(
            node=self._node,
            profiles=self._profiles,
            on_change=self._supply_changed,
            is_filled=lambda: not self._watching.store.unsynced(),
        )
        self._polling = self._made_polling(client, now)
        self._watching = self._made_watching(client)
        writer = client.with_(guard=self._election.guard)
        self._ports = self._made_ports(writer)
        self._own_runtimes = self._made_runtimes(writer)
        self._overlay = Overlay(self._watching.store)
        self._memories = Memories(self._overlay)
        self._platform = [
            PlatformWatch(program, namespace, client=client, concern=self._add_everyone, now=now)
            for program, namespace in ((KSERVE, settings.kserve_namespace), (KEDA, settings.keda_namespace))
        ]
        self._site_models = SiteModels(settings.namespace, client=client, concern=self._add_everyone)
        self._hub = self._made_hub()
        self._reader = self._made_reader(now)
        self._reader.following.changed = self._queue.add
        self._inspector = Inspector(writer, self._overlay, self._queue.add, self._reader.being_read)
        self._pusher = Pusher(writer, self._overlay)
        self._image_maker = ImageMaker(writer, self._overlay, settings.installation.fetcher)
        self._measuring = Measuring(changed=self._queue.add)
        self._scaling_steps = ScalingSteps(changed=self._queue.add)
        self._usage = UsagePolling(
            on_use=lambda key, uid, use: self._memories.record_use(key, uid, use, now()),
            changed=self._queue.add,
            leads=lambda: self._election.is_leader,
        )
        self._fetches = FetchPolling(changed=self._queue.add, leads=lambda: self._election.is_leader)
        self._statuses = self._made_statuses(writer)
        references = References(client, self._watching.store, self._memories)
        self._reconciler = self._made_reconciler(writer, references, now)
        exposed = Exposed(self._memories, self._reader, lambda: self._election.is_leader)
        exposed.add_to(self._metrics, opencost=settings.opencost_metrics)

    async def run(self, asked_to_end: asyncio.Event) -> None:
        """Until it is asked to end, or a part fails; that failure is raised after an orderly end."""
        management = ManagementPort(
            metrics=self._metrics.registry,
            live={"watches": health.watches_are_fresh(self._watching.auditor)},
            ready={"caches": health.caches_are_filled(self._watching.store)},
            port=self._settings.management_port,
        )
        async with self._connection:
            await lifecycle.serve(
                self._stages(), name=self._settings.identity, management=management, asked_to_end=asked_to_end
            )

    def _stages(self) -> Stages:
        """The Lease is held until no reconcile is in flight any more; watches may take longer to close."""
        return [
            [Part("election", self._hold_lease)],
            [
                Part("watching", self._watching.run, ends_alone=True),
                *(Part("platform", each.run, ends_alone=True) for each in self._platform),
                Part("runtimes", self._own_runtimes.run, ends_alone=True),
                Part("measuring", self._measuring.run),
                Part("scaling steps", self._scaling_steps.run),
                Part("usage", self._usage.run),
                Part("fetches", self._fetches.run),
                Part("supply", self._polling.run, ends_alone=True),
                Part("profiles", self._statuses.run, ends_alone=True),
                Part("models", self._site_models.run, ends_alone=True),
                *([Part("hub", self._hub.run, ends_alone=True)] if self._hub else []),
                Part("queue", self._work),
            ],
        ]

    async def _hold_lease(self) -> None:
        try:
            await self._election.run()
        finally:
            await self._election.release()

    async def _work(self) -> None:
        """Not before the caches are filled: each first list would add all keys, and put them off, again and again."""
        try:
            await self._watching.until_filled()
            await self._site_models.until_read()
            await asyncio.to_thread(shipped)  # reading it takes a moment, in which nothing else would happen
            await self._supply.settle()
            gc.collect()
            gc.freeze()  # otherwise each collection would walk through the caches, and all else would wait
            await self._queue.run()
        finally:
            await self._queue.finish(FINISH_WITHIN)

    # --- how its parts are constructed ------------------------------------------------------------------------------

    def _elected(self, client: KubeClient) -> LeaderElection:
        return LeaderElection(
            client,
            self._metrics.election,
            namespace=self._settings.namespace,
            name=self._settings.lease_name,
            identity=self._settings.identity,
            on_change=self._lead,
        )

    def _made_polling(self, client: KubeClient, now: Now) -> SupplyPolling:
        return SupplyPolling(
            client,
            nodes=self._supply.nodes_to_read,
            wants_classes=lambda: self._supply.has_claims,
            leads=self._counts,
            on_polled=lambda: self._supply.polled(self._polling.polled),
            now=now,
        )

    def _made_statuses(self, client: KubeClient) -> ProfileStatuses:
        return ProfileStatuses(
            client,
            self._watching.store,
            supply=self._supply.supply,
            profiles=self._profiles,
            is_ready=lambda: self._counts() and self._polling.has_polled,
        )

    def _made_watching(self, client: KubeClient) -> Watching[ModelKey]:
        return Watching(
            watches(
                everyone=self._everyone,
                on_node=self._on_node,
                node=self._node,
                ports=self._concerned_by_ports,
                installation=self._installation,
                on_claim=self._on_claim,
                counted=Counted(
                    node=self._node_changed,
                    profiles=self._profiles_changed,
                    there=self._is_stored,
                    touched=self._polling.touch,
                ),
            ),
            client=client,
            add=self._queue.add,
            metrics=self._metrics.watches,
            index_by=FOUND_BY,
            on_kinds=lambda _: self._add_everyone(),
            on_news=self._own_write_reported,
        )

    def _made_ports(self, client: KubeClient) -> PortBook:
        return PortBook(
            client,
            self._watching.store,
            namespace=self._settings.namespace,
            activators=self._settings.activators,
            per_namespace=self._settings.ports_per_namespace,
            look_again=self._queue.add_after,
        )

    def _made_runtimes(self, client: KubeClient) -> OwnRuntimes:
        settings = self._settings
        return OwnRuntimes(
            client,
            self._watching.store,
            ours=settings.runtimes,
            keep_unused=None if settings.watch_namespaces else settings.keep_old_runtimes,
            leads=lambda: self._election.is_leader,
        )

    def _made_reader(self, now: Now) -> SnapshotReader:
        kserve, keda = (each.part for each in self._platform)
        return SnapshotReader(
            self._watching.store,
            self._overlay,
            port_of=self._ports.port_of,
            now=now,
            installation=self._installation,
            kserve=kserve,
            keda=keda,
            is_closed=self._watching.auditor.is_closed,
        )

    def _made_reconciler(self, client: KubeClient, references: References, now: Now) -> Reconciler:
        store = self._watching.store
        events = EventRecorder(client, controller=CONTROLLER, instance=self._settings.identity, now=now)
        return Reconciler(
            store=store,
            memories=self._memories,
            reader=self._reader,
            ports=self._ports,
            applier=Applier(client, store, self._overlay),
            claims=Claims(client, self._overlay),
            inspector=self._inspector,
            pusher=self._pusher,
            image_maker=self._image_maker,
            image_volumes=ImageVolumes(client, namespace=self._settings.namespace, clock=time.monotonic),
            reporter=Reporter(client, events, self._overlay, self._settings.runbooks),
            references=references,
            measuring=self._measuring,
            scaling_steps=self._scaling_steps,
            usage=self._usage,
            fetches=self._fetches,
            rights=Rights(client, slipway_namespace=self._settings.namespace, clock=time.monotonic),
            installation=self._installation,
            supply=self._supply.supply,
            freshen=self._freshen,
            elsewhere=self._elsewhere,
            want=self._want,
            unwanted=self._hub.forget if self._hub else lambda _key: None,
            outdated=self._polling.outdated,
        )

    def _made_hub(self) -> Hub | None:
        settings = self._settings
        if not settings.hub_endpoint:
            return None
        return Hub(settings.hub_endpoint, redirects_to=settings.hub_redirects_to, changed=self._queue.add)

    # --- what happens -----------------------------------------------------------------------------------------------

    def _lead(self, leads: bool) -> None:
        """After another leader, all memories are dropped, since that replica may have written meanwhile.

        If the API server was only too slow to renew the Lease, they stay: applying all objects again would make the
        API server slower.
        """
        if leads:
            if self._election.term != self._term:
                self._memories.clear()
                self._usage.start_over()
                self._fetches.start_over()
                self._scaling_steps.start_over()
                self._ports.start_over()
                self._inspector.start_over()
                self._pusher.start_over()
                self._image_maker.start_over()
                self._polling.start_over()
                self._term = self._election.term
            self._add_everyone()
            self._queue.resume()
        else:
            self._queue.pause()

    async def _reconcile(self, key: ModelKey) -> float | None:
        if self._own_runtimes.are_coming:
            return UNTIL_CREATED
        if not self._polling.has_polled:
            await self._freshen()  # a new leader must not plan as if all devices were free
        return await self._reconciler.reconcile(key)

    async def _freshen(self) -> None:
        """Waits until it is known, and counted, what is free on the nodes."""
        await self._polling.freshen()
        await self._supply.settle()

    def _elsewhere(self) -> Elsewhere:
        return Elsewhere(self._site_models.catalogue, self._hub.answers if self._hub else None)

    def _want(self, key: ModelKey, uri: str, revision: str | None) -> str:
        return self._hub.want(key, uri, revision) if self._hub else ""

    def _own_write_reported(self, kind: Kind, reported: Object) -> None:
        self._overlay.watch_reported(kind, reported)

    def _concerned_by_ports(self, config_map: Object) -> Iterable[ModelKey]:
        return self._ports.concerns(config_map)

    def _everyone(self) -> Iterable[ModelKey]:
        return self._reader.everyone()

    def _on_node(self, node: str) -> Iterable[ModelKey]:
        return self._reader.on_node(node)

    def _on_claim(self, claim: Object) -> Iterable[ModelKey]:
        return self._memories.named_by(place_of(claim))

    def _node(self, name: str) -> Object | None:
        return self._watching.store.get(NODE, name)

    def _node_changed(self, name: str) -> None:
        if self._supply.node_changed(name):
            self._polling.touch([name])

    def _profiles_changed(self) -> None:
        self._supply.profiles_changed()
        self._polling.read_all_soon()

    def _profiles(self) -> Iterable[AcceleratorProfile]:
        return self._reader.profiles()

    def _is_stored(self, kind: Kind, name: str, namespace: str) -> bool:
        return self._watching.store.has(kind, name, namespace)

    def _add_everyone(self) -> None:
        for key in self._everyone():
            self._queue.add(key)

    def _counts(self) -> bool:
        """Whether it is time to count what is free: on the leader, once it has seen all nodes."""
        return self._election.is_leader and not self._watching.store.unsynced()

    def _supply_changed(self, is_more_than_free: bool) -> None:
        """A device that becomes free, or no longer is, concerns only those that wait for one. What has a place stays
        there, so it waits for the resync."""
        if not is_more_than_free:
            concerned: Iterable[ModelKey] = self._memories.waiting_for_nodes()
        else:
            concerned = (key for key in self._everyone() if not self._memories.has_place(key))
        for key in concerned:
            self._queue.add(key)
