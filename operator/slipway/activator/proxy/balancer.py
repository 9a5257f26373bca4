"""Load balancing: which replica gets the next request. Pure: the clock is an argument.

The rule is in `Balancer.pick`: of the replicas that have capacity and are not backing off, the one with the fewest
requests in flight; of several such, the one that was picked longest ago.

A replica that admits no requests is left alone for a while. One at which a request fails is not, since that may be the
fault of the request, and others would wait for it: only this request avoids the replica for a while.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable
from dataclasses import dataclass, field

from slipway.activator.shared.replica import Replica, ReplicaAddress

FIRST_BACKOFF, LONGEST_BACKOFF = (
    0.1,
    2.0,
)  # seconds for which a failed replica is left alone; doubled each time
DIFFERENT = 8  # clients in a row whose requests failed at a replica, until that counts as the replica's fault


def backoff(failures: int) -> float:
    """Seconds to stay away after so many failures before this one."""
    return min(FIRST_BACKOFF * 2.0 ** min(failures, 16), LONGEST_BACKOFF)


@dataclass
class _ReplicaLoad:
    in_flight: int = 0
    backoffs: int = 0  # since its last success
    backs_off_until: float = 0.0
    failed: set[Hashable] = field(default_factory=set)  # clients whose requests failed since its last success
    last_pick: int = 0


class Balancer:
    """The replicas of one model, and the requests that each of them has from here."""

    def __init__(self) -> None:
        self._ready: dict[ReplicaAddress, Replica] = {}
        self._loads: dict[ReplicaAddress, _ReplicaLoad] = {}
        self._picks = 0

    def __bool__(self) -> bool:
        """Whether any replica is ready."""
        return bool(self._ready)

    @property
    def in_flight(self) -> int:
        return sum(load.in_flight for load in self._loads.values())

    @property
    def addresses(self) -> frozenset[ReplicaAddress]:
        return frozenset(self._ready)

    def set(self, ready: Iterable[Replica]) -> None:
        """The replicas that are ready now, and no others."""
        before = self._ready.keys()
        self._ready = {replica.address: replica for replica in ready}
        for address in self._ready:
            self._loads.setdefault(address, _ReplicaLoad())
        for address in before - self._ready.keys():
            self._forget_if_unused(address)

    def pick(self, now: float, avoided: Collection[ReplicaAddress] = ()) -> Replica | None:
        """The one with the fewest requests in flight; of several such, the one that was picked longest ago."""
        best, least = None, (0, 0)
        for address, replica in self._ready.items():
            load = self._loads[address]
            if load.in_flight < replica.max_concurrency and load.backs_off_until <= now and address not in avoided:
                rank = load.in_flight, load.last_pick
                if best is None or rank < least:
                    best, least = replica, rank
        return best

    def next_available(self, now: float) -> float | None:
        """When the first of the replicas that back off may be picked again; None if none backs off."""
        times = [self._loads[address].backs_off_until for address in self._ready]
        return min((time for time in times if time > now), default=None)

    def take(self, replica: Replica) -> None:
        load = self._loads[replica.address]
        load.in_flight += 1
        self._picks += 1
        load.last_pick = self._picks

    def give_back(self, replica: Replica) -> None:
        self._loads[replica.address].in_flight -= 1
        self._forget_if_unused(replica.address)

    def succeeded(self, replica: Replica) -> None:
        if load := self._loads.get(replica.address):
            load.backoffs = 0
            load.failed.clear()

    def turned_away(self, replica: Replica, now: float) -> None:
        """It refused a request. It is left alone for a while: others are tried, and it isn't asked as fast as it
        refuses."""
        if load := self._loads.get(replica.address):
            load.backs_off_until = now + backoff(load.backoffs)
            load.backoffs += 1

    def failed(self, replica: Replica, client: Hashable, now: float) -> None:
        """The request of this client failed there. Only if those of other clients fail as well, it is left alone."""
        if load := self._loads.get(replica.address):
            if len(load.failed) < DIFFERENT:
                load.failed.add(client)
            if len(load.failed) == DIFFERENT:
                self.turned_away(replica, now)

    def _forget_if_unused(self, address: ReplicaAddress) -> None:
        if address not in self._ready and (load := self._loads.get(address)) and load.in_flight == 0:
            del self._loads[address]
