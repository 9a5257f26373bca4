"""Faults between an operator and the API server. Each fault says which requests it hits, and how.

Faults are random by a generator that they are given, so that a failure can be repeated by its seed.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

BOOKMARK = b'{"type":"BOOKMARK"'
GONE = {
    "apiVersion": "v1",
    "kind": "Status",
    "metadata": {},
    "status": "Failure",
    "message": "too old resource version",
    "reason": "Expired",
    "code": 410,
}


class BrokenError(Exception):
    """The connection ends here."""


@dataclass(frozen=True)
class ApiCall:
    """One call of the operator to the API server."""

    method: str
    path: str
    query: Mapping[str, str]
    accept: str
    body: bytes

    @property
    def is_write(self) -> bool:
        return self.method != "GET"

    @property
    def is_watch(self) -> bool:
        return "watch" in self.query

    @property
    def is_audit(self) -> bool:
        """Whether it lists names and versions only."""
        return "PartialObjectMetadata" in self.accept

    @property
    def is_of_lease(self) -> bool:
        return self.plural == "leases"

    @cached_property
    def plural(self) -> str:
        """The resource that it is about; empty where it lists the API's kinds."""
        parts = self.path.strip("/").split("/")
        parts = parts[2:] if parts[0] == "api" else parts[3:]
        if parts[:1] == ["namespaces"] and len(parts) > 2:
            parts = parts[2:]
        return parts[0] if parts else ""

    @property
    def what(self) -> str:
        return f"{self.method} {self.path}{' (watch)' if self.is_watch else ''}"


@dataclass
class Request:
    """One request and its result. Times are of the monotonic clock."""

    call: ApiCall
    at: float
    passed_on_at: float | None = None
    ended_at: float | None = None
    code: int | None = None  # None: no response
    fault: str = ""
    result: bytes = b""  # the API server's response, whether or not the operator received it

    @property
    def succeeded(self) -> bool:
        """Whether it succeeded in the API server; the operator may not know."""
        return self.passed_on_at is not None and self.code is not None and self.code < 300

    def __str__(self) -> str:
        return f"{self.at:.3f} {self.call.what} → {self.code or 'no answer'} {self.fault}"


@dataclass(frozen=True)
class Answer:
    code: int
    headers: Mapping[str, str]
    data: bytes
    length: int | None = None  # the announced length, where less is sent


def everything(ask: ApiCall) -> bool:
    return True


def writes(ask: ApiCall) -> bool:
    return ask.is_write


def reads(ask: ApiCall) -> bool:
    return not ask.is_write


def but_the_lease(ask: ApiCall) -> bool:
    return not ask.is_of_lease


def but_watches(ask: ApiCall) -> bool:
    return not ask.is_watch


def writes_but_the_lease(ask: ApiCall) -> bool:
    return ask.is_write and not ask.is_of_lease


def first_lists(ask: ApiCall) -> bool:
    """Matches the first lists of watches."""
    return bool(ask.plural) and not (ask.is_write or ask.is_watch or ask.is_audit or ask.is_of_lease)


@dataclass(eq=False, kw_only=True)
class Fault:
    """Hits the requests that `on` selects, at a rate from 0 to 1."""

    on: Callable[[ApiCall], bool] = everything
    rate: float = 1.0
    chance: random.Random = field(default_factory=lambda: random.Random(0), repr=False)
    count: int = field(default=0, init=False)  # requests that it has hit
    _ended: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    def hits(self, ask: ApiCall) -> bool:
        is_hit = self.on(ask) and (self.rate >= 1 or self.chance.random() < self.rate)
        self.count += is_hit
        return is_hit

    async def before(self, ask: ApiCall) -> Answer | None:
        """Runs before the API server is called: it may respond instead, delay the call, or never return."""
        return None

    async def after(self, ask: ApiCall, answer: Answer) -> Answer:
        """Runs between the API server's response and the operator."""
        return answer

    def is_deaf_to(self, ask: ApiCall) -> bool:
        """Whether an open or new watch misses events from now on, until the watch ends."""
        return False

    def lets_through(self, line: bytes) -> bool:
        """Whether a deaf watch still delivers this event."""
        return False

    def end(self) -> None:
        self._ended.set()

    def __repr__(self) -> str:
        of = f" of {self.on.__name__}" if self.on is not everything else ""
        rate = f" at {self.rate:.0%}" if self.rate < 1 else ""
        return f"{type(self).__name__}{of}{rate}"


@dataclass(eq=False, kw_only=True, repr=False)
class Refuses(Fault):
    """Responds with an error, without calling the API server."""

    code: int
    retry_after: int | None = None

    async def before(self, ask: ApiCall) -> Answer | None:
        headers = {"Content-Type": "application/json"}
        if self.retry_after is not None:
            headers["Retry-After"] = str(self.retry_after)
        return Answer(self.code, headers, _status(self.code, "made up by a test"))


@dataclass(eq=False, kw_only=True, repr=False)
class Delays(Fault):
    """Waits before it calls the API server, even if the operator has hung up meanwhile."""

    seconds: float

    async def before(self, ask: ApiCall) -> Answer | None:
        await asyncio.sleep(self.seconds)
        return None


@dataclass(eq=False, kw_only=True, repr=False)
class Hangs(Fault):
    """Neither calls nor responds, as if packets were lost."""

    async def before(self, ask: ApiCall) -> Answer | None:
        await self._ended.wait()
        raise BrokenError("hung")

    def is_deaf_to(self, ask: ApiCall) -> bool:
        return self.on(ask)


@dataclass(eq=False, kw_only=True, repr=False)
class Cuts(Fault):
    """Ends the connection before the API server is called."""

    async def before(self, ask: ApiCall) -> Answer | None:
        raise BrokenError("cut before")


@dataclass(eq=False, kw_only=True, repr=False)
class LosesAnswers(Fault):
    """Ends the connection after the API server has carried out the request, so the operator doesn't learn of it."""

    async def after(self, ask: ApiCall, answer: Answer) -> Answer:
        raise BrokenError("answer lost")


@dataclass(eq=False, kw_only=True, repr=False)
class CutsShort(Fault):
    """Ends the connection in the middle of the response."""

    async def after(self, ask: ApiCall, answer: Answer) -> Answer:
        return Answer(answer.code, answer.headers, answer.data[: len(answer.data) // 2], length=len(answer.data))


@dataclass(eq=False, kw_only=True, repr=False)
class Expires(Fault):
    """Every version is too old: watches get an ERROR event, and continued lists an error."""

    async def before(self, ask: ApiCall) -> Answer | None:
        headers = {"Content-Type": "application/json"}
        if ask.is_watch:
            event = json.dumps({"type": "ERROR", "object": GONE}).encode() + b"\n"
            return Answer(200, headers, event)
        if "continue" in ask.query:
            return Answer(410, headers, json.dumps(GONE).encode())
        return None


@dataclass(eq=False, kw_only=True, repr=False)
class Deafens(Fault):
    """Watches stay open and deliver no event any more, or bookmarks only, until they end."""

    bookmarks: bool = False

    def hits(self, ask: ApiCall) -> bool:
        return False

    def is_deaf_to(self, ask: ApiCall) -> bool:
        return self.on(ask)

    def lets_through(self, line: bytes) -> bool:
        if self.bookmarks and line.startswith(BOOKMARK):
            return True
        self.count += 1
        return False


def _status(code: int, message: str) -> bytes:
    status: dict[str, Any] = {**GONE, "message": message, "reason": "", "code": code}
    return json.dumps(status).encode()
