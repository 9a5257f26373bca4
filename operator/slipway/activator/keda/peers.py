"""Tells the other replicas of the activator what is wanted here, and hears from them what is wanted there.

Each opens a stream to each other one, by the addresses of the activator's own Service. Nobody can tell us anything
unasked: whom we don't ask isn't heard. Whoever answers there must be the pod that is meant, and must say so; counts
that can't be are not counted.
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
from slipway.activator.shared.model_key import ModelKey

log = logging.getLogger(__name__)

SERVICE: str = pb.DESCRIPTOR.services_by_name["Peers"].full_name
SIGN_OF_LIFE = 1.0  # seconds
SILENT_AFTER = 5.0  # seconds without a message after which a stream is opened anew
TRY_AGAIN_AFTER = 0.5
FOLLOWERS = 64  # at a time; of more, the oldest has to ask anew
MOST_WAITING = 1_000_000  # requests: no replica can be told to hold more
LONGEST_NAME = 253
HOST_NAME = 63  # characters of a pod's name that its host name has

Vouch = Callable[[str], Awaitable[bool | None]]
"""Whether the address is a replica's now; None: that can't be told."""


class DemandPublisher(rpc.PeersServicer):
    """What is wanted here, for whoever follows. To be made in the event loop that serves it."""

    def __init__(self, own: Demand, identity: str) -> None:
        self._own, self._identity = own, identity
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._followers: deque[asyncio.Event] = deque()

    def add_to(self, server: grpc.aio.Server) -> None:
        rpc.add_PeersServicer_to_server(self, server)

    def end_streams(self) -> None:
        if not self._ended.done():
            self._ended.set_result(None)

    async def Follow(
        self, request: pb.Follower, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[pb.Counts]:
        changed, news = set(self._own), asyncio.Event()

        def hear(deployment: ModelKey, _: object) -> None:
            changed.add(deployment)
            news.set()

        stop_listening = self._own.listen(hear)
        is_last = self._place_for(news)
        try:
            while not self._ended.done() and not is_last():
                counts = [self._count(deployment) for deployment in changed]
                changed.clear()
                news.clear()
                yield pb.Counts(identity=self._identity, counts=counts)
                with suppress(TimeoutError):
                    async with asyncio.timeout(SIGN_OF_LIFE):
                        await self._news_or_end(news)
        finally:
            stop_listening()
            if news in self._followers:
                self._followers.remove(news)

    def _place_for(self, news: asyncio.Event) -> Callable[[], bool]:
        """Returns what tells when it has to make room for others."""
        self._followers.append(news)
        if len(self._followers) > FOLLOWERS:
            self._followers.popleft().set()
        return lambda: news not in self._followers

    async def _news_or_end(self, news: asyncio.Event) -> None:
        waiting = asyncio.ensure_future(news.wait())
        either: list[asyncio.Future[Any]] = [waiting, self._ended]
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()

    def _count(self, deployment: ModelKey) -> pb.Count:
        wanted = self._own.of(deployment) if deployment in self._own else None
        return pb.Count(
            namespace=deployment.namespace,
            name=deployment.name,
            active=bool(wanted and wanted.active),
            waiting=wanted.waiting if wanted else 0,
        )


class PeerSubscriptions:
    """Streams from the other replicas, as long as they have an address."""

    def __init__(
        self, everyone: FleetDemand, identity: str, *, port: int, vouch: Vouch, clock: Callable[[], float]
    ) -> None:
        self._everyone, self._identity, self._port = everyone, identity, port
        self._vouch, self._clock = vouch, clock
        self._streams: dict[tuple[str, str], asyncio.Task[None]] = {}

    def follow(self, replicas: Mapping[str, str]) -> None:
        """These and no others: pods by their addresses. One may be our own, which is found out by asking."""
        addresses = {pod: address for address, pod in sorted(replicas.items(), reverse=True)}  # of several, one
        wanted = {(address, pod) for pod, address in addresses.items()}
        for address, pod in self._streams.keys() - wanted:
            self._streams.pop((address, pod)).cancel()
            self._everyone.lose(pod)
        for address, pod in wanted - self._streams.keys():
            following = self._keep_following(address, pod)
            self._streams[address, pod] = asyncio.create_task(following, name=f"peer {pod}")

    async def close(self) -> None:
        tasks = list(self._streams.values())
        self.follow({})
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _keep_following(self, address: str, pod: str) -> None:
        while True:
            with suppress(grpc.aio.AioRpcError, TimeoutError):
                if await self._vouch(address) is not False and await self._is_ourselves(address, pod):
                    return
            self._everyone.expire(self._clock())
            await asyncio.sleep(TRY_AGAIN_AFTER)

    async def _is_ourselves(self, address: str, pod: str) -> bool:
        """Hears a replica for as long as it speaks."""
        anew = True
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
                    log.warning("At %s, %r answers instead of %s, and isn't heard", address, message.identity, pod)
                    return False
                self._everyone.hear(pod, _possible(message.counts), self._clock(), anew=anew)
                anew = False


def _is_of(identity: str, pod: str) -> bool:
    """Replicas call themselves after their host, whose name is the pod's, cut off."""
    host = identity.rpartition("_")[0]
    return bool(host) and host == pod[:HOST_NAME].rstrip("-.")


def _possible(counts: Iterable[pb.Count]) -> Iterator[PeerCount]:
    for count in counts:
        is_named = 0 < len(count.namespace) <= LONGEST_NAME and 0 < len(count.name) <= LONGEST_NAME
        if is_named and 0 <= count.waiting <= MOST_WAITING:
            yield PeerCount(ModelKey(count.namespace, count.name), count.active, count.waiting)
