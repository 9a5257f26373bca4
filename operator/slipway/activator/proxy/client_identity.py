"""Which client a request is from, by what a client can't invent: its address, and the owner of a verified key. Pure.

A header is believed only from a trusted proxy. Anything that a client can write without a check, such as a key that
isn't verified, makes it no other client: it could be as many clients as it likes, and take the places of all others.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from slipway.activator.http1.heads import Headers, values
from slipway.process.addresses import Address, address_of, client_of

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MOST_HOPS = 16  # of X-Forwarded-For that are read: no path of trusted proxies is longer


@dataclass(frozen=True)
class Client:
    address: str  # or the network, of IPv6
    owner: str = ""  # of a key that was verified; behind one address, places are shared among owners


@dataclass(frozen=True)
class ClientIdentifier:
    """`trusted`: proxies whose X-Forwarded-For is true."""

    trusted: tuple[Network, ...] = ()

    def of(self, peer: str, headers: Headers) -> Client:
        """Reads X-Forwarded-For from the right, where the nearest proxy wrote, up to the first address that isn't
        trusted."""
        address = address_of(peer) if self.trusted else None
        if address and self._trusts(address):
            peer = str(self._behind(address, values(headers, b"x-forwarded-for")))
        return Client(client_of(peer))

    def _behind(self, proxy: Address, forwarded: Sequence[bytes]) -> Address:
        address = proxy
        for hop in reversed(b",".join(forwarded).rsplit(b",", MOST_HOPS)[-MOST_HOPS:]):
            before = address_of(_without_port(hop.strip().decode("latin-1")))
            if before is None:
                return address  # the last one that is known
            address = before
            if not self._trusts(address):
                return address
        return address

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self.trusted)


def _without_port(hop: str) -> str:
    """Some proxies add it: `192.0.2.1:443`, `[2001:db8::1]:443`."""
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop
