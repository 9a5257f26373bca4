"""Which port of which activator belongs to which deployment. Pure.

A port is given to one very object, its uid included, and the next one gets the port that was unused for longest: first
those that nobody ever had, and one that somebody had only after a while. So whoever still remembers the port of a
deployment that is gone finds nobody there. What is given counts once it is written; that is the `PortBook`'s.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from slipway.observing.porttable import PORTS, Claim
from slipway.operator.reconciling.key import Key

QUARANTINE = 300.0
"""Seconds for which nobody gets a port that was just given up. An activator that hears nothing any more for a minute
doesn't call itself live, and no slice leads to one whose node is lost: both are over by then."""


class Place(NamedTuple):
    activator: str  # the name of its Service
    port: int


class ExhaustedError(Exception):
    """There is no port for it; the message says which limit is reached, and the remedy."""

    def __init__(self, told: str, *, useful_after: float = 0.0) -> None:
        """`useful_after`: the seconds after which a port that is given up helps."""
        super().__init__(told)
        self.useful_after = useful_after


class Ports:
    """`activators`: in this order; the next one gets what has no place any more at those before it."""

    def __init__(self, activators: Sequence[str], *, per_namespace: int) -> None:
        self._activators, self._per_namespace = tuple(activators), per_namespace
        self._places: dict[Key, tuple[Claim, Place]] = {}
        self._owners: dict[Place, Claim] = {}
        self._counts: Counter[str] = Counter()
        self._given_up_by: defaultdict[str, deque[float]] = defaultdict(deque)  # when, by namespace
        self._named: dict[Key, int] = {}
        self._used_once: set[Place] = set()
        self._only_named: set[Place] = set()  # by slices; no table has said that anybody had it
        self._kept_back: dict[str, dict[int, float]] = {each: {} for each in self._activators}  # ports, in the order
        # in which they were given up or found to be named, and when
        self._cursors = dict.fromkeys(self._activators, PORTS[0])

    # --- what is known -----------------------------------------------------------------------------------------------

    def learn(
        self,
        written: Mapping[Place, Claim],
        *,
        lives: Callable[[Claim], bool],
        named: Mapping[int, frozenset[Key]],
        now: float,
    ) -> None:
        """What the table says; what was given before stays, unless the table says otherwise of somebody who lives.

        `named`: by ports, the deployments whose slices lead to them. That is no claim, but no other gets such a port,
        and its own one may keep it: a table that was lost, or that there never was, costs no request then. Who doesn't
        take it soon has lost it.
        """
        for place, claim in sorted(written.items(), key=self._in_order):
            self._used_once.add(place)
            if lives(claim):
                self._learn_one(claim, place, written)
        for place in sorted(written.keys() - self._owners.keys(), key=lambda place: place.port):
            if place.activator in self._kept_back and (place in self._only_named or not self._is_kept_back(place)):
                self._only_named.discard(place)
                self._keep_back(place, now)
        for place in (Place(each, port) for each in self._activators for port in sorted(named) if port in PORTS):
            if place not in self._used_once or place in self._only_named:
                self._used_once.add(place)
                self._only_named.add(place)
                self._keep_back(place, now)
        self._named = {next(iter(keys)): port for port, keys in named.items() if len(keys) == 1}

    def _in_order(self, line: tuple[Place, Claim]) -> tuple[int, int]:
        place, _ = line
        known = place.activator in self._activators
        return self._activators.index(place.activator) if known else len(self._activators), place.port

    def _learn_one(self, claim: Claim, place: Place, written: Mapping[Place, Claim]) -> None:
        other = self._owners.get(place)
        if other and other != claim:  # it was given, and not written yet
            self._remove(_key(other))
        key = _key(claim)
        before = self.place_of(claim)
        if before is None or written.get(before) != claim:
            self._remove(key)
        if key not in self._places and place.activator in self._activators:
            self._give(claim, place)

    def place_of(self, claim: Claim) -> Place | None:
        known, place = self._places.get(_key(claim), (None, None))
        return place if known == claim else None

    def owner_of(self, place: Place) -> Claim | None:
        return self._owners.get(place)

    # --- what is decided ---------------------------------------------------------------------------------------------

    def take(self, claim: Claim, now: float, *, at: Sequence[str]) -> Place:
        """The place that it has, else one at one of these activators. Raises ExhaustedError."""
        if place := self.place_of(claim):
            return place
        self.free(_key(claim), now)  # of one of this name that is gone
        self._must_have_share(claim.namespace, now)
        place = self._own_of_before(claim, at) or self._never_used(at) or self._unused_for_longest(at, now)
        self._give(claim, place)
        return place

    def _must_have_share(self, namespace: str, now: float) -> None:
        """Those that it gave up and nobody may have yet are a share of their own, or one could take all ports by making
        and deleting again and again."""
        if self._counts[namespace] >= self._per_namespace:
            raise ExhaustedError(
                f"{self._per_namespace} LLMDeployments in the namespace {namespace} have an activator's port, "
                "as many as the operator's --ports-per-namespace allows: delete one, or have the limit raised."
            )
        given_up = self._given_up_by[namespace]
        while given_up and now - given_up[0] >= QUARANTINE:
            given_up.popleft()
        if len(given_up) > self._per_namespace:  # all that it may have can be made anew at once
            raise ExhaustedError(
                f"{len(given_up)} LLMDeployments with an activator's port were deleted in the namespace {namespace} "
                f"within the last {QUARANTINE / 60:.0f} minutes, more than the operator's --ports-per-namespace "
                "allows: wait, or have the limit raised.",
                useful_after=given_up[0] + QUARANTINE - now,
            )

    def free(self, key: Key, now: float) -> bool:
        """True if it had one."""
        place = self._remove(key)
        if place:
            self._keep_back(place, now)
            self._given_up_by[key.namespace].append(now)
        return place is not None

    def _own_of_before(self, claim: Claim, at: Sequence[str]) -> Place | None:
        """Where its slice leads already, and no other's, if nobody was ever given that."""
        port = self._named.pop(_key(claim), None)
        places = [Place(each, port) for each in at[:1]] if port else []
        return next((each for each in places if each in self._only_named), None)

    def _never_used(self, at: Sequence[str]) -> Place | None:
        for each in at:
            while self._cursors[each] in PORTS and Place(each, self._cursors[each]) in self._used_once:
                self._cursors[each] += 1
            if self._cursors[each] in PORTS:
                return Place(each, self._cursors[each])
        return None

    def _unused_for_longest(self, at: Sequence[str], now: float) -> Place:
        first = [(since, each, port) for each in at for port, since in islice(self._kept_back[each].items(), 1)]
        since, activator, port = min(first, default=(now, "", 0))
        if activator and now - since >= QUARANTINE:
            return Place(activator, port)
        raise ExhaustedError(
            f"All {len(PORTS)} ports of {' and of '.join(at)} are taken, or were within the last "
            f"{QUARANTINE / 60:.0f} minutes: delete an LLMDeployment, or install another activator and name it in the "
            "operator's --activators.",
            useful_after=QUARANTINE,
        )

    def _is_kept_back(self, place: Place) -> bool:
        return place.port in self._kept_back[place.activator]

    def _keep_back(self, place: Place, now: float) -> None:
        """From now on; it comes after all that were kept back before."""
        self._kept_back[place.activator].pop(place.port, None)
        self._kept_back[place.activator][place.port] = now

    def _give(self, claim: Claim, place: Place) -> None:
        self._places[_key(claim)] = claim, place
        self._owners[place] = claim
        self._used_once.add(place)
        self._only_named.discard(place)
        self._kept_back[place.activator].pop(place.port, None)
        self._counts[claim.namespace] += 1

    def _remove(self, key: Key) -> Place | None:
        claim, place = self._places.pop(key, (None, None))
        if claim is None or place is None:
            return None
        del self._owners[place]
        self._counts[claim.namespace] -= 1
        return place


def _key(claim: Claim) -> Key:
    return Key(claim.namespace, claim.name)
