"""The demand of all replicas of the activator as one, so that each of them gives KEDA the same answers. Pure.

What others count is remembered for a while when they fall silent: they may hold requests though we don't hear them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from slipway.activator.shared.demand import Demand, ModelDemand
from slipway.activator.shared.model_key import ModelKey

EXPIRES_AFTER = 10.0  # seconds of silence after which a replica is taken for gone, and its requests with it
MOST_COUNTED = 20_000  # deployments of which one replica is believed that it wants them: twice as many as it has ports


MOST_WAITING = 1_000_000  # the highest limit of --max-requests: no replica holds more


@dataclass(frozen=True)
class PeerCount:
    """What one replica counts of one deployment. What can't be true is taken for the nearest that can."""

    deployment: ModelKey
    active: bool
    waiting: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "waiting", max(0, min(self.waiting, MOST_WAITING)))


class FleetDemand:
    """`own` is what is wanted here; `all` becomes what is wanted everywhere. The clock is an argument."""

    def __init__(self, own: Demand) -> None:
        self._own = own
        self.all = Demand()
        self._theirs: dict[str, dict[ModelKey, PeerCount]] = {}
        self._heard: dict[str, float] = {}
        own.listen(lambda deployment, _: self._tell(deployment))
        for deployment in own:
            self._tell(deployment)

    @property
    def peers(self) -> int:
        return len(self._heard)

    def hear(self, peer: str, counts: Iterable[PeerCount], now: float, *, anew: bool = False) -> None:
        """`anew`: these are all that it counts, so it may have begun anew and what it said before is void."""
        before = self._theirs.get(peer, {})
        after = {} if anew else dict(before)
        after.update((count.deployment, count) for count in counts)
        wanted = (each for each in after.values() if each.active or each.waiting)
        self._theirs[peer] = {each.deployment: each for each in islice(wanted, MOST_COUNTED)}
        self._heard[peer] = now
        for deployment in before.keys() | after.keys():
            self._tell(deployment)

    def lose(self, peer: str) -> None:
        """It is gone for good, and its requests with it."""
        self._heard.pop(peer, None)
        for deployment in self._theirs.pop(peer, {}):
            self._tell(deployment)

    def expire(self, now: float) -> None:
        for peer in [peer for peer, heard in self._heard.items() if now - heard > EXPIRES_AFTER]:
            self.lose(peer)

    def _tell(self, deployment: ModelKey) -> None:
        if deployment not in self._own:
            self.all.forget(deployment)
            return
        own = self._own.of(deployment)
        theirs = [counts[deployment] for counts in self._theirs.values() if deployment in counts]
        self.all.report(deployment, _sum(own, theirs) if theirs else own)


def _sum(own: ModelDemand, theirs: list[PeerCount]) -> ModelDemand:
    """Each asks the engines itself what they have; only what waits is to be added up."""
    return own._replace(
        active=own.active or any(count.active for count in theirs),
        waiting=own.waiting + sum(count.waiting for count in theirs),
    )
