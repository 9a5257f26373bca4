"""The activator's process: its parts, what they need of each other, and the order in which they end.

- `Watching` fills the caches. The tracker computes the state of each model from them, and from the pods' own responses:
  whether those that start are ready, and how busy the others are.
- The listeners hold and forward requests; the demand that they see for each model is the `own` demand.
- The demand of the other replicas is added to it (`FleetDemand`), and the scaler reports the sum to KEDA.

KEDA is not answered before the caches are filled: it would stay away for up to a minute. When the activator is to
stop, it accepts no new connections, gives requests in flight some time, and then ends KEDA's streams cleanly.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from datetime import UTC, datetime
from typing import Any

from slipway.activator import garbage_collection
from slipway.activator.flags import ActivatorSettings
from slipway.activator.keda import peers, scaler
from slipway.activator.keda.caller_check import CallerCheck
from slipway.activator.keda.calls import KedaCalls
from slipway.activator.keda.fleet_demand import FleetDemand
from slipway.activator.keda.peers import DemandPublisher, PeerSubscriptions
from slipway.activator.metrics import Sources, add_metrics, followed_now
from slipway.activator.proxy import listeners
from slipway.activator.proxy.access.api_keys import ApiKeys
from slipway.activator.proxy.access.authorization import Authorizer
from slipway.activator.proxy.access.pod_lookup import PodLookup
from slipway.activator.proxy.admission import GlobalLimits
from slipway.activator.proxy.client_identity import ClientIdentifier
from slipway.activator.proxy.config import ProxyConfig
from slipway.activator.proxy.listeners import Listeners
from slipway.activator.shared.demand import Demand
from slipway.activator.shared.model_state import ModelStates
from slipway.activator.tracking.listener_ports import ListenerPorts
from slipway.activator.tracking.tracker import Tracker
from slipway.activator.tracking.watches import (
    ActivatorService,
    WatchedKey,
    activator_pods,
    gets_new_connections,
    may_hold,
    watches,
)
from slipway.api.names import METRICS_PREFIX
from slipway.kube import health
from slipway.kube.client import KubeClient
from slipway.kube.connection import Connection
from slipway.kube.metrics import WatchMetrics
from slipway.kube.watching import Watching
from slipway.objects.kinds import CONFIG_MAP, Object
from slipway.observing import scaling_step
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
        clock = asyncio.get_running_loop().time
        self._service = ActivatorService(settings.namespace, settings.service)
        client = KubeClient(self._connection, watch_metrics)
        self._ports = ListenerPorts(
            settings.service, lambda name: self._watching.store.get(CONFIG_MAP, name, settings.namespace)
        )
        self._watching = self._made_watching(client, watch_metrics)
        self._states = ModelStates()
        self._tracker = Tracker(self._watching.store, self._states, port_of=self._ports.port_of, now=now, clock=clock)
        self._pod_lookup = PodLookup(client, clock=clock, namespaces=self._namespaces_of_callers())
        self._caller_check = self._made_caller_check(clock)
        self._own = Demand()
        self._fleet_demand = FleetDemand(self._own)
        self._publisher = DemandPublisher(self._own, settings.identity)
        self._subscriptions: PeerSubscriptions | None = None
        self._authorizer = Authorizer(self._pod_lookup, ApiKeys(client, clock=clock))
        self._limits = GlobalLimits(settings.max_requests, settings.max_bytes)
        self._calls = KedaCalls(clock=clock)
        self._open_listeners: Listeners | None = None
        add_metrics(self._metrics, self._sources())
        self._caches_are_filled = False  # before, changes are ignored: what isn't there yet would count as missing
        self._is_open = False

    def _made_watching(self, client: KubeClient, metrics: WatchMetrics) -> Watching[WatchedKey]:
        return Watching(
            watches(self._service, self._ports_moved, self._settings.watch_namespaces),
            client=client,
            add=self._changed,
            metrics=metrics,
            index_by=FOUND_BY,
        )

    def _made_caller_check(self, clock: Callable[[], float]) -> CallerCheck:
        return CallerCheck(
            self._pod_lookup,
            namespace=self._settings.namespace,
            keda_namespace=self._settings.keda_namespace,
            replicas=lambda: activator_pods(self._watching.store, self._service),
            clock=clock,
        )

    def _sources(self) -> Sources:
        """Of the metrics."""
        return Sources(
            limits=self._limits,
            own=self._own,
            calls=self._calls,
            peers=lambda: self._fleet_demand.peers,
            oldest_wait=lambda key: self._open_listeners.oldest_wait(key) if self._open_listeners else 0.0,
            used_connections=lambda: self._open_listeners.used_connections if self._open_listeners else 0.0,
        )

    def _namespaces_of_callers(self) -> tuple[str, ...]:
        """Of KEDA's pods, our other replicas, and pods that call models; empty: the entire cluster."""
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
                "listeners": lambda: None if self._is_open else "KEDA isn't answered yet",
            },
            port=self._settings.management_port,
            pages={scaling_step.PAGE: lambda: scaling_step.page_of(followed_now(self._own))},
        )
        async with self._connection:
            await lifecycle.serve(
                self._stages(), name=self._settings.identity, management=management, asked_to_end=asked_to_end
            )

    def _stages(self) -> Stages:
        """Requests in flight may need what the watches still report."""
        return [
            [Part("watching", self._watching.run)],
            [Part("serving", self._serve)],
            [Part("garbage", lambda: garbage_collection.collect_when_quiet(lambda: self._limits.counters.connections))],
        ]

    async def _serve(self) -> None:
        await self._watching.until_filled()
        self._caches_are_filled = True
        self._tracker.refresh_all()
        gc.collect()
        gc.freeze()  # otherwise each collection would walk through the caches, and all requests would wait
        async with AsyncExitStack() as stack, self._listeners() as self._open_listeners:
            refreshing = asyncio.create_task(self._tracker.keep_refreshing(), name="refreshing")
            stack.push_async_callback(_ended, refreshing)  # requests that are still held go to replicas that get ready
            stack.push_async_callback(self._tracker.metrics_poller.close)
            stack.push_async_callback(self._tracker.readiness_poller.close)
            stack.push_async_callback(self._authorizer.close)
            port = await stack.enter_async_context(self._scaler())
            self._subscriptions = PeerSubscriptions(
                self._fleet_demand,
                self._settings.identity,
                port=port,
                is_replica=self._caller_check.is_replica,
                clock=asyncio.get_running_loop().time,
            )
            stack.push_async_callback(self._subscriptions.close)
            stack.callback(self._publisher.end_streams)
            logger.info("KEDA is answered on port %d", port)
            self._is_open = True
            self._follow_peers()
            try:
                await asyncio.shield(refreshing)
            finally:
                self._is_open = False
            # Requests that are still held may need their wake, so KEDA is answered until they are gone.

    def _listeners(self) -> AbstractAsyncContextManager[Listeners]:
        settings = self._settings
        return listeners.serve(
            self._states,
            self._own,
            limits=self._limits,
            config=ProxyConfig(runbooks=settings.runbooks, clients=ClientIdentifier(settings.trusted_proxies)),
            host=settings.address,
            grace=settings.drain,
            authorizer=self._authorizer,
        )

    def _scaler(self) -> AbstractAsyncContextManager[int]:
        return scaler.serve(
            self._fleet_demand.all,
            self._settings.address,
            self._settings.scaler_port,
            grace=STREAMS_END_WITHIN,
            add_services=self._publisher.add_to,
            calls=self._calls,
            checks={scaler.SERVICE: self._caller_check.is_keda, peers.SERVICE: self._caller_check.is_replica},
        )

    # --- what happens ------------------------------------------------------------------------------------------------

    def _changed(self, key: WatchedKey) -> None:
        if isinstance(key, ActivatorService):
            self._follow_peers()
        elif self._caches_are_filled:
            self._tracker.changed(key)

    def _ports_moved(self, config_map: Object) -> Iterable[WatchedKey]:
        """A model that has lost a port is refreshed before the one that has got it, and before all others: no port may
        belong to two."""
        for model in self._ports.concerns(config_map):
            if self._caches_are_filled:
                self._tracker.changed(model, urgently=True)
        return ()

    def _follow_peers(self) -> None:
        if self._subscriptions and self._is_open:
            store = self._watching.store
            ready = activator_pods(store, self._service, gets_new_connections)
            self._tracker.metrics_poller.activators = max(1, len(set(ready.values())))
            self._subscriptions.follow(activator_pods(store, self._service, may_hold))


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
