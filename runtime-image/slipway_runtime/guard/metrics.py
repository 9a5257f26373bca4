"""The guard's metrics for Prometheus. Owners of keys beyond the first few are counted together, as "other"."""

from functools import cached_property

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

MOST_OWNERS = 32
OTHER = "other"

_UP_TO_MINUTES = (0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.15, 0.25, 0.5, 0.75, 1, 2.5, 5, 10, 20, 40, 80, 160)
_PER_TOKEN = (0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.4, 0.8, 2)
_WHOLE = (0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60, 120, 240, 480, 960)


class GuardMetrics:
    def __init__(self, registry: CollectorRegistry, model: str) -> None:
        self._registry = registry
        self._model = model
        self._names: set[str] = set()
        self._owners: dict[str, OfOwner] = {}
        self._answers: dict[tuple[str, str, int], Counter] = {}
        self._refusals: dict[tuple[str, str], Counter] = {}
        self.in_flight = self._gauge().labels(model)
        """Exists from the start: an autoscaler takes a missing series for a broken one."""

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

    def _gauge(self) -> Gauge:
        told = "Requests that the engine has accepted and not answered yet."
        labels = ["model_name"]
        return Gauge("slipway_requests_in_flight", told, labels, registry=self._registry, multiprocess_mode="livesum")

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

    @cached_property
    def first_token(self) -> Histogram:
        return self._histogram(
            "time_to_first_token", "From a request to the first piece of its stream.", _UP_TO_MINUTES
        )

    @cached_property
    def per_token(self) -> Histogram:
        return self._histogram("time_per_output_token", "Time per token of a stream, after the first one.", _PER_TOKEN)

    @cached_property
    def whole(self) -> Histogram:
        return self._histogram("request", "From a request to the end of its response.", _WHOLE)

    def _histogram(self, name: str, told: str, buckets: tuple[float, ...]) -> Histogram:
        labels = ["model_name", "key"]
        return Histogram(f"slipway_{name}_seconds", told, labels, buckets=buckets, registry=self._registry)

    @property
    def model(self) -> str:
        return self._model


class OfOwner:
    """The series of one owner, looked up once."""

    def __init__(self, metrics: GuardMetrics, owner: str) -> None:
        labels = (metrics.model, owner)
        self.prompt_tokens = metrics.tokens.labels(*labels, "prompt")
        self.completion_tokens = metrics.tokens.labels(*labels, "completion")
        self.first_token = metrics.first_token.labels(*labels)
        self.per_token = metrics.per_token.labels(*labels)
        self.whole = metrics.whole.labels(*labels)
