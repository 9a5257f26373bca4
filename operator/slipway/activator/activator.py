"""The activator's process: what runs in it beside each other, who starts whom, and how it ends.

- `Watching` fills the caches; `Knowledge` makes of them what the data path has to know of each deployment, and of what
  the pods say themselves: those that start, whether they are ready; the others, how much they are used.
- The doors hold and forward requests; what they want of each deployment is `own` demand.
- The other replicas' demand is added to it (`Everyone`), and KEDA is told the sum by the scaler.

KEDA is not answered before the caches are filled: it would stay away for up to a minute. Asked to end, it takes no new
connections, lets requests under way go on for a while, and then ends KEDA's streams in good order.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from datetime import UTC, datetime
from typing import Any

from slipway.activator import garbage_collection
from slipway.activator.keda import peers, scaler
from slipway.activator.keda.caller_check import CallerCheck
from slipway.activator.keda.fleet_demand import FleetDemand
from slipway.activator.keda.peers import DemandPublisher, PeerSubscriptions
from slipway.activator.metrics import DESCRIPTIONS, ActivatorMetrics
from slipway.activator.proxy import listeners
from slipway.activator.proxy.access.api_keys import ApiKeys
from slipway.activator.proxy.access.authorization import Authorizer
from slipway.activator.proxy.access.pod_lookup import PodLookup
from slipway.activator.proxy.admission import GlobalLimits
from slipway.activator.proxy.client_identity import ClientIdentifier
from slipway.activator.proxy.config import ProxyConfig
from slipway.activator.settings import Settings
from slipway.activator.shared.demand import Demand
from slipway.activator.shared.model_state import ModelStates
from slipway.activator.tracking.listener_ports import ListenerPorts
from slipway.activator.tracking.tracker import Tracker
from slipway.activator.tracking.watches import ActivatorService, WatchedKey, is_led_to, may_hold, replicas, watches
from slipway.kube import health
from slipway.kube.client import KubeClient
from slipway.kube.connection import Connection, for_kopf
from slipway.kube.kinds import CONFIG_MAP, Object
from slipway.kube.metrics import WatchMetrics
from slipway.kube.watching import Watching

logger = logging.getLogger(__name__)

STALE_AFTER = 60.0
LOOK_WHETHER_FILLED = 0.05
STREAMS_END_WITHIN = 2.0


def utc_now() -> datetime:
    return datetime.now(UTC)


class Activator:
    """`configuration`: of the API server. To be made in the event loop in which it runs."""

    def __init__(self, settings: Settings, configuration: Any, *, now: Callable[[], datetime] = utc_now) -> None:
        self._settings = settings
        self._connection = Connection(configuration)
        self._metrics = WatchMetrics()
        self._home = ActivatorService(settings.namespace, settings.service)
        client = KubeClient(self._connection, self._metrics)
        self._ports = ListenerPorts(
            settings.service, lambda name: self._watching.store.get(CONFIG_MAP, name, settings.namespace)
        )
        self._watching: Watching[WatchedKey] = Watching(
            watches(self._home, self._ports_moved, settings.watch_namespaces),
            client=client,
            login=lambda: for_kopf(configuration),
            add=self._changed,
            metrics=self._metrics,
        )
        clock = asyncio.get_running_loop().time
        self._deployments = ModelStates()
        store = self._watching.store
        self._knowledge = Tracker(store, self._deployments, port_of=self._ports.port_of, now=now, clock=clock)
        self._lookups = PodLookup(client, clock=clock, namespaces=self._where_callers_are())
        self._callers = CallerCheck(
            self._lookups,
            namespace=settings.namespace,
            keda_namespace=settings.keda_namespace,
            replicas=lambda: replicas(store, self._home),
            clock=clock,
        )
        self._own = Demand()
        self._everyone = FleetDemand(self._own)
        self._telling = DemandPublisher(self._own, settings.identity)
        self._following: PeerSubscriptions | None = None
        self._doorkeeper = Authorizer(self._lookups, ApiKeys(client, clock=clock))
        self._house = GlobalLimits(settings.max_requests, settings.max_bytes)
        self._metrics.add(
            ActivatorMetrics(
                self._house,
                self._own,
                connections=lambda: self._house.tally.connections,
                peers=lambda: self._everyone.peers,
            ),
            DESCRIPTIONS,
        )
        self._looks = False  # at what changes; before all is known, it would take for missing what is only late
        self._is_open = False

    def _where_callers_are(self) -> tuple[str, ...]:
        """KEDA's pods, our other replicas, and pods that ask for models; none: anywhere in the cluster."""
        settings = self._settings
        where = (*settings.watch_namespaces, settings.namespace, settings.keda_namespace)
        return tuple(dict.fromkeys(where)) if settings.watch_namespaces else ()

    async def run(self, asked_to_end: asyncio.Event) -> None:
        """Until it is asked to end, or something in it fails, which is raised after an orderly end."""
        async with health.serve(
            self._metrics, live=self._live(), ready=self._ready(), port=self._settings.management_port
        ) as port:
            logger.info("%s answers on port %d", self._settings.identity, port)
            tasks = [
                asyncio.create_task(self._watching.run(), name="watching"),
                asyncio.create_task(self._serve(), name="serving"),
                asyncio.create_task(
                    garbage_collection.collect_when_quiet(lambda: self._house.tally.connections), name="garbage"
                ),
            ]
            asked = asyncio.create_task(asked_to_end.wait(), name="end")
            await asyncio.wait([*tasks, asked], return_when=asyncio.FIRST_COMPLETED)
            logger.info("Ending")
            await self._end([asked, *reversed(tasks)])

    async def _serve(self) -> None:
        while self._watching.store.unsynced():  # noqa: ASYNC110 - looked at so seldom that no event is worth it
            await asyncio.sleep(LOOK_WHETHER_FILLED)
        self._looks = True
        self._knowledge.look_at_all()
        gc.collect()
        gc.freeze()  # else each search for garbage would go through the caches, and keep everybody waiting meanwhile
        async with AsyncExitStack() as wakers, self._doors():
            looking = asyncio.create_task(self._knowledge.keep_looking(), name="looking")
            wakers.push_async_callback(_ended, looking)  # what is still held at the end goes to whom it finds till then
            wakers.push_async_callback(self._knowledge.scraping.close)
            wakers.push_async_callback(self._knowledge.greeting.close)
            wakers.push_async_callback(self._doorkeeper.close)
            port = await wakers.enter_async_context(self._scaler())
            self._following = PeerSubscriptions(
                self._everyone,
                self._settings.identity,
                port=port,
                vouch=self._callers.is_replica,
                clock=asyncio.get_running_loop().time,
            )
            wakers.push_async_callback(self._following.close)
            wakers.callback(self._telling.end_streams)
            logger.info("KEDA is answered on port %d", port)
            self._is_open = True
            self._follow_peers()
            try:
                await asyncio.shield(looking)
            finally:
                self._is_open = False
            # Requests that are still held may need their wake, so KEDA is answered until they are gone.

    def _doors(self) -> AbstractAsyncContextManager[listeners.Listeners]:
        settings = self._settings
        return listeners.serve(
            self._deployments,
            self._own,
            house=self._house,
            options=ProxyConfig(runbooks=settings.runbooks, clients=ClientIdentifier(settings.trusted_proxies)),
            host=settings.address,
            grace=settings.drain,
            doorkeeper=self._doorkeeper,
        )

    def _scaler(self) -> AbstractAsyncContextManager[int]:
        return scaler.serve(
            self._everyone.all,
            self._settings.address,
            self._settings.scaler_port,
            grace=STREAMS_END_WITHIN,
            beside=self._telling.add_to,
            judges={scaler.SERVICE: self._callers.is_keda, peers.SERVICE: self._callers.is_replica},
        )

    async def _end(self, tasks: list[asyncio.Task[Any]]) -> None:
        """In this order: requests under way may need what the watches still tell."""
        failed = [task for task in tasks if task.done() and not task.cancelled() and task.exception()]
        for task in tasks:
            task.cancel()
            await asyncio.wait([task])
        await self._connection.close()
        for task in failed:
            task.result()

    # --- what happens ------------------------------------------------------------------------------------------------

    def _changed(self, key: WatchedKey) -> None:
        if isinstance(key, ActivatorService):
            self._follow_peers()
        elif self._looks:
            self._knowledge.changed(key)

    def _ports_moved(self, config_map: Object) -> Iterable[WatchedKey]:
        """Who has lost a port is looked at before who has got it, and before all others: nobody may have it twice."""
        for deployment in self._ports.concerns(config_map):
            if self._looks:
                self._knowledge.changed(deployment, urgently=True)
        return ()

    def _follow_peers(self) -> None:
        if self._following and self._is_open:
            store = self._watching.store
            ready = replicas(store, self._home, is_led_to)
            self._knowledge.scraping.activators = max(1, len(set(ready.values())))
            self._following.follow(replicas(store, self._home, may_hold))

    # --- how it is ---------------------------------------------------------------------------------------------------

    def _live(self) -> health.Checks:
        auditor = self._watching.auditor
        return {"watches": health.watches_are_fresh(auditor, limit=STALE_AFTER, clock=time.monotonic)}

    def _ready(self) -> health.Checks:
        return {
            "caches": health.caches_are_filled(self._watching.store),
            "doors": lambda: None if self._is_open else "KEDA isn't answered yet",
        }


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
