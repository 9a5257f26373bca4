"""The guard's metrics for Prometheus. Owners of keys beyond the first few are counted together, as "other".

Histograms are of all keys together. To render a thousand samples takes some 6 ms, in which no client gets a token, and
a histogram for each key has that many.
"""

import time
from collections.abc import Callable
from functools import cached_property

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from slipway_runtime.contract.buckets import FIRST_TOKEN_BUCKETS, REQUEST_BUCKETS, TOKEN_BUCKETS
from slipway_runtime.guard.gaps import Gaps
from slipway_runtime.guard.running import Running

MOST_OWNERS = 32
OTHER = "other"


class GuardMetrics:
    """`in_place_of_engine`: also what other engines measure on their own, and this one doesn't."""

    def __init__(
        self,
        registry: CollectorRegistry,
        model: str,
        *,
        in_place_of_engine: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._model = model
        self._names: set[str] = set()
        self._owners: dict[str, OfOwner] = {}
        self._answers: dict[tuple[str, str, int], Counter] = {}
        self._refusals: dict[tuple[str, str], Counter] = {}
        self.in_flight = self._gauge("in_flight", "Requests that the engine has accepted and not answered yet.")
        """Exists from the start: an autoscaler takes a missing series for a broken one."""
        self.first_token = self._histogram(
            "time_to_first_token", "From a request to the first piece of its stream.", FIRST_TOKEN_BUCKETS
        )
        self.per_token = self._histogram(
            "time_per_output_token", "Time per token of a stream, after the first one.", TOKEN_BUCKETS
        )
        self.whole = self._histogram("request", "From a request to the end of its response.", REQUEST_BUCKETS)
        self.queue: Histogram | None = None
        self.queued: Gauge | None = None
        self.gaps: Gaps | None = None
        self.running: Running | None = None
        if in_place_of_engine:
            self.queue = self._histogram(
                "queue", "From a request's complete body until the engine gets it. For llama.cpp.", REQUEST_BUCKETS
            )
            self.queued = self._gauge("queued", "Requests that wait until the engine gets them. For llama.cpp.")
            self.gaps, self.running = Gaps(model), Running(model, clock)
            registry.register(self.gaps)
            registry.register(self.running)

    def of(self, owner: str) -> "OfOwner":
        name = self._name(owner)
        if name not in self._owners:
            self._owners[name] = OfOwner(self, name)
        return self._owners[name]

    def answered(self, owner: str, path: str, status: int) -> None:
        key = (self._name(owner), path, status)
        if key not in self._answers:
            self._answers[key] = self._requests.labels(self._model, key[0], path, str(status))
        self._answers[key].inc()

    def refused(self, owner: str, code: str) -> None:
        key = (self._name(owner), code)
        if key not in self._refusals:
            self._refusals[key] = self._refused.labels(self._model, *key)
        self._refusals[key].inc()

    def spans(self, outcome: str, number: int) -> None:
        self._spans.labels(self._model, outcome).inc(number)

    def _name(self, owner: str) -> str:
        if owner not in self._names and len(self._names) >= MOST_OWNERS:
            return OTHER
        self._names.add(owner)
        return owner

    def _gauge(self, name: str, told: str) -> Gauge:
        labels, registry = ["model_name"], self._registry
        gauge = Gauge(f"slipway_requests_{name}", told, labels, registry=registry, multiprocess_mode="livesum")
        return gauge.labels(self._model)

    @cached_property
    def _requests(self) -> Counter:
        labels = ["model_name", "key", "path", "status"]
        return Counter("slipway_requests", "Answers, by HTTP status.", labels, registry=self._registry)

    @cached_property
    def _refused(self) -> Counter:
        told = "Requests that the guard refused or cut off, by reason."
        return Counter("slipway_refusals", told, ["model_name", "key", "reason"], registry=self._registry)

    @cached_property
    def _spans(self) -> Counter:
        told = "Spans of traces, sent to the collector or dropped."
        return Counter("slipway_spans", told, ["model_name", "outcome"], registry=self._registry)

    @cached_property
    def tokens(self) -> Counter:
        told = "Tokens, as responses report them; else the events of a stream, or an estimate by its text if higher."
        return Counter("slipway_tokens", told, ["model_name", "key", "kind"], registry=self._registry)

    def _histogram(self, name: str, told: str, buckets: tuple[float, ...]) -> Histogram:
        metric = Histogram(f"slipway_{name}_seconds", told, ["model_name"], buckets=buckets, registry=self._registry)
        return metric.labels(self._model)

    @property
    def model(self) -> str:
        return self._model


class OfOwner:
    """The series of one owner, looked up once."""

    def __init__(self, metrics: GuardMetrics, owner: str) -> None:
        labels = (metrics.model, owner)
        self.prompt_tokens = metrics.tokens.labels(*labels, "prompt")
        self.completion_tokens = metrics.tokens.labels(*labels, "completion")
