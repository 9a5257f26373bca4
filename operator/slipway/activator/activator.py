"""The activator's process: its parts, what they need of each other, and the order in which they end.

- `Watching` fills the caches. `Knowledge` computes from them what the data path needs to know of each deployment, and
  from the pods' own responses: whether those that start are ready, and how busy the others are.
- The doors hold and forward requests; the demand that they see for each deployment is the `own` demand.
- The demand of the other replicas is added to it (`Everyone`), and the scaler reports the sum to KEDA.

KEDA is not answered before the caches are filled: it would stay away for up to a minute. When the activator is asked to
end, it accepts no new connections, gives requests under way some time, and then ends KEDA's streams in order.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from datetime import UTC, datetime
from typing import Any

from slipway.activator import doors, garbage, peers, scaler
from slipway.activator.callers import Callers
from slipway.activator.clients import Clients
from slipway.activator.demand import Demand
from slipway.activator.deployments import Deployments
from slipway.activator.doorkeeper import Doorkeeper
from slipway.activator.everyone import Everyone
from slipway.activator.flags import ActivatorSettings
from slipway.activator.holding import House
from slipway.activator.keys import Keys
from slipway.activator.knowledge import Knowledge
from slipway.activator.lookups import Lookups
from slipway.activator.meters import DESCRIPTIONS, Meters
from slipway.activator.options import Options
from slipway.activator.ownports import OwnPorts
from slipway.activator.peers import Following, Telling
from slipway.activator.watches import Home, Key, is_led_to, may_hold, replicas, watches
from slipway.api.names import METRICS_PREFIX
from slipway.kube import health
from slipway.kube.client import KubeClient
from slipway.kube.connection import Connection
from slipway.kube.metrics import WatchMetrics
from slipway.kube.watching import Watching
from slipway.objects.kinds import CONFIG_MAP, Object
from slipway.observing.keeping import FOUND_BY
from slipway.process import lifecycle
from slipway.process.lifecycle import Part, Stages
from slipway.process.management import ManagementPort
from slipway.process.metrics import MetricsRegistry

logger = logging.getLogger(__name__)

STREAMS_END_WITHIN = 2.0


def utc_now() -> datetime:
    return datetime.now(UTC)


class Activator:
    """`configuration`: the official client's, of the API server. Construct it in the event loop in which it runs."""

    def __init__(
        self, settings: ActivatorSettings, configuration: Any, *, now: Callable[[], datetime] = utc_now
    ) -> None:
        self._settings = settings
        self._connection = Connection(configuration)
        self._metrics = MetricsRegistry(METRICS_PREFIX)
        watch_metrics = WatchMetrics(self._metrics)
        self._home = Home(settings.namespace, settings.service)
        client = KubeClient(self._connection, watch_metrics)
        self._ports = OwnPorts(
            settings.service, lambda name: self._watching.store.get(CONFIG_MAP, name, settings.namespace)
        )
        self._watching: Watching[Key] = Watching(
            watches(self._home, self._ports_moved, settings.watch_namespaces),
            client=client,
            add=self._changed,
            metrics=watch_metrics,
            index_by=FOUND_BY,
        )
        clock = asyncio.get_running_loop().time
        self._deployments = Deployments()
        store = self._watching.store
        self._knowledge = Knowledge(store, self._deployments, port_of=self._ports.port_of, now=now, clock=clock)
        self._lookups = Lookups(client, clock=clock, namespaces=self._where_callers_are())
        self._callers = Callers(
            self._lookups,
            namespace=settings.namespace,
            keda_namespace=settings.keda_namespace,
            replicas=lambda: replicas(store, self._home),
            clock=clock,
        )
        self._own = Demand()
        self._everyone = Everyone(self._own)
        self._telling = Telling(self._own, settings.identity)
        self._following: Following | None = None
        self._doorkeeper = Doorkeeper(self._lookups, Keys(client, clock=clock))
        self._house = House(settings.max_requests, settings.max_bytes)
        self._metrics.add(
            Meters(
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
        """Until it is asked to end, or a part fails; that failure is raised after an orderly end."""
        management = ManagementPort(
            metrics=self._metrics,
            live={"watches": health.watches_are_fresh(self._watching.auditor)},
            ready={
                "caches": health.caches_are_filled(self._watching.store),
                "doors": lambda: None if self._is_open else "KEDA isn't answered yet",
            },
            port=self._settings.management_port,
        )
        async with self._connection:
            await lifecycle.serve(
                self._stages(), name=self._settings.identity, management=management, asked_to_end=asked_to_end
            )

    def _stages(self) -> Stages:
        """Requests under way may need what the watches still report."""
        return [
            [Part("watching", self._watching.run)],
            [Part("serving", self._serve)],
            [Part("garbage", lambda: garbage.keep_looking(lambda: self._house.tally.connections))],
        ]

    async def _serve(self) -> None:
        await self._watching.until_filled()
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
            self._following = Following(
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

    def _doors(self) -> AbstractAsyncContextManager[doors.Doors]:
        settings = self._settings
        return doors.serve(
            self._deployments,
            self._own,
            house=self._house,
            options=Options(runbooks=settings.runbooks, clients=Clients(settings.trusted_proxies)),
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

    # --- what happens ------------------------------------------------------------------------------------------------

    def _changed(self, key: Key) -> None:
        if isinstance(key, Home):
            self._follow_peers()
        elif self._looks:
            self._knowledge.changed(key)

    def _ports_moved(self, config_map: Object) -> Iterable[Key]:
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


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
