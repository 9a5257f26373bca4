"""Operators with a faulty proxy to the API server, and checks of which of them was allowed to write."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from support.faults.api_faults import Request
from support.faults.faulty_path import FaultyPath, faulty_path
from support.programs import operator
from support.programs.operator import Operator

T = TypeVar("T")


@dataclass(frozen=True)
class Replica:
    """One operator, and its own proxy to the API server."""

    operator: Operator
    path: FaultyPath

    def report_sections(self) -> list[tuple[str, str]]:
        """Returns what a failed test shows of it."""
        return [
            (f"log of the operator {self.path.name}", str(self.operator.log)),
            ("requests that faults hit", self.path.hits()),
        ]


@asynccontextmanager
async def replica(
    kubeconfig: Path,
    folder: Path,
    name: str = "a",
    *flags: str,
    leads: bool = True,
    program: Sequence[str | Path] = operator.PROGRAM,
) -> AsyncGenerator[Replica]:
    """Runs an operator that leads; a standby only has to answer on its port."""
    start = operator.running if leads else operator.started
    async with faulty_path(kubeconfig, folder, name) as (path, own_kubeconfig):
        process = start(own_kubeconfig, f"--identity={name}", *flags, program=program)
        async with in_thread(process) as started:
            yield Replica(started, path)


@asynccontextmanager
async def in_thread(manager: AbstractContextManager[T]) -> AsyncGenerator[T]:
    """Enters and leaves a blocking context manager in a thread, so that the event loop goes on."""
    value = await asyncio.to_thread(manager.__enter__)
    try:
        yield value
    finally:
        await asyncio.to_thread(manager.__exit__, None, None, None)


# --- who may write ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Term:
    """A period in which the API server had one replica as the leader."""

    holder: str
    start: float  # no earlier than this
    end: float  # no later than this


def terms(paths: Iterable[FaultyPath]) -> list[Term]:
    """Returns the terms according to the writes of the Lease: a new holder leads from the response on, the old one
    until then."""
    taken = sorted(
        (request.passed_on_at or 0.0, request.ended_at or float("inf"), _holder(request))
        for path in paths
        for request in path.requests
        if request.call.is_of_lease and request.call.is_write and request.succeeded
    )
    found: list[Term] = []
    for start, taken_at, holder in taken:
        if found and found[-1].holder == holder:
            continue
        if found:
            found[-1] = Term(found[-1].holder, found[-1].start, taken_at)
        found.append(Term(holder, start, float("inf")))
    return [term for term in found if term.holder]


def unlawful_writes(namespace: str, *paths: FaultyPath) -> list[str]:
    """Returns the writes that reached the API server while another replica, or none, held the Lease."""
    all_terms = terms(paths)

    def is_lawful(path: FaultyPath, request: Request) -> bool:
        at = request.passed_on_at
        return at is None or any(term.holder == path.name and term.start <= at <= term.end for term in all_terms)

    return [
        f"{path.name}: {request}"
        for path in paths
        for request in path.writes(namespace)
        if not is_lawful(path, request)
    ]


def repeated_writes(namespace: str, path: FaultyPath) -> list[str]:
    """Returns the writes that repeat an earlier successful write, though no client has changed the object since."""
    last: dict[str, Request] = {}
    found = []
    for request in path.writes(namespace):
        if request.succeeded and request.call.method == "PATCH":
            before = last.get(request.call.path)
            if before and not before.fault and _said_nothing_new(before, request):
                found.append(str(request))
            last[request.call.path] = request
    return found


def _said_nothing_new(before: Request, request: Request) -> bool:
    return before.call.body == request.call.body and _version(before) == _version(request)


def _version(request: Request) -> str:
    return str(json.loads(request.result)["metadata"]["resourceVersion"])


def _holder(request: Request) -> str:
    return str(json.loads(request.call.body)["spec"].get("holderIdentity") or "")
