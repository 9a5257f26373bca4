"""Which port of the activator belongs to which deployment. Pure.

The Service's annotation remembers it. Of two that claim one port, as after a restored backup, one gets another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from slipway.api.names import ACTIVATOR_FIRST_PORT, ACTIVATOR_LAST_PORT
from slipway.reconciling.key import Key

COUNT = ACTIVATOR_LAST_PORT - ACTIVATOR_FIRST_PORT + 1


class Ports:
    def __init__(self) -> None:
        self._owners: dict[int, Key] = {}
        self._ports: dict[Key, int] = {}
        self._knows = False

    def learn(self, claims: Iterable[tuple[Key, int | None]]) -> None:
        """What others have already, before the first is chosen. Once is enough: from then on, we choose."""
        if self._knows:
            return
        self._knows = True
        for key, port in sorted(claims, key=lambda claim: claim[0]):
            if port is not None and port not in self._owners:
                self._give(key, port)

    def of(self, key: Key, chosen: int | None) -> int | None:
        """The port that it has, else the one that its Service says, else a free one; None: all are taken."""
        if key not in self._ports:
            port = chosen if chosen is not None and chosen not in self._owners else self._free(key)
            if port is None:
                return None
            self._give(key, port)
        return self._ports[key]

    def forget(self, key: Key) -> None:
        if port := self._ports.pop(key, None):
            del self._owners[port]

    def _give(self, key: Key, port: int) -> None:
        self._owners[port] = key
        self._ports[key] = port

    def _free(self, key: Key) -> int | None:
        """By the name, so that a deployment that is made anew usually gets the port that it had."""
        begin = int.from_bytes(hashlib.sha256(str(key).encode()).digest()[:4], "big")
        candidates = (ACTIVATOR_FIRST_PORT + (begin + step) % COUNT for step in range(COUNT))
        return next((port for port in candidates if port not in self._owners), None)
