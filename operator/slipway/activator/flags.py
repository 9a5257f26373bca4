"""The flags of `slipway-activator`, and the settings that it makes of them."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

import click

from slipway.activator.proxy.client_identity import Network
from slipway.api.names import ACTIVATOR_GRPC_PORT, ACTIVATOR_SERVICE
from slipway.contract.runbooks import Runbooks
from slipway.process.flags import duration, flag, integer, object_name


@dataclass(frozen=True, kw_only=True)
class ActivatorSettings:
    """One field for each flag; they hold for the life of the process."""

    kubeconfig: Path | None
    namespace: str
    watch_namespaces: tuple[str, ...]
    service: str
    keda_namespace: str
    identity: str
    address: str | None
    scaler_port: int
    max_requests: int
    max_bytes: int
    trusted_proxies: tuple[Network, ...]
    drain: float
    runbooks: Runbooks
    management_port: int
    log_level: str
    log_format: str


def networks(text: str) -> tuple[Network, ...]:
    """None of them may be the entire Internet: a trusted proxy can take any client's place, under any name."""
    try:
        found = tuple(ipaddress.ip_network(each.strip()) for each in text.split(",") if each.strip())
    except ValueError as error:
        raise click.BadParameter(f"{error}: name networks, such as 10.0.3.0/24,fd00:3::/64") from None
    if any(not network.prefixlen for network in found):
        raise click.BadParameter(f"{text!r} names every address: name the addresses of your gateways alone")
    return found


service = flag(
    "--service",
    type=object_name,
    default=ACTIVATOR_SERVICE,
    metavar="NAME",
    help="Service of the activator, by which its replicas find each other, and its table of ports",
)
address = flag(
    "--address",
    metavar="ADDRESS",
    help="address on which requests and KEDA are answered; without it all addresses",
)
scaler_port = flag(
    "--scaler-port",
    type=integer(at_least=0, at_most=65535),
    default=str(ACTIVATOR_GRPC_PORT),
    metavar="PORT",
    help="port on which KEDA and the other replicas are answered; 0: any free one",
)
max_requests = flag(
    "--max-requests",
    type=integer(at_least=1, at_most=1_000_000),
    default="4096",
    metavar="N",
    help="how many requests are held at a time, of all models together",
)
max_bytes = flag(
    "--max-bytes",
    type=integer(at_least=1 << 20, at_most=1 << 40),
    default=str(384 << 20),
    metavar="N",
    help="bytes of memory that requests may take, of all models together; the pod's memory limit must be more than "
    "twice as much",
)
trusted_proxies = flag(
    "--trusted-proxies",
    type=networks,
    default="",
    metavar="NETWORKS",
    help="networks of gateways whose X-Forwarded-For is believed, separated by commas; without it all requests through "
    "one gateway count as one client, and share the places of one",
)
drain = flag(
    "--drain",
    type=duration(at_least=0.0),
    default="30s",
    metavar="TIME",
    help="how long requests under way may take when the activator is asked to end",
)
