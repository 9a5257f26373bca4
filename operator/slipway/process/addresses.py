"""Parses addresses in the forms of the kernel and of proxies, and says which of them are one client. Pure."""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address

ONE_CLIENT = 64  # bits of an IPv6 address: one client can have any address of such a network


@lru_cache(maxsize=4096)
def address_of(text: str) -> Address | None:
    """Without a zone; an IPv4 address in the form of an IPv6 one is the IPv4 address. None: not an address."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


@lru_cache(maxsize=4096)
def client_of(text: str) -> str:
    """What counts as one client: an address, and of IPv6 a network."""
    address = address_of(text)
    if isinstance(address, IPv6Address):
        return str(IPv6Network((int(address), ONE_CLIENT), strict=False))
    return str(address or text)
