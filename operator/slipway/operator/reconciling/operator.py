"""The operator's process: its concurrent parts, how they start each other, and how it ends.

- `Watching` fills the caches and puts keys into the queue; on all replicas, so that a standby has warm caches.
- `PlatformWatch` does the same for KServe and KEDA, on which all LLMDeployments depend.
- `LeaderElection` opens the queue on one replica, and closes it as soon as its lease is in doubt.
- The queue calls the `Reconciler`, whose client checks the lease before each write.
- The management port responds from the start to the end.

On SIGTERM it stops watching, finishes the reconciles in flight, releases the Lease, and closes its connections.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from typing import Any

from slipway.api.model_key import ModelKey
from slipway.kube import health
from slipway.kube.backlog import Backoff
from slipway.kube.client import KubeClient
from slipway.kube.connection import Connection, for_kopf
from slipway.kube.events import EventRecorder
from slipway.kube.lease import LeaderElection
from slipway.kube.metrics import Metrics, Readings
from slipway.kube.overlay import Overlay
from slipway.kube.queue import WorkQueue
from slipway.kube.store import place_of
from slipway.kube.watching import Login, Watching
from slipway.objects.kinds import NODE, Kind, Object
from slipway.operator.installation import Installation
from slipway.operator.reconciling.applying import Applier
from slipway.operator.reconciling.memory import Memories
from slipway.operator.reconciling.options import Options
from slipway.operator.reconciling.own_runtimes import OwnRuntimes
from slipway.operator.reconciling.platform import KEDA, KSERVE, PlatformWatch
from slipway.operator.reconciling.portbook import PortBook
from slipway.operator.reconciling.reconciler import Reconciler
from slipway.operator.reconciling.references import References
from slipway.operator.reconciling.reporting import Reporter
from slipway.operator.reconciling.rights import Rights
from slipway.operator.reconciling.snapshots import SnapshotReader
from slipway.operator.reconciling.watches import watches

logger = logging.getLogger(__name__)

FINISH_WITHIN = 7.0  # seconds; releasing the Lease takes up to 2 more, so that all is over within 10
STALE_AFTER = 60.0
CHECK_CACHES_EVERY = 0.1
LONGEST_BACKOFF = 60.0

Now = Callable[[], datetime]


def utc_now() -> datetime:
    return datetime.now(UTC)


UNTIL_RUNTIMES_EXIST = 0.25  # seconds


class Operator:
    """`configuration`: of the API server. `now`: the time of day; no wait depends on it."""

    def __init__(self, options: Options, configuration: Any, *, now: Now = utc_now) -> None:
        self._options = options
        self._installation = Installation(
            options.namespace,
            options.activators,
            options.prometheus_namespaces,
            version=version("slipway"),
            runtimes=options.runtimes,
            watched=options.watch_namespaces,
        )
        self._connection = Connection(configuration)
        self._metrics = Metrics()
        self._term: object = None  # the term of leadership in which the memories were made
        client = KubeClient(self._connection, self._metrics)
        self._election = self._elected(client)
        self._queue: WorkQueue[ModelKey] = WorkQueue(
            self._reconcile,
            self._metrics,
            workers=options.workers,
            resync_every=options.resync,
            backoff=Backoff(longest=LONGEST_BACKOFF),
        )
        self._queue.pause()
        login = partial(for_kopf, configuration)
        self._watching = self._made_watching(client, login)
        writer = client.with_(guard=self._election.guard)
        self._ports = PortBook(
            writer,
            self._watching.store,
            namespace=options.namespace,
            activators=options.activators,
            per_namespace=options.ports_per_namespace,
            look_again=self._queue.add_after,
        )
        self._own_runtimes = OwnRuntimes(
            writer,
            self._watching.store,
            ours=options.runtimes,
            keep_unused=None if options.watch_namespaces else options.keep_old_runtimes,
            leads=lambda: self._election.is_leader,
        )
        self._overlay = Overlay(self._watching.store)
        self._memories = Memories(self._overlay)
        self._platform = [
            PlatformWatch(program, namespace, client=client, login=login, concern=self._add_everyone, now=now)
            for program, namespace in ((KSERVE, options.kserve_namespace), (KEDA, options.keda_namespace))
        ]
        kserve, keda = (each.part for each in self._platform)
        self._reader = SnapshotReader(
            self._watching.store,
            self._overlay,
            port_of=self._ports.port_of,
            now=now,
            installation=self._installation,
            kserve=kserve,
            keda=keda,
        )
        references = References(client, self._watching.store, self._memories)
        self._reconciler = self._made_reconciler(writer, references, now)
        self._metrics.watch_objects(self._by_state)

    async def run(self, asked_to_end: asyncio.Event) -> None:
        """Until `asked_to_end`, or until a part fails; its error is raised after an orderly end."""
        async with health.serve(
            self._metrics, live=self._live(), ready=self._ready(), port=self._options.management_port
        ) as port:
            logger.info("%s serves its management port %d", self._options.identity, port)
            watching = asyncio.create_task(self._watching.run(), name="watching")
            working = asyncio.create_task(self._work(), name="queue")
            leading = asyncio.create_task(self._election.run(), name="election")
            following = [asyncio.create_task(each.run(), name="platform") for each in self._platform]
            following.append(asyncio.create_task(self._own_runtimes.run(), name="runtimes"))
            stopping = asyncio.create_task(asked_to_end.wait(), name="end")
            await asyncio.wait([watching, working, leading, stopping, *following], return_when=asyncio.FIRST_COMPLETED)
            logger.info("Ending")
            await self._end(watching, working, leading, stopping, *following)

    async def _work(self) -> None:
        """Starts once the caches are filled: before, each first list would reconcile and postpone every key."""
        while self._watching.store.unsynced():  # noqa: ASYNC110 - only at the start, so that no event is worth it
            await asyncio.sleep(CHECK_CACHES_EVERY)
        await self._queue.run()

    async def _end(self, *tasks: asyncio.Task[Any]) -> None:
        watching, working, leading, stopping, *following = tasks
        failed = [task for task in tasks if task.done() and not task.cancelled() and task.exception()]
        for task in (watching, working, stopping, *following):
            task.cancel()
        await self._queue.finish(FINISH_WITHIN)
        leading.cancel()
        await asyncio.wait([leading])
        await self._election.release()
        await asyncio.wait(tasks)
        await self._connection.close()
        for task in failed:
            task.result()

    # --- its parts --------------------------------------------------------------------------------------------------

    def _elected(self, client: KubeClient) -> LeaderElection:
        options = self._options
        return LeaderElection(
            client,
            self._metrics,
            namespace=options.namespace,
            name=options.lease_name,
            identity=options.identity,
            on_change=self._lead,
        )

    def _made_watching(self, client: KubeClient, login: Login) -> Watching[ModelKey]:
        return Watching(
            watches(
                everyone=self._everyone,
                on_node=self._on_node,
                node=self._node,
                ports=self._concerned_by_ports,
                installation=self._installation,
                on_claim=self._on_claim,
            ),
            client=client,
            login=login,
            add=self._queue.add,
            metrics=self._metrics,
            on_kinds=lambda _: self._add_everyone(),
            on_told=self._own_write_told,
        )

    def _made_reconciler(self, client: KubeClient, references: References, now: Now) -> Reconciler:
        store = self._watching.store
        events = EventRecorder(client, instance=self._options.identity, now=now)
        return Reconciler(
            store=store,
            memories=self._memories,
            reader=self._reader,
            ports=self._ports,
            applier=Applier(client, store, self._overlay),
            reporter=Reporter(client, events, self._overlay),
            references=references,
            rights=Rights(client, slipway_namespace=self._options.namespace, clock=time.monotonic),
            installation=self._installation,
        )

    def _live(self) -> health.Checks:
        auditor = self._watching.auditor
        return {"watches": health.watches_are_fresh(auditor, limit=STALE_AFTER, clock=time.monotonic)}

    def _ready(self) -> health.Checks:
        return {"caches": health.caches_are_filled(self._watching.store)}

    # --- what happens -----------------------------------------------------------------------------------------------

    def _lead(self, leads: bool) -> None:
        """After another leader, nothing counts as written any more.

        Where the API server was only too slow to renew the lease, applying everything again would make it slower, so
        the memories stay.
        """
        if leads:
            if self._election.term != self._term:
                self._memories.clear()
                self._ports.start_over()
                self._term = self._election.term
            self._add_everyone()
            self._queue.resume()
        else:
            self._queue.pause()

    async def _reconcile(self, key: ModelKey) -> float | None:
        if self._own_runtimes.are_coming:
            return UNTIL_RUNTIMES_EXIST
        return await self._reconciler.reconcile(key)

    def _own_write_told(self, kind: Kind, reported: Object) -> None:
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

    def _add_everyone(self) -> None:
        for key in self._everyone():
            self._queue.add(key)

    def _by_state(self) -> Readings:
        """Only the leader's, so that sums over the replicas are correct."""
        if not self._election.is_leader:
            return {}
        return dict(self._memories.by_state())
