"""Decides which port of which activator an LLMDeployment gets. Pure.

A port is assigned to one object, its uid included. The next LLMDeployment gets the port that was unused for longest:
first ports that were never used, then, after a while, ports that were given up. So a client that still remembers the
port of a deleted LLMDeployment reaches no other. An assignment counts once the `PortBook` has written it.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from itertools import islice

from slipway.api.model_key import ModelKey
from slipway.observing.porttable import PORTS, ActivatorPort, Claim

QUARANTINE = 300.0
"""Seconds for which a port that was given up is not assigned again. By then, an activator with outdated watches has
failed its liveness probe, which takes a minute, and no EndpointSlice leads to an activator on a lost node."""


class ExhaustedError(Exception):
    """No port is available; the message names the limit that was reached, and the remedy."""

    def __init__(self, message: str, *, useful_after: float = 0.0) -> None:
        """`useful_after`: the seconds after which a port that is given up now can be assigned."""
        super().__init__(message)
        self.useful_after = useful_after


class PortAllocation:
    """All assignments. `activators`: their Services, in the order in which they are filled."""

    def __init__(self, activators: Sequence[str], *, per_namespace: int) -> None:
        self._activators, self._per_namespace = tuple(activators), per_namespace
        self._places: dict[ModelKey, tuple[Claim, ActivatorPort]] = {}
        self._owners: dict[ActivatorPort, Claim] = {}
        self._counts: Counter[str] = Counter()
        self._given_up_by: defaultdict[str, deque[float]] = defaultdict(deque)  # when, by namespace
        self._named: dict[ModelKey, int] = {}
        self._used_once: set[ActivatorPort] = set()
        self._only_named: set[ActivatorPort] = set()  # in EndpointSlices alone; the table never had them
        self._kept_back: dict[str, dict[int, float]] = {each: {} for each in self._activators}  # ports, in the order
        # in which they were given up or found in slices, and when
        self._cursors = dict.fromkeys(self._activators, PORTS[0])

    # --- what is known -----------------------------------------------------------------------------------------------

    def learn(
        self,
        written: Mapping[ActivatorPort, Claim],
        *,
        lives: Callable[[Claim], bool],
        named: Mapping[int, frozenset[ModelKey]],
        now: float,
    ) -> None:
        """Takes over the table. Earlier assignments stay, unless the table contradicts them for an existing object.

        `named`: the LLMDeployments whose EndpointSlices lead to each port. That is no claim, but such a port is not
        assigned to others, and its own LLMDeployment may get it again: so a lost or missing table costs no request. It
        loses the port if it doesn't take it soon.
        """
        for place, claim in sorted(written.items(), key=self._in_order):
            self._used_once.add(place)
            if lives(claim):
                self._learn_one(claim, place, written)
        for place in sorted(written.keys() - self._owners.keys(), key=lambda place: place.port):
            if place.activator in self._kept_back and (place in self._only_named or not self._is_kept_back(place)):
                self._only_named.discard(place)
                self._keep_back(place, now)
        for place in (
            ActivatorPort(each, port) for each in self._activators for port in sorted(named) if port in PORTS
        ):
            if place not in self._used_once or place in self._only_named:
                self._used_once.add(place)
                self._only_named.add(place)
                self._keep_back(place, now)
        self._named = {next(iter(keys)): port for port, keys in named.items() if len(keys) == 1}

    def _in_order(self, line: tuple[ActivatorPort, Claim]) -> tuple[int, int]:
        place, _ = line
        known = place.activator in self._activators
        return self._activators.index(place.activator) if known else len(self._activators), place.port

    def _learn_one(self, claim: Claim, place: ActivatorPort, written: Mapping[ActivatorPort, Claim]) -> None:
        other = self._owners.get(place)
        if other and other != claim:  # assigned, and not written yet
            self._remove(_key(other))
        key = _key(claim)
        before = self.port_of(claim)
        if before is None or written.get(before) != claim:
            self._remove(key)
        if key not in self._places and place.activator in self._activators:
            self._give(claim, place)

    def port_of(self, claim: Claim) -> ActivatorPort | None:
        known, place = self._places.get(_key(claim), (None, None))
        return place if known == claim else None

    def owner_of(self, place: ActivatorPort) -> Claim | None:
        return self._owners.get(place)

    # --- what is decided ---------------------------------------------------------------------------------------------

    def take(self, claim: Claim, now: float, *, at: Sequence[str]) -> ActivatorPort:
        """The port that it has, else one of these activators'. Raises ExhaustedError."""
        if place := self.port_of(claim):
            return place
        self.free(_key(claim), now)  # a predecessor's
        self._must_have_share(claim.namespace, now)
        place = self._own_of_before(claim, at) or self._never_used(at) or self._unused_for_longest(at, now)
        self._give(claim, place)
        return place

    def _must_have_share(self, namespace: str, now: float) -> None:
        """Ports that the namespace gave up and that are not available yet are limited, too: otherwise it could take all
        ports by creating and deleting LLMDeployments repeatedly."""
        if self._counts[namespace] >= self._per_namespace:
            raise ExhaustedError(
                f"{self._per_namespace} LLMDeployments in the namespace {namespace} have an activator's port, "
                "as many as the operator's --ports-per-namespace allows: delete one, or ask for a higher limit."
            )
        given_up = self._given_up_by[namespace]
        while given_up and now - given_up[0] >= QUARANTINE:
            given_up.popleft()
        if len(given_up) > self._per_namespace:  # so that a full share can be recreated immediately
            raise ExhaustedError(
                f"{len(given_up)} LLMDeployments with an activator's port were deleted in the namespace {namespace} "
                f"within the last {QUARANTINE / 60:.0f} minutes, more than the operator's --ports-per-namespace "
                "allows: wait, or ask for a higher limit.",
                useful_after=given_up[0] + QUARANTINE - now,
            )

    def free(self, key: ModelKey, now: float) -> bool:
        """True if it had one."""
        place = self._remove(key)
        if place:
            self._keep_back(place, now)
            self._given_up_by[key.namespace].append(now)
        return place is not None

    def _own_of_before(self, claim: Claim, at: Sequence[str]) -> ActivatorPort | None:
        """The port to which its slice and no other leads already, if it was never assigned."""
        port = self._named.pop(_key(claim), None)
        places = [ActivatorPort(each, port) for each in at[:1]] if port else []
        return next((each for each in places if each in self._only_named), None)

    def _never_used(self, at: Sequence[str]) -> ActivatorPort | None:
        for each in at:
            while self._cursors[each] in PORTS and ActivatorPort(each, self._cursors[each]) in self._used_once:
                self._cursors[each] += 1
            if self._cursors[each] in PORTS:
                return ActivatorPort(each, self._cursors[each])
        return None

    def _unused_for_longest(self, at: Sequence[str], now: float) -> ActivatorPort:
        first = [(since, each, port) for each in at for port, since in islice(self._kept_back[each].items(), 1)]
        since, activator, port = min(first, default=(now, "", 0))
        if activator and now - since >= QUARANTINE:
            return ActivatorPort(activator, port)
        raise ExhaustedError(
            f"All {len(PORTS)} ports of {' and of '.join(at)} are taken, or were within the last "
            f"{QUARANTINE / 60:.0f} minutes: delete an LLMDeployment, or install another activator and name it in the "
            "operator's --activators.",
            useful_after=QUARANTINE,
        )

    def _is_kept_back(self, place: ActivatorPort) -> bool:
        return place.port in self._kept_back[place.activator]

    def _keep_back(self, place: ActivatorPort, now: float) -> None:
        """From now on; after all ports that were given up before."""
        self._kept_back[place.activator].pop(place.port, None)
        self._kept_back[place.activator][place.port] = now

    def _give(self, claim: Claim, place: ActivatorPort) -> None:
        self._places[_key(claim)] = claim, place
        self._owners[place] = claim
        self._used_once.add(place)
        self._only_named.discard(place)
        self._kept_back[place.activator].pop(place.port, None)
        self._counts[claim.namespace] += 1

    def _remove(self, key: ModelKey) -> ActivatorPort | None:
        claim, place = self._places.pop(key, (None, None))
        if claim is None or place is None:
            return None
        del self._owners[place]
        self._counts[claim.namespace] -= 1
        return place


def _key(claim: Claim) -> ModelKey:
    return ModelKey(claim.namespace, claim.name)
