"""The demand of all replicas of the activator as one, so that each of them gives KEDA the same answers.

What a replica counts is remembered for a while after it falls silent: it may hold requests though it can't be reached.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from slipway.activator.shared.demand import Demand, ModelDemand
from slipway.api.model_key import ModelKey

EXPIRES_AFTER = 10.0  # seconds of silence after which a replica counts as gone, and its requests with it
MOST_COUNTED = 20_000  # models for which the demand of one replica is accepted: twice as many as it has ports
MOST_WAITING = 1_000_000  # the highest value of --max-requests: no replica holds more


@dataclass(frozen=True)
class PeerCount:
    """What one replica counts of one model. A number that can't be true is replaced by the nearest that can."""

    key: ModelKey
    active: bool
    waiting: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "waiting", max(0, min(self.waiting, MOST_WAITING)))


class FleetDemand:
    """`own`: the demand here; `all`: the demand everywhere. The clock is an argument."""

    def __init__(self, own: Demand) -> None:
        self._own = own
        self.all = Demand()
        self._of_peers: dict[str, dict[ModelKey, PeerCount]] = {}
        self._heard: dict[str, float] = {}
        own.listen(lambda key, _: self._report(key))
        for key in own:
            self._report(key)

    @property
    def peers(self) -> int:
        return len(self._heard)

    def record(self, peer: str, counts: Iterable[PeerCount], now: float, *, complete: bool = False) -> None:
        """`complete`: these are all of its counts, so earlier ones are void; it may have restarted."""
        before = self._of_peers.get(peer, {})
        after = {} if complete else dict(before)
        after.update((count.key, count) for count in counts)
        wanted = (each for each in after.values() if each.active or each.waiting)
        self._of_peers[peer] = {each.key: each for each in islice(wanted, MOST_COUNTED)}
        self._heard[peer] = now
        for key in before.keys() | after.keys():
            self._report(key)

    def lose(self, peer: str) -> None:
        """It is permanently gone, and its requests with it."""
        self._heard.pop(peer, None)
        for key in self._of_peers.pop(peer, {}):
            self._report(key)

    def expire(self, now: float) -> None:
        for peer in [peer for peer, heard in self._heard.items() if now - heard > EXPIRES_AFTER]:
            self.lose(peer)

    def _report(self, key: ModelKey) -> None:
        if key not in self._own:
            self.all.forget(key)
            return
        own = self._own.of(key)
        of_peers = [counts[key] for counts in self._of_peers.values() if key in counts]
        self.all.report(key, _sum(own, of_peers) if of_peers else own)


def _sum(own: ModelDemand, of_peers: list[PeerCount]) -> ModelDemand:
    """Each replica reads from the engines what they have; only requests that wait are added up."""
    return own._replace(
        active=own.active or any(count.active for count in of_peers),
        waiting=own.waiting + sum(count.waiting for count in of_peers),
    )
