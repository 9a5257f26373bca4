"""How many replicas a model needs so that its times meet their targets: what `scaling.target` asks for. Pure.

| what is seen | replicas |
|---|---|
| a time is above its target | more by the root of how far it is above it, at most twice as many as serve now |
| … but replicas are still loading | they count as if they served already: a slow start isn't answered twice |
| … but no replica has two requests at a time | the same: more replicas would serve each request no faster |
| … but requests in flight become fewer | the same: those that are there catch up |
| all times are far below their targets | fewer, if the times and the load of the others then fit |
| too few requests in the first minute | the same |
| too few requests for longer | as many as the requests in flight need; without more requests than replicas, fewer |

Far below means: if the time grew as the load of each replica does when one is gone, it would still be below the target,
with a margin. A time rises much faster than the load where requests start to wait for one another: therefore the root.
The load fits if it is below that at which a target was last missed. No replica is removed in the first
minute with the present ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from slipway.activator.shared.by_times import ByTimes
from slipway.activator.tracking.measured_times import SPANS, Measured

TOLERANCE = 0.1
MARGIN = 0.8  # of the target, and of the load at which it was last missed: what one replica less may reach
MEASURES_FOR = 15.0  # seconds, before a replica is added
REMEMBERS_FOR = 6 * 3600.0  # seconds, the load at which a target was missed

TOO_FINE = 0.1
"""A HorizontalPodAutoscaler ignores a change of the number of replicas by so much, or less."""


@dataclass(frozen=True, kw_only=True)
class Replicas:
    """Of one model."""

    ready: int
    wanted: int  # that its Deployment has, whether they are ready or not
    concurrency: int  # requests at a time, of one


@dataclass(frozen=True)
class Missed:
    """When a target was missed with so many requests per second and replica."""

    at: float
    rate: float


class ScalingByTimes:
    """Of one model, while it is known; it remembers how much load was too much. The clock is an argument."""

    def __init__(self) -> None:
        self._missed: Missed | None = None

    def decide(self, targets: Mapping[str, float], measured: Measured, replicas: Replicas, now: float) -> ByTimes:
        """`targets`: in seconds, by the names of the times."""
        ratios = {name: measured.seconds[name] / target for name, target in targets.items() if name in measured.seconds}
        if not replicas.ready or not ratios:
            return _without_times(measured, replicas)
        worst = max(ratios, key=lambda name: ratios[name])
        number = replicas.wanted
        if ratios[worst] > 1 + TOLERANCE:
            number = self._more(ratios[worst], measured, replicas, now)
        elif self._fits_fewer(ratios[worst], measured, replicas, now):
            number = _fewer(replicas.wanted)
        seconds = float(f"{measured.seconds[worst]:.2g}")  # a change that no one would notice isn't one
        return ByTimes(number, follows=worst, seconds=seconds, target=targets[worst])

    def _more(self, ratio: float, measured: Measured, replicas: Replicas, now: float) -> int:
        if measured.observed_for < MEASURES_FOR or measured.is_falling:
            return replicas.wanted
        factor = min(math.sqrt(ratio), 2.0)
        needed = min(math.ceil(replicas.ready * factor), math.floor(measured.most_in_flight))
        if needed > replicas.ready:
            self._missed = Missed(now, measured.rate / replicas.ready)
        return _more(replicas.wanted, needed)

    def _fits_fewer(self, ratio: float, measured: Measured, replicas: Replicas, now: float) -> bool:
        left = _fewer(replicas.wanted)
        if left < 1 or replicas.ready < replicas.wanted or measured.observed_for < SPANS[0]:
            return False
        if ratio * replicas.ready / left > MARGIN or measured.most_in_flight > left * replicas.concurrency:
            return False
        missed = self._missed
        return missed is None or now - missed.at > REMEMBERS_FOR or measured.rate / left < MARGIN * missed.rate


def _without_times(measured: Measured, replicas: Replicas) -> ByTimes:
    """There is no percentile: none is ready, or too few requests have been observed. At first that says nothing, and
    the number stays: otherwise each pod that is replaced would add replicas that the times don't need.
    """
    if replicas.ready and measured.observed_for < SPANS[0]:
        return ByTimes(replicas.wanted)
    left = _fewer(replicas.wanted)
    fits_fewer = 0 < replicas.ready >= replicas.wanted and left >= 1 and measured.most_in_flight <= left
    return ByTimes(left if fits_fewer else replicas.wanted, by_requests=True)


def _more(wanted: int, needed: int) -> int:
    """At least so many that it makes a difference to the HorizontalPodAutoscaler."""
    return max(needed, math.floor(wanted * (1 + TOO_FINE)) + 1) if needed > wanted else wanted


def _fewer(wanted: int) -> int:
    return min(wanted - 1, math.ceil(wanted * (1 - TOO_FINE)) - 1)
