"""Names of registries, and the paths of charts in them."""

from __future__ import annotations

import ipaddress
import re

from slipway_devcluster.errors import Refusal

REGISTRY = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:\d+)?(/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*")


def checked(registry: str) -> str:
    """The name of a registry, unchanged; refused if it is not valid."""
    if not registry:
        raise Refusal(
            "REGISTRY is not set, and images and charts refer to it; set it to where they will be pushed, as in "
            "REGISTRY=registry.example.com/slipway."
        )
    if not REGISTRY.fullmatch(registry):
        raise Refusal(
            f"{registry!r} is not a valid registry: write its host and an optional path, in lower case and "
            "without https:// or a slash at the end, as in registry.example.com/slipway."
        )
    return registry


def charts_of(registry: str) -> str:
    return f"oci://{registry}/charts"


def is_here(registry: str) -> bool:
    """Whether a registry is on this machine; then it is used without TLS, as docker and containerd do."""
    host = re.sub(r":\d+$", "", registry.split("/", maxsplit=1)[0])
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
