"""Which key created which stored response, so that no other key reads, continues or cancels it.

Each process of the engine's front end remembers its own, as vLLM's own store does, and forgets the oldest. A response
that is not remembered belongs to no one.
"""

from __future__ import annotations

from collections import OrderedDict

MOST = 10_000


class Responses:
    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._owners: OrderedDict[str, str] = OrderedDict()

    def made(self, name: str, owner: str) -> None:
        """Records the owner. The first one counts: an id that is seen again changes nothing."""
        self._owners.setdefault(name, owner)
        if len(self._owners) > self._most:
            self._owners.popitem(last=False)

    def are_of(self, owner: str, name: str) -> bool:
        if self._owners.get(name) != owner:
            return False
        self._owners.move_to_end(name)
        return True
