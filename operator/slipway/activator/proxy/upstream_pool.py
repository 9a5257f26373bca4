"""Connections to the replicas of one deployment, kept open between requests: for a while, and so many in all."""

from __future__ import annotations

import asyncio
import socket
from collections import OrderedDict, defaultdict
from collections.abc import Iterable

from slipway.activator.http1.channel import LONGEST_STALL, Channel, ReplicaChannel
from slipway.activator.http1.parsing import ResponseParser
from slipway.activator.proxy.open_files import MOST_IDLE

Address = tuple[str, int]

KEPT_FOR = 4.0  # seconds: shorter than uvicorn's five, so that seldom one is used that is just being closed
MOST_KEPT = 256  # for each replica
MOST_AT_ONCE = 8 * 1024  # bytes of an answer that are taken from the kernel before they are passed on
KERNEL_BUFFER = 256 * 1024  # bytes sent and not taken yet, on each connection

OfOneReplica = OrderedDict[ReplicaChannel, None]  # in the order in which they were given back


class IdleConnections:
    """Those that nobody uses, of all deployments, in the order in which they were given back. The first goes when its
    time is over, whoever comes meanwhile, or when there are too many."""

    def __init__(self, most: int = MOST_IDLE) -> None:
        self._most = most
        self._all: OrderedDict[ReplicaChannel, tuple[float, OfOneReplica]] = OrderedDict()
        self._alarm: asyncio.TimerHandle | None = None  # one for all; it rings once more when none is left

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
        if self._alarm is None:
            self._alarm = loop.call_later(KEPT_FOR, self._ring, loop)

    def take(self, of: OfOneReplica) -> ReplicaChannel | None:
        """The last one, which is the likeliest to be still there."""
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
        if not self._all and self._alarm:
            self._alarm.cancel()
            self._alarm = None

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        self._alarm = None
        while self._all:
            channel = next(iter(self._all))
            left = self._all[channel][0] + KEPT_FOR - loop.time()
            if left > 0:
                self._alarm = loop.call_later(left, self._ring, loop)
                return
            self.close(channel)


class UpstreamPool:
    def __init__(self, idle: IdleConnections | None = None, *, connect_timeout: float = 2.0) -> None:
        """`idle`: those of all deployments; without, this one is the only one."""
        self._connect_timeout = connect_timeout
        self._ours: frozenset[Address] = frozenset()
        self._all_idle = IdleConnections() if idle is None else idle
        self._idle: defaultdict[Address, OfOneReplica] = defaultdict(OrderedDict)

    async def get(self, address: Address, *, fresh: bool = False) -> tuple[ReplicaChannel, bool]:
        """A connection, and whether it has been used before, unless it is to be `fresh`; OSError if none can be had."""
        idle = self._idle.get(address)
        if idle and not fresh and (kept := self._all_idle.take(idle)):
            return kept, True
        async with asyncio.timeout(self._connect_timeout):
            transport, channel = await asyncio.get_running_loop().create_connection(_channel, *address)
        _set_up(transport.get_extra_info("socket"))
        return channel, False

    def give_back(self, address: Address, channel: ReplicaChannel) -> None:
        if address in self._ours:
            self._all_idle.keep(channel, self._idle[address])
        else:
            channel.abort()

    def keep_only(self, addresses: Iterable[Address]) -> None:
        """Connections to any other replica are kept no longer."""
        self._ours = frozenset(addresses)
        for address in self._idle.keys() - self._ours:
            self._all_idle.close_all(self._idle.pop(address))

    def close(self) -> None:
        self.keep_only(())


def _channel() -> ReplicaChannel:
    return Channel(ResponseParser(), most_at_once=MOST_AT_ONCE)


def _set_up(sock: socket.socket) -> None:
    """Else the kernel would keep megabytes of what a slow replica doesn't take, beside what is kept here, and would try
    for a quarter of an hour to deliver what a node that is gone doesn't acknowledge."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BUFFER)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(LONGEST_STALL * 1000))
