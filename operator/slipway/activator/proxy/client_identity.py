"""Who one client is: what it can't invent. Its address, and behind one address whoever a verified key belongs to. Pure.

A header is believed only from a proxy that was named as trusted. What anybody can write without being checked, such as
a key, makes nobody another client: one could be as many as one likes, and take the places of all others.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from slipway.activator.http1.heads import Headers, values
from slipway.process.addresses import Address, address_of, client_of

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MOST_HOPS = 16  # of X-Forwarded-For that are looked at: a longer way leads through nobody's proxies


@dataclass(frozen=True)
class Client:
    address: str  # or the network, of IPv6
    owner: str = ""  # of a key that was verified; behind one address, places are shared among owners


@dataclass(frozen=True)
class ClientIdentifier:
    """Tells clients apart. `trusted`: proxies that say truly for whom they ask."""

    trusted: tuple[Network, ...] = ()

    def of(self, peer: str, headers: Headers) -> Client:
        """From the right of X-Forwarded-For, which the nearest proxy wrote, to the first that isn't a trusted one."""
        address = address_of(peer) if self.trusted else None
        if address and self._trusts(address):
            peer = str(self._asks_for(address, values(headers, b"x-forwarded-for")))
        return Client(client_of(peer))

    def _asks_for(self, proxy: Address, forwarded: Sequence[bytes]) -> Address:
        address = proxy
        for hop in reversed(b",".join(forwarded).rsplit(b",", MOST_HOPS)[-MOST_HOPS:]):
            before = address_of(_without_port(hop.strip().decode("latin-1")))
            if before is None:
                return address  # the last one of whom something is known
            address = before
            if not self._trusts(address):
                return address
        return address

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self.trusted)


def _without_port(hop: str) -> str:
    """Some proxies name it: `192.0.2.1:443`, `[2001:db8::1]:443`."""
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop
