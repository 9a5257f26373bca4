"""Tells the other replicas of the activator what is wanted here, and hears from them what is wanted there.

Each opens a stream to each other one, by the addresses of the activator's own Service. Nobody can tell us anything
unasked: whom we don't ask isn't heard.
"""
# ruff: noqa: N802 - the methods have the definition's names

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import suppress
from typing import Any

import grpc

from slipway.activator._generated import peers_pb2 as pb
from slipway.activator._generated import peers_pb2_grpc as rpc
from slipway.activator.demand import Demand, Deployment
from slipway.activator.everyone import Count, Everyone

log = logging.getLogger(__name__)

SIGN_OF_LIFE = 1.0  # seconds
SILENT_AFTER = 5.0  # seconds without a message after which a stream is opened anew
TRY_AGAIN_AFTER = 0.5


class Telling(rpc.PeersServicer):
    """What is wanted here, for whoever follows. To be made in the event loop that serves it."""

    def __init__(self, own: Demand, identity: str) -> None:
        self._own, self._identity = own, identity
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def add_to(self, server: grpc.aio.Server) -> None:
        rpc.add_PeersServicer_to_server(self, server)

    def end_streams(self) -> None:
        if not self._ended.done():
            self._ended.set_result(None)

    async def Follow(
        self, request: pb.Follower, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[pb.Counts]:
        changed, news = set(self._own), asyncio.Event()

        def hear(deployment: Deployment, _: object) -> None:
            changed.add(deployment)
            news.set()

        stop_listening = self._own.listen(hear)
        try:
            while not self._ended.done():
                counts = [self._count(deployment) for deployment in changed]
                changed.clear()
                news.clear()
                yield pb.Counts(identity=self._identity, counts=counts)
                with suppress(TimeoutError):
                    async with asyncio.timeout(SIGN_OF_LIFE):
                        await self._news_or_end(news)
        finally:
            stop_listening()

    async def _news_or_end(self, news: asyncio.Event) -> None:
        waiting = asyncio.ensure_future(news.wait())
        either: list[asyncio.Future[Any]] = [waiting, self._ended]
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()

    def _count(self, deployment: Deployment) -> pb.Count:
        wanted = self._own.of(deployment) if deployment in self._own else None
        return pb.Count(
            namespace=deployment.namespace,
            name=deployment.name,
            active=bool(wanted and wanted.active),
            waiting=wanted.waiting if wanted else 0,
        )


class Following:
    """Streams from the other replicas, as long as they have an address."""

    def __init__(self, everyone: Everyone, identity: str, *, clock: Callable[[], float]) -> None:
        self._everyone, self._identity, self._clock = everyone, identity, clock
        self._streams: dict[str, asyncio.Task[None]] = {}

    def follow(self, addresses: Collection[str]) -> None:
        """These (`host:port`) and no others. One may be our own, which is found out by asking."""
        for address in self._streams.keys() - set(addresses):
            self._streams.pop(address).cancel()
            self._everyone.lose(address)
        for address in set(addresses) - self._streams.keys():
            self._streams[address] = asyncio.create_task(self._keep_following(address), name=f"peer {address}")

    async def close(self) -> None:
        tasks = list(self._streams.values())
        self.follow(())
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _keep_following(self, address: str) -> None:
        while True:
            with suppress(grpc.aio.AioRpcError, TimeoutError):
                if await self._is_ourselves(address):
                    return
            self._everyone.expire(self._clock())
            await asyncio.sleep(TRY_AGAIN_AFTER)

    async def _is_ourselves(self, address: str) -> bool:
        """Hears a replica for as long as it speaks."""
        anew = True
        async with grpc.aio.insecure_channel(address) as channel:
            stream = rpc.PeersStub(channel).Follow(pb.Follower(identity=self._identity))
            while True:
                async with asyncio.timeout(SILENT_AFTER):
                    message = await stream.read()
                if message is grpc.aio.EOF or not isinstance(message, pb.Counts):
                    return False
                if message.identity == self._identity:
                    return True
                self._everyone.hear(address, map(_read, message.counts), self._clock(), anew=anew)
                anew = False


def _read(count: pb.Count) -> Count:
    return Count(Deployment(count.namespace, count.name), count.active, count.waiting)
