"""Publishes the demand here to the other replicas of the activator, and subscribes to theirs.

Each replica opens a stream to each other one, at the addresses of the activator's own Service. So no one can send us
counts that we didn't request. What answers at an address must be the pod that is expected there, and must say so;
counts that can't be true are ignored.
"""
# ruff: noqa: N802 - the methods have the definition's names

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import grpc

from slipway.activator.keda._generated import peers_pb2 as pb
from slipway.activator.keda._generated import peers_pb2_grpc as rpc
from slipway.activator.keda.fleet_demand import FleetDemand, PeerCount
from slipway.activator.shared.demand import Demand
from slipway.api.model_key import ModelKey

logger = logging.getLogger(__name__)

SERVICE: str = pb.DESCRIPTOR.services_by_name["Peers"].full_name
KEEPALIVE = 1.0  # seconds after which a message is sent without a change
SILENT_AFTER = 5.0  # seconds without a message after which a stream is opened again
TRY_AGAIN_AFTER = 0.5
SUBSCRIBERS = 64  # at a time; of more, the oldest has to open its stream again
MOST_WAITING = 1_000_000  # requests: no replica can be configured to hold more
LONGEST_NAME = 253
HOST_NAME = 63  # characters of a pod's name that its host name has

IsReplica = Callable[[str], Awaitable[bool | None]]
"""Whether the address belongs to a replica now; None: that can't be looked up."""


class DemandPublisher(rpc.PeersServicer):
    """Serves the demand here to subscribers. To be made in the event loop that serves it."""

    def __init__(self, own: Demand, identity: str) -> None:
        self._own, self._identity = own, identity
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._subscribers: deque[asyncio.Event] = deque()

    def add_to(self, server: grpc.aio.Server) -> None:
        rpc.add_PeersServicer_to_server(self, server)

    def end_streams(self) -> None:
        if not self._ended.done():
            self._ended.set_result(None)

    async def Follow(
        self, request: pb.Follower, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[pb.Counts]:
        changed, has_changed = set(self._own), asyncio.Event()

        def on_change(key: ModelKey, _: object) -> None:
            changed.add(key)
            has_changed.set()

        stop_listening = self._own.listen(on_change)
        must_end = self._place_for(has_changed)
        try:
            while not self._ended.done() and not must_end():
                counts = [self._count(key) for key in changed]
                changed.clear()
                has_changed.clear()
                yield pb.Counts(identity=self._identity, counts=counts)
                with suppress(TimeoutError):
                    async with asyncio.timeout(KEEPALIVE):
                        await self._change_or_end(has_changed)
        finally:
            stop_listening()
            if has_changed in self._subscribers:
                self._subscribers.remove(has_changed)

    def _place_for(self, has_changed: asyncio.Event) -> Callable[[], bool]:
        """Returns whether it has to make room for others."""
        self._subscribers.append(has_changed)
        if len(self._subscribers) > SUBSCRIBERS:
            self._subscribers.popleft().set()
        return lambda: has_changed not in self._subscribers

    async def _change_or_end(self, has_changed: asyncio.Event) -> None:
        waiting = asyncio.ensure_future(has_changed.wait())
        either: list[asyncio.Future[Any]] = [waiting, self._ended]
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()

    def _count(self, key: ModelKey) -> pb.Count:
        demand = self._own.of(key) if key in self._own else None
        return pb.Count(
            namespace=key.namespace,
            name=key.name,
            active=bool(demand and demand.active),
            waiting=demand.waiting if demand else 0,
        )


class PeerSubscriptions:
    """Streams from the other replicas, while they have an address."""

    def __init__(
        self, fleet: FleetDemand, identity: str, *, port: int, is_replica: IsReplica, clock: Callable[[], float]
    ) -> None:
        self._fleet, self._identity, self._port = fleet, identity, port
        self._is_replica, self._clock = is_replica, clock
        self._streams: dict[tuple[str, str], asyncio.Task[None]] = {}

    def follow(self, replicas: Mapping[str, str]) -> None:
        """These and no others: pods by their addresses. One may be this pod, which its answer shows."""
        addresses = {pod: address for address, pod in sorted(replicas.items(), reverse=True)}  # of several, one
        wanted = {(address, pod) for pod, address in addresses.items()}
        for address, pod in self._streams.keys() - wanted:
            self._streams.pop((address, pod)).cancel()
            self._fleet.lose(pod)
        for address, pod in wanted - self._streams.keys():
            subscription = self._keep_subscribed(address, pod)
            self._streams[address, pod] = asyncio.create_task(subscription, name=f"peer {pod}")

    async def close(self) -> None:
        tasks = list(self._streams.values())
        self.follow({})
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _keep_subscribed(self, address: str, pod: str) -> None:
        while True:
            with suppress(grpc.aio.AioRpcError, TimeoutError):
                if await self._is_replica(address) is not False and await self._is_ourselves(address, pod):
                    return
            self._fleet.expire(self._clock())
            await asyncio.sleep(TRY_AGAIN_AFTER)

    async def _is_ourselves(self, address: str, pod: str) -> bool:
        """Records what a replica sends, until its stream ends."""
        is_first = True
        where = f"[{address}]:{self._port}" if ":" in address else f"{address}:{self._port}"
        async with grpc.aio.insecure_channel(where) as channel:
            stream = rpc.PeersStub(channel).Follow(pb.Follower(identity=self._identity))
            while True:
                async with asyncio.timeout(SILENT_AFTER):
                    message = await stream.read()
                if message is grpc.aio.EOF or not isinstance(message, pb.Counts):
                    return False
                if message.identity == self._identity:
                    return True
                if not _is_of(message.identity, pod):
                    logger.warning(
                        "At %s, %r answers instead of %s: its counts are ignored", address, message.identity, pod
                    )
                    return False
                self._fleet.record(pod, _plausible(message.counts), self._clock(), complete=is_first)
                is_first = False


def _is_of(identity: str, pod: str) -> bool:
    """An identity starts with the host name, which is the pod's name, cut off."""
    host = identity.rpartition("_")[0]
    return bool(host) and host == pod[:HOST_NAME].rstrip("-.")


def _plausible(counts: Iterable[pb.Count]) -> Iterator[PeerCount]:
    for count in counts:
        is_named = 0 < len(count.namespace) <= LONGEST_NAME and 0 < len(count.name) <= LONGEST_NAME
        if is_named and 0 <= count.waiting <= MOST_WAITING:
            yield PeerCount(ModelKey(count.namespace, count.name), count.active, count.waiting)
