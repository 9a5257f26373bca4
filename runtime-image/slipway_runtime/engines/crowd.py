"""Which clients may keep a connection to the engine's web server: how many in all and per address. Pure.

A connection is silent while none of its requests is being answered: before its first request, while a head is being
received, and between two requests. If there is no room, the one that has been silent longest is closed; if the new
client's address already has its share, it is one of that address.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Protocol

LOOPBACK = ("127.", "::1", "::ffff:127.")
"""Within the pod: its supervisor is always admitted."""


class Member(Protocol):
    """A connection."""

    @property
    def address(self) -> str: ...
    def leave(self) -> None: ...
    def look(self, now: float) -> None: ...


class Crowd:
    """All connections of the process, for its life."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.share = most - most // 4
        """The most of one address. It is large, because all clients of a gateway have the gateway's address."""
        self._of: Counter[str] = Counter()
        self._strangers = 0
        self._members: set[Member] = set()
        self._silent: dict[Member, None] = {}
        """The one that has been silent longest is first."""
        self.watched_by: object = None
        """The event loop whose timer checks it."""

    def __len__(self) -> int:
        return len(self._members)

    def enter(self, member: Member) -> bool:
        """Whether the member is admitted: there is room, or a silent one could be closed."""
        address = member.address
        if self._of[address] >= self.share:
            is_let_in = self._make_room(lambda each: each.address == address)
        elif self._strangers >= self.most and not _is_ours(address):
            is_let_in = self._make_room(lambda each: not _is_ours(each.address))
        else:
            is_let_in = True
        if is_let_in:
            self._members.add(member)
            self._silent[member] = None
            self._of[address] += 1
            self._strangers += not _is_ours(address)
        return is_let_in

    def _make_room(self, fits: Callable[[Member], bool]) -> bool:
        longest = next(filter(fits, self._silent), None)
        if longest is None:
            return False
        self.forget(longest)
        longest.leave()
        return True

    def speaks(self, member: Member) -> None:
        """From now on, one of its requests is being answered."""
        self._silent.pop(member, None)

    def is_silent(self, member: Member) -> None:
        if member in self._members:
            self._silent[member] = None

    def forget(self, member: Member) -> None:
        if member not in self._members:
            return
        self._members.remove(member)
        self._silent.pop(member, None)
        self._of[member.address] -= 1
        if not self._of[member.address]:
            del self._of[member.address]
        self._strangers -= not _is_ours(member.address)

    def look(self, now: float) -> None:
        """Has each member check whether its client is late."""
        for member in list(self._members):
            member.look(now)


def _is_ours(address: str) -> bool:
    return address.startswith(LOOPBACK)
