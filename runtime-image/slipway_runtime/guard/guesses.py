"""How often one client may show keys that aren't valid. Pure: the time is told.

The rules are those of the activator: so many at once, then one in a while. Whoever has used that up is not told about
any further key, a right one neither, or it would go on guessing by that. Keys that it has shown before, and that were
valid, count still: behind the activator or a gateway, others have the same address.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from functools import lru_cache
from typing import TypeVar

PER_SECOND, AT_ONCE = 0.5, 20
CLIENTS, PROVEN = 1024, 2048
"""That are remembered: those with wrong keys, and valid keys of clients. The ones of longest ago go."""
NETWORK = 64  # bits of an address of IPv6 that somebody has with all that follow

K = TypeVar("K")
V = TypeVar("V")


class Guesses:
    def __init__(self) -> None:
        self._good_again: OrderedDict[str, float] = OrderedDict()
        """When a client may show as many wrong ones again as at first."""
        self._proven: OrderedDict[tuple[str, bytes], None] = OrderedDict()

    def wait(self, client: str, digest: bytes, now: float) -> float:
        """Seconds for which a client isn't told whether a key is valid."""
        if (client, digest) in self._proven:
            return 0.0
        return max(0.0, self._good_again.get(client, now) - now - (AT_ONCE - 1) / PER_SECOND)

    def was_wrong(self, client: str, digest: bytes, now: float) -> None:
        self._proven.pop((client, digest), None)
        good_again = max(self._good_again.get(client, now), now) + 1 / PER_SECOND
        _keep(self._good_again, client, good_again, most=CLIENTS)

    def was_valid(self, client: str, digest: bytes) -> None:
        _keep(self._proven, (client, digest), None, most=PROVEN)


@lru_cache(maxsize=CLIENTS)
def client_of(address: str) -> str:
    """Who asks from there."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return address
    return str(found.ipv4_mapped or ipaddress.ip_network((int(found), NETWORK), strict=False))


def _keep(kept: OrderedDict[K, V], key: K, value: V, *, most: int) -> None:
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > most:
        kept.popitem(last=False)
