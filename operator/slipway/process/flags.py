"""Flags of Slipway's programs, by click: each has an environment variable of the same name, and the flag wins.

A value that can't be right is refused at the start, in one sentence with the flag, its variable, the value and the
remedy; the exit code is 2. The flags of one program are in its own module `flags`; those of several are here.
"""

from __future__ import annotations

import re
import secrets
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from slipway.contract.runbooks import Runbooks

PREFIX = "SLIPWAY_"
DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}

Function = TypeVar("Function", bound=Callable[..., Any])
Decorator = Callable[[Function], Function]
Value = TypeVar("Value")


def program(name: str, description: str) -> Callable[[Callable[..., Any]], click.Command]:
    """Makes a command of the function that takes all of its flags."""

    def decorate(function: Callable[..., Any]) -> click.Command:
        with_version = click.version_option(package_name="slipway", message="%(prog)s %(version)s")(function)
        return click.command(
            name,
            help=description,
            epilog="Each flag can also be set by its environment variable; the flag wins.",
            context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
        )(with_version)

    return decorate


def flag(name: str, *more: str, default: Any = None, **attributes: Any) -> Decorator[Any]:
    """A click option `--some-name` with the variable SLIPWAY_SOME_NAME. `more`: what the function calls it."""
    variable = PREFIX + name.removeprefix("--").replace("-", "_").upper()
    attributes.setdefault("show_default", default not in (None, ""))
    return click.option(name, *more, default=default, envvar=variable, show_envvar=True, **attributes)


# --- the types of values ---------------------------------------------------------------------------------------------


def existing_file(text: str) -> Path:
    path = Path(text)
    if not path.is_file():
        raise click.BadParameter(f"{text!r} is not a file: name a kubeconfig that exists")
    return path


def object_name(text: str) -> str:
    if not DNS_LABEL.fullmatch(text):
        raise click.BadParameter(
            f"{text!r} can't be the name of an object: use at most 63 lower-case letters, digits and '-'"
        )
    return text


def object_name_with_dots(text: str) -> str:
    """Of nodes and other objects whose names are DNS names."""
    if len(text) > 253 or not all(map(DNS_LABEL.fullmatch, text.split("."))):
        raise click.BadParameter(f"{text!r} can't be the name of a node: use lower-case letters, digits, '-' and '.'")
    return text


def comma_separated(read: Callable[[str], Value]) -> Callable[[str], tuple[Value, ...]]:
    """Values separated by commas; none in an empty string."""
    return lambda text: tuple(read(each.strip()) for each in text.split(",") if each.strip())


def integer(*, at_least: int, at_most: int) -> Callable[[str], int]:
    """A whole number in decimal digits. click's IntRange would not name the remedy."""

    def read(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not at_least <= int(text) <= at_most:
            raise click.BadParameter(f"{text!r} is not a whole number from {at_least} to {at_most}")
        return int(text)

    return read


def duration(*, at_least: float) -> Callable[[str], float]:
    """In seconds."""

    def read(text: str) -> float:
        found = DURATION.fullmatch(text)
        seconds = float(found[1]) * SECONDS[found[2]] if found else 0.0
        if found is None or seconds < at_least:
            raise click.BadParameter(f"{text!r} is not a time of at least {at_least:.0f}s: write it as 30s, 10m or 1h")
        return seconds

    return read


def runbooks_at(text: str) -> Runbooks:
    try:
        return Runbooks(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def own_identity() -> str:
    """A different one for each process, so that a restarted container does not take itself for its predecessor."""
    return f"{socket.gethostname()}_{secrets.token_hex(4)}"


# --- flags of several programs ---------------------------------------------------------------------------------------

MANAGEMENT_PORT = 8081

kubeconfig = flag(
    "--kubeconfig",
    type=existing_file,
    metavar="FILE",
    help="file that says where the API server is; without it the pod's own service account, else what kubectl uses",
)
namespace = flag(
    "--namespace",
    type=object_name,
    default="slipway-system",
    metavar="NAME",
    help="namespace in which Slipway runs, and in which the operator's replicas hold their Lease",
)
watch_namespaces = flag(
    "--watch-namespaces",
    type=comma_separated(object_name),
    default="",
    metavar="NAMES",
    help="namespaces whose LLMDeployments are served, separated by commas, if Slipway has rights in these alone; "
    "without it those of the entire cluster",
)
keda_namespace = flag(
    "--keda-namespace",
    type=object_name,
    default="keda",
    metavar="NAME",
    help="namespace in which KEDA's operator runs; the activator answers only its pods about demand",
)
identity = flag(
    "--identity",
    default=own_identity,
    show_default="the host's name, '_' and random digits",
    metavar="NAME",
    help="name of this replica, which no other replica may have",
)
runbooks = flag(
    "--runbooks",
    type=runbooks_at,
    default="",
    metavar="URL",
    help="URL of a runbook, with {name} for its name, to which the status, events and errors link; empty: no links",
)
management_port = flag(
    "--management-port",
    type=integer(at_least=0, at_most=65535),
    default=str(MANAGEMENT_PORT),
    metavar="PORT",
    help="port of /livez, /readyz and /metrics; 0: any free one",
)
log_level = flag(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    help="least important lines to write",
)
log_format = flag(
    "--log-format", type=click.Choice(["console", "json"]), default="console", help="for people or for programs"
)
