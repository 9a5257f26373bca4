"""What models do now, from their status, from the metrics of their pods, and from those of the activators. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from slipway.objects.kinds import Object

from slipway_cli.cluster.metrics import Buckets, Reading, added, between, quantile, rate, series_in
from slipway_cli.cluster.state import State

WINDOW = 60.0  # seconds, of which the times are
HELD = "slipway_activator_held"
Pod = tuple[str, str]  # namespace, name
NAMESPACE, MODEL = "namespace", "llmdeployment"

SOURCES = {
    "state": "status.state",
    "ready": "status.replicas",
    "inFlight": "the engine's gauges, of all pods, by their /metrics",
    "held": f"{HELD}, of all activators, by their /metrics",
    "tokensPerSecond": "the engine's counter of output tokens, between two readings; llama.cpp's grows at the end of a "
    "request",
    "promptTokensPerSecond": "the engine's counter of prompt tokens, between two readings",
    "firstToken": f"95th percentile, by the engine's or the guard's histogram: of the last {WINDOW:.0f} s; with *: "
    "since the pods started",
    "perToken": "95th percentile of the time per output token, likewise",
    "kvCache": "the engine's gauge, the mean of all pods; llama.cpp has none",
    "perHour": "status.cost.perHour",
}
"""Where each value is from."""


@dataclass
class History:
    """The readings of each pod in the last seconds."""

    pods: dict[Pod, deque[Reading]] = field(default_factory=dict)

    def add(self, readings: Mapping[Pod, Reading]) -> None:
        """Pods that are gone are forgotten; one that didn't answer keeps what is known of it."""
        for pod, reading in readings.items():
            known = self.pods.setdefault(pod, deque())
            known.append(reading)
            while known[0].at < reading.at - WINDOW and len(known) > 2:
                known.popleft()

    def keep(self, pods: Iterable[Pod]) -> None:
        there = set(pods)
        self.pods = {pod: known for pod, known in self.pods.items() if pod in there}


@dataclass(frozen=True)
class Use:
    """Of one model. None: it isn't known."""

    state: State
    in_flight: float | None
    held: float | None
    tokens: float | None  # per second
    prompt_tokens: float | None
    ttft: float | None  # seconds
    tpot: float | None
    is_since_start: bool  # the times are of all requests since the pods started
    kv: float | None

    @property
    def busyness(self) -> tuple[float, ...]:
        return ((self.in_flight or 0) + (self.held or 0), self.tokens or 0, self.state.ready)


def use_of(state: State, pods: Sequence[Pod], history: History, held: Mapping[tuple[str, str], float] | None) -> Use:
    """`held`: of all models; None: no activator could be read."""
    known = [each for pod in pods if (each := history.pods.get(pod))]
    last = [each[-1] for each in known]
    first = [each[0] for each in known]
    recent = [_times(one, other) for one, other in zip(first, last, strict=True)]
    ttft, tpot = added(each[0] for each in recent), added(each[1] for each in recent)
    is_since_start = not quantile(0.5, ttft) and not quantile(0.5, tpot)
    if is_since_start:
        ttft, tpot = added(each.ttft for each in last), added(each.tpot for each in last)
    kv = [each.kv_usage for each in last if each.kv_usage is not None]
    return Use(
        state=state,
        in_flight=_sum(each.in_flight for each in last) if known or state.ready else 0.0,
        held=None if held is None else held.get((state.namespace, state.name), 0.0),
        tokens=_rates(known, "output_tokens") if known or state.ready else 0.0,
        prompt_tokens=_rates(known, "prompt_tokens") if known or state.ready else 0.0,
        ttft=quantile(0.95, ttft),
        tpot=quantile(0.95, tpot),
        is_since_start=is_since_start,
        kv=sum(kv) / len(kv) if kv else None,
    )


def _times(before: Reading, after: Reading) -> tuple[Buckets, Buckets]:
    if before is after:
        return {}, {}
    return between(before.ttft, after.ttft), between(before.tpot, after.tpot)


def _sum(values: Iterable[float | None]) -> float | None:
    known = [each for each in values if each is not None]
    return sum(known) if known else None


def _rates(known: Sequence[deque[Reading]], counter: str) -> float | None:
    pairs = [(each[-2], each[-1]) for each in known if len(each) > 1]
    return _sum(rate(getattr(one, counter), getattr(other, counter), other.at - one.at) for one, other in pairs)


def held_in(texts: Iterable[str]) -> dict[tuple[str, str], float]:
    """By namespace and name, in all activators together."""
    found: dict[tuple[str, str], float] = {}
    for text in texts:
        for labels, value in series_in(text, [HELD]).get(HELD, []):
            key = (labels.get(NAMESPACE, ""), labels.get(MODEL, ""))
            found[key] = found.get(key, 0.0) + value
    return found


ORDERS = {
    "busy": lambda use: (tuple(-each for each in use.busyness), use.state.namespace, use.state.name),
    "name": lambda use: (use.state.namespace, use.state.name),
    "tokens": lambda use: (-(use.tokens or 0), use.state.namespace, use.state.name),
    "cost": lambda use: (-(use.state.per_hour or 0), use.state.namespace, use.state.name),
}


def as_members(use: Use) -> dict[str, Any]:
    state = use.state
    times = "sincePodsStarted" if use.is_since_start else "lastMinute"
    members = {
        "name": state.name,
        "namespace": state.namespace,
        "state": state.word,
        "ready": state.ready,
        "desired": state.desired,
        "inFlight": use.in_flight,
        "held": use.held,
        "tokensPerSecond": _rounded(use.tokens, 1),
        "promptTokensPerSecond": _rounded(use.prompt_tokens, 1),
        "secondsToFirstTokenP95": _rounded(use.ttft, 4),
        "secondsPerTokenP95": _rounded(use.tpot, 5),
        "timesOf": times if use.ttft is not None or use.tpot is not None else None,
        "kvCacheUsage": _rounded(use.kv, 4),
        "perHour": state.per_hour,
    }
    return {name: value for name, value in members.items() if value is not None}


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def pods_by_model(pods: Iterable[Object], owner: str) -> dict[tuple[str, str], list[Pod]]:
    """Those that run, by the namespace and name of their model. `owner`: the label."""
    found: dict[tuple[str, str], list[Pod]] = {}
    for each in pods:
        metadata = each["metadata"]
        namespace = str(metadata.get("namespace") or "")
        if (each.get("status") or {}).get("phase") == "Running" and "deletionTimestamp" not in metadata:
            model = str((metadata.get("labels") or {}).get(owner) or "")
            found.setdefault((namespace, model), []).append((namespace, str(metadata["name"])))
    return found
