"""Which times the replicas of one model follow, by `scaling.target`, and how many replicas that needs. Pure.

They follow the requests in flight where a spec has no times, and where an engine has no histogram of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from slipway.activator.shared.by_times import ByTimes
from slipway.activator.tracking.engine_metrics import MetricsReading
from slipway.activator.tracking.histograms import Times
from slipway.activator.tracking.measured_times import MeasuredTimes
from slipway.activator.tracking.pod_summary import PodSummary, of_the_newest_version
from slipway.activator.tracking.scaling_by_times import Replicas, ScalingByTimes
from slipway.api import units
from slipway.api.engine import engine_name
from slipway.api.model_key import ModelKey
from slipway.api.scaling import ScalingSpec
from slipway.objects.kinds import Object
from slipway.observing.following import OF_NAMESPACE, those_that_follow
from slipway.observing.objectives import followable, histograms_of

MOST_REPLICAS = 1000
DECIDES_EVERY = 1.0  # seconds


def followed(deployment: Object, scaling: ScalingSpec) -> Times:
    """The histograms to read, by the times that replicas follow; empty: they follow none."""
    histograms = histograms_of(engine_name(deployment["spec"]))
    return tuple((name, histograms[name]) for name in targets_of(scaling) if name in histograms)


def targets_of(scaling: ScalingSpec) -> Mapping[str, float]:
    """In seconds."""
    return {name: units.seconds(target) for name, target in followable(scaling).items()}


def replicas_of(deployment: Object, pods: Sequence[PodSummary], concurrency: int) -> Replicas:
    """The Deployment's number is in the status. It may be late, and pods of the newest version are never more than it;
    those of an older one are, during an update."""
    counted = ((deployment.get("status") or {}).get("replicas") or {}).get("desired")
    desired = min(max(counted, 0), MOST_REPLICAS) if type(counted) is int else 0
    newest = [pod for pod in of_the_newest_version(pods) if not pod.is_leaving and (pod.is_ready or pod.is_coming)]
    wanted = max(desired, len(newest))
    ready = sum(pod.is_ready for pod in pods)
    return Replicas(ready=min(ready, wanted), wanted=wanted, concurrency=concurrency)


class Followers:
    """The models that want to follow times, and which of them may. The clock is an argument."""

    def __init__(self) -> None:
        self._wanting: dict[ModelKey, str] = {}
        self._may: frozenset[ModelKey] = frozenset()
        self._computed_at = float("-inf")

    def may_follow(self, deployment: Object, now: float) -> bool:
        """From now on, it wants to. One that is new may have to wait for a second."""
        self._wanting[ModelKey.of(deployment)] = str(deployment["metadata"].get("creationTimestamp"))
        if now - self._computed_at >= DECIDES_EVERY or len(self._wanting) <= OF_NAMESPACE:
            self._may, self._computed_at = those_that_follow(self._wanting), now
        return ModelKey.of(deployment) in self._may

    def forget(self, key: ModelKey) -> None:
        self._wanting.pop(key, None)


class FollowedTimes:
    """Of one model, while its replicas follow times. The clock is an argument."""

    def __init__(self) -> None:
        self._times, self._scaling = MeasuredTimes(), ScalingByTimes()
        self._decided: ByTimes | None = None
        self._decided_for: object = None
        self._decided_at = 0.0

    def record(self, uid: str, reading: MetricsReading, in_flight: float, now: float) -> None:
        self._times.record(uid, reading, in_flight, now)

    def decide(self, targets: Mapping[str, float], replicas: Replicas, ready: frozenset[str], now: float) -> ByTimes:
        """`ready`: the uids of the pods."""
        self._times.follow(ready, now)
        question = targets, replicas, ready
        if self._decided is None or self._decided_for != question or now - self._decided_at >= DECIDES_EVERY:
            self._decided = self._scaling.decide(targets, self._times.measured(now), replicas, now)
            self._decided_for, self._decided_at = question, now
        return self._decided
