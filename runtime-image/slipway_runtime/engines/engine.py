"""What the supervisor has to know of an engine: its command, and how to read its output and metrics."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from slipway_runtime.contract.buckets import OF_TIMES, Boundaries
from slipway_runtime.contract.engine import Metrics
from slipway_runtime.contract.pod import PARSERS_OF_REASONING, PARSERS_OF_TOOL_CALLS
from slipway_runtime.contract.reasons import Reason
from slipway_runtime.contract.tasks import Task
from slipway_runtime.failure import Failure

ISOLATED = {"PYTHONSAFEPATH": "1", "PYTHONNOUSERSITE": "1"}
"""Variables that do the same as `module` for every process that the engine itself starts."""


def module(name: str) -> tuple[str, ...]:
    """The command that runs a Python module. It is searched for where packages are installed, and nowhere else: the
    container's working directory and its user's home may be on volumes of the spec.
    """
    return (sys.executable, "-P", "-s", "-m", name)


class StartRefusedError(Exception):
    """The engine isn't started, because its arguments, its environment or its model are wrong."""

    def __init__(self, message: str, remedy: str = "", reason: Reason = Reason.BAD_ENGINE_ARGUMENTS) -> None:
        super().__init__(message)
        self.failure = Failure(reason, message, remedy)

    @classmethod
    def because(cls, failure: Failure) -> Self:
        refusal = cls(failure.message, failure.remedy, failure.reason)
        refusal.failure = failure
        return refusal


@dataclass(frozen=True, kw_only=True)
class Parser:
    """What finds calls of tools, or the reasoning, in what the model writes, and why this; or why nothing does."""

    name: str = ""  # empty: none
    why: str = ""
    for_clients: str = ""  # why requests with tools are refused

    def as_json(self) -> dict[str, str | None]:
        return {"parser": self.name or None, "reason": self.why}


@dataclass(frozen=True, kw_only=True)
class Parsers:
    tool_calls: Parser = field(default_factory=Parser)
    reasoning: Parser = field(default_factory=Parser)

    def as_json(self) -> dict[str, dict[str, str | None]]:
        return {PARSERS_OF_TOOL_CALLS: self.tool_calls.as_json(), PARSERS_OF_REASONING: self.reasoning.as_json()}


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What any engine is started with."""

    model: Path
    name: str | None = None  # by which requests name the model
    host: str
    port: int
    mode: str = "Balanced"
    task: str = ""  # what the model is for: a Task; empty: unknown
    flags: tuple[str, ...] = ()  # of the engine's own
    environment: Mapping[str, str] = field(default_factory=dict)
    traces: str = ""  # the address for spans of its own
    parsers: Parsers | None = None  # None: as the engine does by itself
    batched_tokens: int | None = None  # that one step computes at most; None: the engine's own choice


@dataclass(frozen=True)
class Choice:
    """A flag, or a variable of the environment, that the runtime chose, and the reason for it."""

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
    """The names of the engine's metrics that show whether it has requests, whether it works on them, and how."""

    pending: tuple[str, ...]
    progress: tuple[str, ...]
    prompt_tokens: tuple[str, ...] = ()
    output_tokens: tuple[str, ...] = ()
    preempted: tuple[str, ...] = ()
    speculated: tuple[str, ...] = ()


def work_of(metrics: Metrics) -> Work:
    return Work(
        pending=metrics.in_flight,
        progress=(*metrics.progress, *metrics.alive),
        prompt_tokens=metrics.prompt_tokens,
        output_tokens=metrics.output_tokens,
        preempted=metrics.preempted,
        speculated=metrics.speculated,
    )


@dataclass(frozen=True)
class WarmUp:
    """A first request, so that no client has to wait for the work that an engine does only then."""

    path: str
    body: Mapping[str, object]


def warm_up_of(task: str, name: str, *, tokens: int) -> WarmUp | None:
    """`tokens`: that a model generates. None: only a client has what the engine needs, such as a sound."""
    match task:
        case Task.EMBED:
            return WarmUp("/v1/embeddings", {"model": name, "input": "Hello"})
        case Task.RERANK:
            return WarmUp("/v1/rerank", {"model": name, "query": "Hello", "documents": ["Hello"]})
        case Task.CLASSIFY:
            return WarmUp("/classify", {"model": name, "input": "Hello"})
        case Task.TRANSCRIBE:
            return None
    return WarmUp("/v1/completions", {"model": name, "prompt": "Hello", "max_tokens": tokens})


Joined = Callable[[float, float], float]
"""Makes one number of two, such as their sum."""


@dataclass(frozen=True)
class SecondWay:
    """A second way to start an engine, used after the first one failed, without the process having ended."""

    announced: re.Pattern[str]  # the line of its output by which it starts
    futile_after: frozenset[Reason]  # causes that would stop it just as well


@dataclass(frozen=True, kw_only=True)
class Launch:
    """One start of an engine."""

    engine: str
    distributions: tuple[str, ...]  # of Python, that may have installed it; they show its version
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    host: str = "127.0.0.1"  # where the supervisor reaches it
    port: int
    health: str = "/health"
    metrics: str = "/metrics"
    work: Work
    warm_up: WarmUp | None = None
    choices: tuple[Choice, ...] = ()
    moments: tuple[tuple[re.Pattern[str], str], ...] = ()  # lines of its output that show how far the start is
    facts: tuple[re.Pattern[str], ...] = ()  # lines with facts about it, in named groups
    joined: Mapping[str, Joined] = field(default_factory=dict)  # facts of which several lines have a part
    second_way: SecondWay | None = None
    computes_on_cpus: bool = False
    boundaries: Boundaries = field(default_factory=lambda: OF_TIMES)  # of its histograms, or else of the guard's
    stop: float = 5.0  # seconds that it needs to end on its own

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
            if value is not None
        }

    def with_facts_in(self, line: str, known: Mapping[str, str]) -> dict[str, str]:
        """`known`: from the lines before. A later line replaces what an earlier one said, unless both are parts."""
        found = self.facts_in(line)
        for name in found.keys() & known.keys() & self.joined.keys():
            found[name] = f"{self.joined[name](float(known[name]), float(found[name])):.2f}"
        return {**known, **found}


def reachable(host: str) -> str:
    """The address at which a server that listens on `host` is reachable from this machine."""
    loopback = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - only compared
    return loopback.get(host, f"[{host}]" if ":" in host else host)
