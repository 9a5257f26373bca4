"""What an engine is to the supervisor: a command, and how to read what the engine says."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from slipway_runtime.failure import Failure, Reason

ISOLATED = {"PYTHONSAFEPATH": "1", "PYTHONNOUSERSITE": "1"}
"""Variables that say the same as `module` to all that an engine starts itself."""


def module(name: str) -> tuple[str, ...]:
    """The command that runs a module of Python, which is looked for where packages are installed, and nowhere else: a
    container starts in `/`, where volumes of the spec lie, and so may its user's folder.
    """
    return (sys.executable, "-P", "-s", "-m", name)


class Refusal(Exception):  # noqa: N818 - nothing went wrong; something wrong was asked for
    """The engine isn't started, because of how it would have been."""

    def __init__(self, message: str, remedy: str = "", reason: Reason = Reason.BAD_ENGINE_ARGUMENTS) -> None:
        super().__init__(message)
        self.failure = Failure(reason, message, remedy)

    @classmethod
    def because(cls, failure: Failure) -> Self:
        refusal = cls(failure.message, failure.remedy, failure.reason)
        refusal.failure = failure
        return refusal


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What is asked of any engine."""

    model: Path
    name: str | None = None  # that requests ask for
    host: str
    port: int
    mode: str = "Balanced"
    flags: tuple[str, ...] = ()  # of the engine's own
    environment: Mapping[str, str] = field(default_factory=dict)
    traces: str = ""  # the address for spans of its own


@dataclass(frozen=True)
class Choice:
    """A flag, or a variable of the environment, that nobody asked for, and why it is set."""

    setting: str
    reason: str

    @property
    def name(self) -> str:
        return self.setting.partition("=")[0].lstrip("-")

    @property
    def value(self) -> str:
        return self.setting.partition("=")[2]

    def __str__(self) -> str:
        return f"{self.setting}: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class Work:
    """The names of the engine's metrics that tell whether it has requests, and whether it works on them."""

    pending: tuple[str, ...]
    progress: tuple[str, ...]


@dataclass(frozen=True)
class WarmUp:
    """A first request, so that nobody has to wait for what an engine only does then."""

    path: str
    body: Mapping[str, object]


@dataclass(frozen=True)
class SecondWay:
    """An engine that couldn't be started in one way is being started in another, without having ended."""

    announced: re.Pattern[str]  # by a line of its output
    futile_after: frozenset[Reason]  # causes that no way of starting changes


@dataclass(frozen=True, kw_only=True)
class Launch:
    """One start of an engine."""

    engine: str
    distributions: tuple[str, ...]  # that may have installed it, for its version
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    host: str = "127.0.0.1"  # where the supervisor reaches it
    port: int
    health: str = "/health"
    metrics: str = "/metrics"
    work: Work
    warm_up: WarmUp | None = None
    choices: tuple[Choice, ...] = ()
    moments: tuple[tuple[re.Pattern[str], str], ...] = ()  # lines of its output that tell how far it is
    facts: tuple[re.Pattern[str], ...] = ()  # lines that tell something of it, in named groups
    second_way: SecondWay | None = None
    computes_on_cpus: bool = False
    stop: float = 5.0  # seconds that it needs to end by itself

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def moment_in(self, line: str) -> str | None:
        return next((name for pattern, name in self.moments if pattern.search(line)), None)

    def facts_in(self, line: str) -> dict[str, str]:
        return {
            name: value
            for pattern in self.facts
            if (found := pattern.search(line))
            for name, value in found.groupdict().items()
        }


def reachable(host: str) -> str:
    """The address under which one reaches a server on this machine that listens on that one."""
    loopback = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - it is compared with
    return loopback.get(host, f"[{host}]" if ":" in host else host)
