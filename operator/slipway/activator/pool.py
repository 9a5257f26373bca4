"""Connections to the replicas of one deployment, kept open between requests."""

from __future__ import annotations

import asyncio
import socket
from collections import defaultdict
from collections.abc import Iterable

from slipway.activator.http1.channel import LONGEST_STALL, Channel, ReplicaChannel
from slipway.activator.http1.parsing import AnswerParser

Address = tuple[str, int]

KEPT_FOR = 4.0  # seconds: shorter than uvicorn's five, so that seldom one is used that is just being closed
MOST_KEPT = 256  # for each replica
MOST_AT_ONCE = 8 * 1024  # bytes of an answer that are taken from the kernel before they are passed on
KERNEL_BUFFER = 256 * 1024  # bytes sent and not taken yet, on each connection


class Pool:
    def __init__(self, *, connect_timeout: float = 2.0) -> None:
        self._connect_timeout = connect_timeout
        self._ours: frozenset[Address] = frozenset()
        self._idle: defaultdict[Address, list[tuple[float, ReplicaChannel]]] = defaultdict(list)

    async def get(self, address: Address, *, fresh: bool = False) -> tuple[ReplicaChannel, bool]:
        """A connection, and whether it has been used before, unless it is to be `fresh`; OSError if none can be had."""
        loop = asyncio.get_running_loop()
        while not fresh and (idle := self._idle.get(address)):
            since, channel = idle.pop()
            if loop.time() - since < KEPT_FOR and not channel.is_gone and not channel.has_unread:
                return channel, True
            channel.abort()
        async with asyncio.timeout(self._connect_timeout):
            transport, channel = await loop.create_connection(_channel, *address)
        _set_up(transport.get_extra_info("socket"))
        return channel, False

    def give_back(self, address: Address, channel: ReplicaChannel) -> None:
        if address not in self._ours:
            channel.abort()
            return
        idle = self._idle[address]
        now = asyncio.get_running_loop().time()
        while idle and (len(idle) >= MOST_KEPT or now - idle[0][0] >= KEPT_FOR or idle[0][1].is_gone):
            idle.pop(0)[1].abort()
        idle.append((now, channel))

    def keep_only(self, addresses: Iterable[Address]) -> None:
        """Connections to any other replica are kept no longer."""
        self._ours = frozenset(addresses)
        for address in self._idle.keys() - self._ours:
            for _, channel in self._idle.pop(address):
                channel.abort()

    def close(self) -> None:
        self.keep_only(())


def _channel() -> ReplicaChannel:
    return Channel(AnswerParser(), most_at_once=MOST_AT_ONCE)


def _set_up(sock: socket.socket) -> None:
    """Else the kernel would keep megabytes of what a slow replica doesn't take, beside what is kept here, and would try
    for a quarter of an hour to deliver what a node that is gone doesn't acknowledge."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BUFFER)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(LONGEST_STALL * 1000))
