"""Flags of a program, each with an environment variable of the same name; what they share, and the kinds of values.

A flag wins over its variable. A value that can't be right is refused at once, with the flag, the value and the remedy.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

PREFIX = "SLIPWAY_"
DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Flag:
    name: str
    help: str
    default: str | None
    read: Callable[[str], Any] = str
    metavar: str | None = None
    choices: tuple[str, ...] | None = None

    @property
    def variable(self) -> str:
        return PREFIX + self.name.replace("-", "_").upper()

    def add_to(self, parser: argparse.ArgumentParser, from_environment: str | None) -> None:
        """argparse reads a default that is a text as it reads an argument; choices it checks for arguments alone."""
        value = from_environment or self.default
        if self.choices and value not in self.choices:
            parser.error(f"{self.variable}: {value!r} is none of {', '.join(self.choices)}: set it to one of them")
        told = f"{self.help} (default: {self.default})" if self.default else self.help
        parser.add_argument(
            f"--{self.name}",
            type=self.read,
            default=value,
            help=f"{told} [{self.variable}]",
            metavar=self.metavar,
            choices=self.choices,
        )


@dataclass(frozen=True)
class Program:
    """A program and its flags."""

    name: str
    description: str
    flags: Sequence[Flag]

    def parse(self, arguments: Iterable[str], environment: Mapping[str, str] = os.environ) -> dict[str, Any]:
        """Each flag's value. Prints --help and --version, and refuses bad values: both end the program."""
        parser = argparse.ArgumentParser(
            prog=self.name,
            description=self.description,
            epilog="Each flag can also be set by the environment variable that is named with it; the flag wins.",
            allow_abbrev=False,
        )
        parser.add_argument("--version", action="version", version=f"%(prog)s {version('slipway')}")
        for flag in self.flags:
            flag.add_to(parser, environment.get(flag.variable))
        return vars(parser.parse_args(list(arguments)))


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


def several(read: Callable[[str], Any]) -> Callable[[str], tuple[Any, ...]]:
    """Values separated by commas; none in an empty text."""
    return lambda text: tuple(read(each.strip()) for each in text.split(",") if each.strip())


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


# --- flags of every program ------------------------------------------------------------------------------------------

KUBECONFIG = Flag(
    "kubeconfig",
    "file that says where the API server is; without it the pod's own service account, else what kubectl uses",
    None,
    existing_file,
    "FILE",
)
MANAGEMENT_PORT = Flag(
    "management-port",
    "port of /livez, /readyz and /metrics; 0: any free one",
    "8081",
    whole(at_least=0, at_most=65535),
    "PORT",
)
WATCH_NAMESPACES = Flag(
    "watch-namespaces",
    "namespaces whose LLMDeployments are served, separated by commas, if rights are given in these alone; without it "
    "all of the cluster's",
    "",
    several(name),
    "NAMES",
)
LOG_LEVEL = Flag("log-level", "least important lines to write", "info", choices=("debug", "info", "warning", "error"))
LOG_FORMAT = Flag("log-format", "for people or for programs", "console", choices=("console", "json"))
