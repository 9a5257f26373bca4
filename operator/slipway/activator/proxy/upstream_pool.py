"""Connections to the replicas of one model, kept open between requests: for a while, and so many in all."""

from __future__ import annotations

import asyncio
import socket
from collections import OrderedDict, defaultdict
from collections.abc import Iterable

from slipway.activator.http1.channel import LONGEST_STALL, Channel, ReplicaChannel
from slipway.activator.http1.parsing import ResponseParser
from slipway.activator.proxy.open_files import MOST_IDLE
from slipway.activator.shared.replica import ReplicaAddress

KEPT_FOR = 4.0  # seconds: less than uvicorn's five, so that one is seldom used while uvicorn closes it
MOST_KEPT = 256  # for each replica
MOST_AT_ONCE = 8 * 1024  # bytes of a response that are taken from the kernel before they are passed on
KERNEL_BUFFER = 256 * 1024  # bytes that were sent and not received yet, on each connection

OfOneReplica = OrderedDict[ReplicaChannel, None]  # in the order in which they were returned


class IdleConnections:
    """The idle connections to the replicas of all models, in the order in which they were returned. The first is
    closed when its time is over, or when there are too many."""

    def __init__(self, most: int = MOST_IDLE) -> None:
        self._most = most
        self._all: OrderedDict[ReplicaChannel, tuple[float, OfOneReplica]] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None  # one for all; it fires once more when none is left

    def __len__(self) -> int:
        return len(self._all)

    def keep(self, channel: ReplicaChannel, of: OfOneReplica) -> None:
        loop = asyncio.get_running_loop()
        if len(of) >= MOST_KEPT:
            self.close(next(iter(of)))
        elif len(self._all) >= self._most:
            self.close(next(iter(self._all)))
        of[channel] = None
        self._all[channel] = loop.time(), of
        if self._timer is None:
            self._timer = loop.call_later(KEPT_FOR, self._on_timer, loop)

    def take(self, of: OfOneReplica) -> ReplicaChannel | None:
        """The last one, which is the likeliest to be still open."""
        while of:
            channel, _ = of.popitem()
            since, _ = self._all.pop(channel)
            if asyncio.get_running_loop().time() - since < KEPT_FOR and not (channel.is_gone or channel.has_unread):
                return channel
            channel.abort()
        return None

    def close(self, channel: ReplicaChannel) -> None:
        _, of = self._all.pop(channel)
        del of[channel]
        channel.abort()

    def close_all(self, of: OfOneReplica) -> None:
        for channel in list(of):
            self.close(channel)
        if not self._all and self._timer:
            self._timer.cancel()
            self._timer = None

    def _on_timer(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        while self._all:
            channel = next(iter(self._all))
            left = self._all[channel][0] + KEPT_FOR - loop.time()
            if left > 0:
                self._timer = loop.call_later(left, self._on_timer, loop)
                return
            self.close(channel)


class UpstreamPool:
    """`idle`: the idle connections of all models; without it, this one is the only one."""

    def __init__(self, idle: IdleConnections | None = None, *, connect_timeout: float = 2.0) -> None:
        self._connect_timeout = connect_timeout
        self._ours: frozenset[ReplicaAddress] = frozenset()
        self._all_idle = IdleConnections() if idle is None else idle
        self._idle: defaultdict[ReplicaAddress, OfOneReplica] = defaultdict(OrderedDict)

    async def get(self, address: ReplicaAddress, *, fresh: bool = False) -> tuple[ReplicaChannel, bool]:
        """A connection, and whether it has been used before (never, if it is to be `fresh`); OSError if none can be
        opened."""
        idle = self._idle.get(address)
        if idle and not fresh and (kept := self._all_idle.take(idle)):
            return kept, True
        async with asyncio.timeout(self._connect_timeout):
            transport, channel = await asyncio.get_running_loop().create_connection(_channel, *address)
        _set_up(transport.get_extra_info("socket"))
        return channel, False

    def give_back(self, address: ReplicaAddress, channel: ReplicaChannel) -> None:
        if address in self._ours:
            self._all_idle.keep(channel, self._idle[address])
        else:
            channel.abort()

    def keep_only(self, addresses: Iterable[ReplicaAddress]) -> None:
        """Connections to any other replica are not kept any longer."""
        self._ours = frozenset(addresses)
        for address in self._idle.keys() - self._ours:
            self._all_idle.close_all(self._idle.pop(address))

    def close(self) -> None:
        self.keep_only(())


def _channel() -> ReplicaChannel:
    return Channel(ResponseParser(), most_at_once=MOST_AT_ONCE)


def _set_up(sock: socket.socket) -> None:
    """Otherwise the kernel would store megabytes that a slow replica doesn't take, besides what is stored here, and
    would try for a quarter of an hour to deliver what a node that is gone doesn't acknowledge."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BUFFER)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(LONGEST_STALL * 1000))
