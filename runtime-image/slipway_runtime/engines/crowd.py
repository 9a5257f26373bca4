"""Who may keep a connection to the engine's web server: how many in all and of one address, and who has to make room.

Only computed here. A connection is silent while nothing that it asked for is being answered: before its first request,
while a head is still on its way, and between two requests. Where there is no room, the one that has been silent longest
goes; it is one of the same address if that address has its share.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Protocol

LOOPBACK = ("127.", "::1", "::ffff:127.")
"""Within the pod: its supervisor is let in, whoever fills the house."""


class Member(Protocol):
    """A connection."""

    @property
    def address(self) -> str: ...
    def leave(self) -> None: ...
    def look(self, now: float) -> None: ...


class Crowd:
    def __init__(self, most: int) -> None:
        self.most = most
        self.share = most - most // 4
        """Of one address: a gateway's clients all have its address."""
        self._of: Counter[str] = Counter()
        self._strangers = 0
        self._members: set[Member] = set()
        self._silent: dict[Member, None] = {}
        """The one that has been so longest is first."""
        self.watched_by: object = None
        """Who looks after it, again and again."""

    def __len__(self) -> int:
        return len(self._members)

    def enter(self, member: Member) -> bool:
        """Whether there is room, or could be made."""
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
        """A request of it is being answered from now on."""
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
        """At each, whether it keeps others waiting."""
        for member in list(self._members):
            member.look(now)


def _is_ours(address: str) -> bool:
    return address.startswith(LOOPBACK)
