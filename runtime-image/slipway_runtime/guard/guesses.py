"""How many wrong keys one client may try. Pure: the time is an argument.

The rules are those of the activator: a number of wrong keys immediately, then one per interval. Beyond that no further
key of the client is checked, not even a valid one, or the client could go on guessing. Keys that it has shown before
and that were valid stay valid: behind the activator or a gateway, other clients have the same address.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from functools import lru_cache
from typing import TypeVar

PER_SECOND, AT_ONCE = 0.5, 20
CLIENTS, PROVEN = 1024, 2048
"""How many are remembered: clients with wrong keys, and valid keys of clients. The oldest are forgotten first."""
NETWORK = 64  # bits: an IPv6 client owns all addresses with the same prefix

K = TypeVar("K")
V = TypeVar("V")


class Guesses:
    def __init__(self) -> None:
        self._good_again: OrderedDict[str, float] = OrderedDict()
        """When a client may try as many wrong keys again as at first."""
        self._proven: OrderedDict[tuple[str, bytes], None] = OrderedDict()

    def wait(self, client: str, digest: bytes, now: float) -> float:
        """Returns the seconds for which a client's key isn't checked."""
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
    """Returns the name for the client at that address."""
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
