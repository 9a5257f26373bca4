"""Joins the guard's parts: a request is admitted or refused on arrival, and accounted for when it has ended.

Each process of the engine's front end has one gate, and all of it runs in that process's event loop.
"""

import asyncio
import hmac
import os
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Self

from prometheus_client import REGISTRY, CollectorRegistry

from slipway_runtime import control
from slipway_runtime.contract.hold import HOLD_HEADER
from slipway_runtime.contract.runbooks import Runbooks
from slipway_runtime.control import GuardMode, Slot
from slipway_runtime.guard import access_log, errors
from slipway_runtime.guard.bodies import Body, BodyMemory
from slipway_runtime.guard.errors import ErrorResponse
from slipway_runtime.guard.guesses import client_of
from slipway_runtime.guard.keys import Keys
from slipway_runtime.guard.limits import Arrivals, Limits
from slipway_runtime.guard.metrics import GuardMetrics
from slipway_runtime.guard.policy import RequestFacts, decide, decide_again, most_bytes
from slipway_runtime.guard.request_ids import request_id_of
from slipway_runtime.guard.responses import Responses
from slipway_runtime.guard.routes import BodyKind, Route, RouteKind, Routes
from slipway_runtime.guard.settings import GuardSettings
from slipway_runtime.guard.tracing import Tracer
from slipway_runtime.guard.visit import Visit
from slipway_runtime.tracing.context import trace_of

SUPERVISOR = "x-slipway-supervisor"
NO_OWNER, ANONYMOUS = "none", "anonymous"
"""Owners of requests without a valid key: where one is required, and where none is."""
RESPONSES = "/v1/responses"
LEAST_ARRIVING = 256
"""The least limit of requests of one sender whose bodies are incomplete; it is twice `max_in_flight` if that is more.
"""
SYNC_EVERY = 0.1  # seconds between two exchanges with the supervisor

Headers = Mapping[str, str]


class Gate:
    def __init__(
        self,
        settings: GuardSettings,
        slot: Slot,
        registry: CollectorRegistry = REGISTRY,
        clock: Callable[[], float] = time.monotonic,
        *,
        in_place_of_engine: bool = False,
    ) -> None:
        """`in_place_of_engine`: the engine lacks metrics that others have, so the guard measures them."""
        self.settings = settings
        self.clock = clock
        self.runbooks = Runbooks(settings.runbooks)
        self._slot = slot
        self._routes = Routes(settings.allow)
        self._keys = Keys(Path(settings.keys), clock) if settings.keys else None
        self._limits = Limits(
            per_minute=settings.requests_per_minute_per_key,
            burst=settings.burst_per_key,
            tokens_per_minute=settings.tokens_per_minute_per_key,
        )
        self._arrivals = Arrivals(max(LEAST_ARRIVING, 2 * settings.max_in_flight))
        most = settings.max_bodies_bytes
        share = max(settings.max_body_bytes, most // 2) if settings.keys else most
        self._body_memory = BodyMemory(total=most, of_owner=share)
        self._responses = Responses()
        self._metrics = GuardMetrics(registry, settings.model, in_place_of_engine=in_place_of_engine, clock=clock)
        self.gaps = self._metrics.gaps
        """Counts the times between tokens; None if the engine does."""
        self._tracer = Tracer.of(settings, self._metrics)
        self._share = settings.traces_sample_ratio if self._tracer else 0.0
        self._arriving: dict[Visit, asyncio.Task[object] | None] = {}
        self._in_flight: dict[Visit, asyncio.Task[object] | None] = {}
        self._next_sync: asyncio.TimerHandle | None = None
        self.unreported = 0
        """Tokens that have passed and were not added to the control file yet."""

    @classmethod
    def from_environment(cls, registry: CollectorRegistry = REGISTRY, *, in_place_of_engine: bool = False) -> Self:
        path = os.environ.get(control.ENVIRONMENT)
        slot = Slot.claim(Path(path)) if path else Slot.alone()
        return cls(GuardSettings.from_environment(), slot, registry, in_place_of_engine=in_place_of_engine)

    def enter(
        self, method: str, path: str, headers: Headers, *, client: str = ""
    ) -> tuple[Visit, ErrorResponse | None]:
        """Returns the request's account, and why it is refused, if it is. Each visit ends with `leave`.

        A limited request also needs `admit` when its body is complete: until then it takes no place. `client` is the
        address that the connection comes from; headers that claim another one are ignored.
        """
        now, client = self.clock(), client_of(client)
        facts = self._facts(method, path, headers, client, now)
        owner = facts.owner or (NO_OWNER if self._keys else ANONYMOUS)
        visit = Visit(
            method=method if facts.route else method[:20],
            path=facts.route.path if facts.route else "other",
            kind=facts.route.kind if facts.route and not facts.supervisor else None,
            supervisor=facts.supervisor,
            owner=owner,
            sender=owner if self._keys else client,
            request_id=request_id_of(headers.get("x-request-id")),
            trace=trace_of(headers.get("traceparent"), share=self._share),
            started=now,
            hold=headers.get(HOLD_HEADER, "") if self._tracer else "",
            takes=facts.route.takes if facts.route else BodyKind.NOTHING,
            most_bytes=self.settings.max_body_bytes if facts.supervisor else most_bytes(facts.route, self.settings),
        )
        refusal = decide(facts, self.settings)
        if refusal is None and visit.limited:
            refusal = self._arrive(visit)
        if refusal:
            self.refuse(visit, refusal)
        return visit, refusal

    def _arrive(self, visit: Visit) -> ErrorResponse | None:
        if not self._arrivals.enter(visit.sender):
            return errors.TOO_MANY_AT_ONCE if self._keys else errors.overloaded(1)
        self._arriving[visit] = asyncio.current_task()
        self._slot.arrives()
        return None

    def admit(self, visit: Visit) -> ErrorResponse | None:
        """Takes a place for a request whose body is complete; returns why there is none, if there is none."""
        if not visit.limited:
            return None
        now = self.clock()
        facts = RequestFacts(visit.method, visit.path, route=None, owner=visit.owner)
        self._add_limits(facts, visit.owner, now)
        if refusal := decide_again(facts, self.settings):
            return refusal
        visit.admitted = now
        self._limits.enter(visit.owner, now)
        self._in_flight[visit] = asyncio.current_task()
        if visit.work:
            self._metrics.in_flight.inc()
            if self._metrics.queued:
                self._metrics.queued.inc()
            self._slot.begin()
        self._has_arrived(visit)
        return None

    def _has_arrived(self, visit: Visit) -> None:
        del self._arriving[visit]
        self._arrivals.leave(visit.sender)
        self._slot.arrived()

    def receives(self, visit: Visit, size: int) -> ErrorResponse | None:
        """Counts more bytes of a body that have arrived; returns why they can't be accepted."""
        if visit.body_bytes + size > visit.most_bytes:
            return errors.too_large(visit.most_bytes)
        if refusal := self._take(visit, size):
            return refusal
        visit.body_bytes += size
        return None

    def reads(self, visit: Visit, body: Body) -> ErrorResponse | None:
        """Counts what was read of a body; returns why there is no room for what the engine will make of it."""
        return self._take(visit, visit.body_bytes + body.memory - visit.memory)

    def _take(self, visit: Visit, size: int) -> ErrorResponse | None:
        if refusal := self._body_memory.take(visit.owner, size, has=visit.memory):
            return refusal
        visit.memory += size
        return None

    def body_of(self, visit: Visit) -> Body | None:
        """Returns the checks for its body; None if only the engine judges it."""
        if visit.supervisor or visit.takes is not BodyKind.JSON:
            return None
        owns = partial(self._responses.are_of, visit.owner) if self._keys and visit.path == RESPONSES else None
        return Body(visit.path, self.settings, owns=owns)

    def _facts(self, method: str, path: str, headers: Headers, client: str, now: float) -> RequestFacts:
        facts = RequestFacts(method, path, self._routes.find(method, path))
        facts.preflight = method == "OPTIONS" and self._routes.exists(path)
        facts.supervisor = hmac.compare_digest(
            headers.get(SUPERVISOR, "").encode(errors="replace"), self._slot.secret.encode()
        )
        if self._keys:
            key = _key(headers)
            facts.key_shown = bool(key)
            if facts.route and facts.route.kind is not RouteKind.OPEN and not facts.supervisor:
                facts.owner, facts.wait_for_keys = self._keys.check(key, client=client)
            facts.foreign = facts.owner is not None and self._is_foreign(facts.route, path, facts.owner)
        facts.chunked = "transfer-encoding" in headers
        facts.content_length = _number(headers.get("content-length", "0"))
        self._add_limits(facts, facts.owner or ANONYMOUS, now)
        return facts

    def _add_limits(self, facts: RequestFacts, owner: str, now: float) -> None:
        facts.mode, facts.retry_after = self._slot.mode, self._slot.retry_after
        facts.has_others = self._keys is not None and self._keys.owners > 1
        facts.in_flight = self._limits.in_flight
        facts.in_flight_of_owner, facts.wait = self._limits.of(owner), self._limits.wait(owner, now)
        facts.wait_for_tokens = self._limits.wait_for_tokens(owner, now)

    def _is_foreign(self, route: Route | None, path: str, owner: str) -> bool:
        """Where there are no keys, any client that knows a response's id may have it: ids can't be guessed."""
        if route is None or not route.path.startswith(RESPONSES + "/*"):
            return False
        return not self._responses.are_of(owner, path.split("/")[3])

    def refuse(self, visit: Visit, refusal: ErrorResponse) -> None:
        visit.status, visit.reason = refusal.status, refusal.code
        self._metrics.refused(visit.owner, refusal.code)

    def aborted(self, visit: Visit) -> ErrorResponse:
        """Records that the engine gave up without reporting an error; returns the error for the client."""
        refusal = errors.aborted(self._slot.retry_after)
        self.refuse(visit, refusal)
        return refusal

    def piece(self, visit: Visit) -> None:
        """Counts a piece of the response that has been read and passes on now."""
        waited = not visit.first
        tokens = visit.piece(self.clock())
        if not visit.work:
            return
        self._charge(visit, visit.tokens)
        if waited:
            self._slot.answering()
        self._slot.tokens(tokens)
        if self._keys and visit.path == RESPONSES and visit.reading and visit.reading.response_id:
            self._responses.made(visit.reading.response_id, visit.owner)

    def _charge(self, visit: Visit, tokens: int) -> None:
        """Charges the owner for the tokens that are known by now, less those that were charged before."""
        if self.settings.tokens_per_minute_per_key and (more := tokens - visit.charged):
            visit.charged = tokens
            self._limits.tokens.take(visit.owner, more, self.clock())

    def own_headers(self, visit: Visit) -> list[tuple[str, str]]:
        """Returns our own headers: the request's id and trace, and the tokens that its owner has left."""
        told = [("x-request-id", visit.request_id), ("traceparent", visit.trace.traceparent())]
        if (
            (limit := self.settings.tokens_per_minute_per_key)
            and visit.kind is RouteKind.WORK
            and visit.owner != NO_OWNER
        ):
            left = max(0, int(self._limits.tokens.left(visit.owner, self.clock())))
            told += [("x-ratelimit-limit-tokens", str(limit)), ("x-ratelimit-remaining-tokens", str(left))]
        return told

    def failed(self, visit: Visit) -> ErrorResponse:
        refusal = errors.engine_failed(self._slot.retry_after)
        self.refuse(visit, refusal)
        return refusal

    def broken(self, visit: Visit, error: Exception) -> ErrorResponse:
        """Logs an exception of the engine's app. It may quote anyone's words, so the client gets a fixed sentence."""
        access_log.write_failure(visit, error)
        self.refuse(visit, errors.BROKEN)
        return errors.BROKEN

    def take(self, visit: Visit) -> None:
        """The request leaves the engine's queue."""
        visit.taken = self.clock()
        if self._metrics.queued:
            self._metrics.queued.dec()
        if self._metrics.running:
            self._metrics.running.change(visit.prompts * visit.answers)
        if self._metrics.queue:
            self._metrics.queue.observe(visit.taken - visit.admitted, self._exemplar(visit))

    def traces(self, visit: Visit) -> bool:
        """Returns whether the request gets a span, which then is the parent of the engine's own."""
        return self._tracer is not None and visit.work and visit.owner != NO_OWNER

    def leave(self, visit: Visit) -> None:
        visit.ended = self.clock()
        if self._tracer and visit.trace.sampled and self.traces(visit):
            self._tracer.send(visit)
        if visit in self._arriving:
            self._has_arrived(visit)
        if visit in self._in_flight:
            del self._in_flight[visit]
            self._limits.leave(visit.owner)
            if visit.work:
                self._finish(visit)
        if visit.memory:
            self._body_memory.leave(visit.owner, visit.memory)
        if visit.supervisor or visit.kind is RouteKind.OPEN:
            return  # probes are many, and say nothing about the clients of the model
        self._metrics.answered(visit.owner, visit.path, visit.status)
        if self.settings.access_log:
            access_log.write(visit)

    def _finish(self, visit: Visit) -> None:
        prompt, output = visit.tokens_at_the_end
        self._charge(visit, prompt + output)
        self._metrics.in_flight.dec()
        self._report_tokens()
        self._slot.end(waiting=not visit.first, done=visit.done, failed=visit.failed)
        if visit.taken and self._metrics.running:
            self._metrics.running.change(-visit.prompts * visit.answers)
        if self._metrics.queued and not visit.taken:
            self._metrics.queued.dec()
        series = self._metrics.of(visit.owner)
        series.prompt_tokens.inc(prompt)
        series.completion_tokens.inc(output)
        self._measure(visit)

    def _measure(self, visit: Visit) -> None:
        if visit.reason or visit.status != 200:
            return  # how fast an error was sent says nothing about the model
        metrics, exemplar = self._metrics, self._exemplar(visit)
        metrics.whole.observe(visit.ended - visit.started, exemplar)
        if visit.stream:
            metrics.first_token.observe(visit.first - visit.started, exemplar)
        if (per_token := visit.per_token) is not None:
            metrics.per_token.observe(per_token, exemplar)
        if self.gaps and exemplar and visit.longest_gap:
            self.gaps.exemplify(visit.longest_gap, visit.trace.trace_id)

    def _exemplar(self, visit: Visit) -> dict[str, str] | None:
        """Returns the labels by which a histogram names the request's trace; None if it isn't sent."""
        return {"trace_id": visit.trace.trace_id} if visit.trace.sampled and self.traces(visit) else None

    def start_sync(self) -> None:
        """Starts the regular exchange with the supervisor, if it isn't running."""
        if self._next_sync is None:
            self._sync()

    def _report_tokens(self) -> None:
        self._slot.tokens(self.unreported)
        self.unreported = 0

    def _sync(self) -> None:
        self._slot.beat()
        self._report_tokens()
        if self.settings.tokens_per_minute_per_key:
            for visit in self._in_flight:
                self._charge(visit, visit.tokens)
        mode, retry_after = self._slot.mode, self._slot.retry_after
        if mode == GuardMode.ENDING:
            _cut(self._in_flight.items(), errors.cut(retry_after))
        if mode != GuardMode.SERVING:
            _cut(self._arriving.items(), errors.draining(retry_after))
        elif self._arriving:
            now = self.clock()
            _cut((each for each in self._arriving.items() if each[0].is_late(now)), errors.TOO_SLOW)
        self._next_sync = asyncio.get_running_loop().call_later(SYNC_EVERY, self._sync)

    def close(self) -> None:
        if self._tracer:
            self._tracer.close()
        if self._next_sync:
            self._next_sync.cancel()
            self._next_sync = None


def _cut(visits: Iterable[tuple[Visit, asyncio.Task[object] | None]], response: ErrorResponse) -> None:
    for visit, task in visits:
        if task and not visit.cut:
            visit.cut = response
            task.cancel()


def _key(headers: Headers) -> bytes:
    """Returns the key as the client's bytes, which the headers have as Latin-1."""
    scheme, _, key = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        key = headers.get("x-api-key", headers.get("api-key", ""))
    return key.encode("latin-1").strip()


def _number(text: str) -> int:
    """Reads a Content-Length; the server has refused invalid ones."""
    return (int(text) if len(text) < 20 else 10**20) if text.isdecimal() else 0
