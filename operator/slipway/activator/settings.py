"""What the activator can be told when it starts."""

from __future__ import annotations

import argparse
import ipaddress
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from slipway.activator.proxy.client_identity import Network
from slipway.api.names import ACTIVATOR_GRPC_PORT, ACTIVATOR_SERVICE
from slipway.kube.lease import own_identity
from slipway.process.flags import (
    KUBECONFIG,
    LOG_FORMAT,
    LOG_LEVEL,
    MANAGEMENT_PORT,
    WATCH_NAMESPACES,
    Flag,
    Program,
    duration,
    name,
    whole,
)


@dataclass(frozen=True, kw_only=True)
class Settings:
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
    runbooks: str
    management_port: int
    log_level: str
    log_format: str


def parse(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> Settings:
    """Prints --help and --version, and refuses bad values: both end the program."""
    given = PROGRAM.parse(arguments, environment)
    given["identity"] = given["identity"] or own_identity()
    return Settings(**given)


def networks(text: str) -> tuple[Network, ...]:
    """None of them all there is: whoever is trusted can take any place, by any name."""
    try:
        found = tuple(ipaddress.ip_network(each.strip()) for each in text.split(",") if each.strip())
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}: name networks, such as 10.0.3.0/24,fd00:3::/64") from None
    if any(not network.prefixlen for network in found):
        raise argparse.ArgumentTypeError(f"{text!r} names everybody: name the addresses of your gateways alone")
    return found


FLAGS = (
    KUBECONFIG,
    Flag("namespace", "namespace that Slipway runs in", "slipway-system", name, "NAME"),
    WATCH_NAMESPACES,
    Flag(
        "service",
        "Service of the activator, by which its replicas find each other, and its table of ports",
        ACTIVATOR_SERVICE,
        name,
        "NAME",
    ),
    Flag("keda-namespace", "namespace of KEDA, whose pods alone are told what is wanted", "keda", name, "NAME"),
    Flag(
        "identity",
        "what this replica calls itself: the pod's name, '_' and something random, which it is without this flag",
        None,
        metavar="NAME",
    ),
    Flag("address", "address to listen on for requests and for KEDA; without it all", None, metavar="ADDRESS"),
    Flag(
        "scaler-port",
        "port on which KEDA and the other replicas ask; 0: any free one",
        str(ACTIVATOR_GRPC_PORT),
        whole(at_least=0, at_most=65535),
        "PORT",
    ),
    Flag(
        "max-requests",
        "requests that are held at a time, of all models together",
        "4096",
        whole(at_least=1, at_most=1_000_000),
        "N",
    ),
    Flag(
        "max-bytes",
        "bytes that requests take in memory, of all models together; the pod's limit has to be twice as much and more",
        str(384 << 20),
        whole(at_least=1 << 20, at_most=1 << 40),
        "N",
    ),
    Flag(
        "trusted-proxies",
        "networks of gateways whose X-Forwarded-For is believed, separated by commas; places are shared among clients, "
        "and without it all that come through one gateway are one client",
        "",
        networks,
        "NETWORKS",
    ),
    Flag(
        "drain",
        "how long requests under way may take when the activator is asked to end",
        "30s",
        duration(at_least=0.0),
        "TIME",
    ),
    Flag("runbooks", "beginning of the URL of runbooks that errors name; the reason's word follows", "", metavar="URL"),
    MANAGEMENT_PORT,
    LOG_LEVEL,
    LOG_FORMAT,
)
PROGRAM = Program(
    "slipway-activator",
    "Holds requests for models that have no ready replica, wakes the models through KEDA, and forwards the requests.",
    FLAGS,
)
