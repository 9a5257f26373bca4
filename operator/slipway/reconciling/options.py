"""What the operator can be told when it starts: flags, each with an environment variable of the same name.

A flag wins over its variable. A value that can't be right is refused at once, with the flag, the value and the remedy.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

from slipway.kube.lease import own_identity

PREFIX = "SLIPWAY_"
DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, kw_only=True)
class Options:
    kubeconfig: Path | None
    namespace: str
    lease_name: str
    identity: str
    workers: int
    resync: float
    management_port: int
    log_level: str
    log_format: str


def parse(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> Options:
    """Prints --help and --version, and refuses bad values: both end the program."""
    given = _parser(environment).parse_args(arguments)
    return Options(**{field.name: getattr(given, field.name) for field in fields(Options)})


def _parser(environment: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="slipway-operator",
        description="Turns LLMDeployments into language models served by KServe, and keeps their status true.",
        epilog="Each flag can also be set by the environment variable that is named with it; the flag wins.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('slipway')}")
    add = _Adder(parser, environment)
    add("kubeconfig", existing_file, None, "file that says where the API server is; default: the pod's own "
        "service account, else what kubectl uses", metavar="FILE")  # fmt: skip
    add("namespace", name, "slipway-system", "namespace that Slipway runs in and keeps its Lease in")
    add("lease-name", name, "slipway-operator", "Lease by which the replicas elect their leader")
    add("identity", str, None, "what this replica calls itself in the Lease; default: the host's name and "
        "something random", metavar="NAME")  # fmt: skip
    add("workers", whole(at_least=1, at_most=256), "16", "LLMDeployments worked on at the same time", metavar="N")
    add("resync", duration(at_least=10.0), "10m", "how often each LLMDeployment is looked at though nothing has "
        "changed", metavar="TIME")  # fmt: skip
    add("management-port", whole(at_least=0, at_most=65535), "8081", "port of /livez, /readyz and /metrics; "
        "0: any free one", metavar="PORT")  # fmt: skip
    add("log-level", str, "info", "least important lines to write", choices=("debug", "info", "warning", "error"))
    add("log-format", str, "console", "for people or for programs", choices=("console", "json"))
    return parser


class _Adder:
    def __init__(self, parser: argparse.ArgumentParser, environment: Mapping[str, str]) -> None:
        self._parser, self._environment = parser, environment

    def __call__(self, flag: str, kind: Callable[[str], Any], default: str | None, help_: str, **more: Any) -> None:
        variable = PREFIX + flag.replace("-", "_").upper()
        told = f"{help_} (default: {default})" if default else help_
        value = self._environment.get(variable) or default
        self._refuse_unknown_choice(variable, value, more.get("choices"))
        if flag == "identity" and value is None:
            value = own_identity()
        # argparse reads a default that is a text like an argument, and refuses it in the same words.
        self._parser.add_argument(f"--{flag}", type=kind, default=value, help=f"{told} [{variable}]", **more)

    def _refuse_unknown_choice(self, variable: str, value: str | None, choices: Sequence[str] | None) -> None:
        """argparse checks choices of arguments alone."""
        if choices and value not in choices:
            self._parser.error(f"{variable}: {value!r} is none of {', '.join(choices)}: set it to one of them")


# --- the kinds of values ---------------------------------------------------------------------------------------------


def existing_file(text: str) -> Path:
    path = Path(text)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"{text!r} is not a file: name a kubeconfig that is there")
    return path


def name(text: str) -> str:
    if not DNS_LABEL.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f"{text!r} can't be the name of an object: use at most 63 lower-case letters, digits and '-'"
        )
    return text


def whole(*, at_least: int, at_most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not at_least <= int(text) <= at_most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {at_least} to {at_most}")
        return int(text)

    return read


def duration(*, at_least: float) -> Callable[[str], float]:
    """In seconds."""

    def read(text: str) -> float:
        found = DURATION.fullmatch(text)
        seconds = float(found[1]) * SECONDS[found[2]] if found else 0.0
        if seconds < at_least:
            raise argparse.ArgumentTypeError(
                f"{text!r} is not a time of at least {at_least:.0f}s: write it as 30s, 10m or 1h"
            )
        return seconds

    return read
