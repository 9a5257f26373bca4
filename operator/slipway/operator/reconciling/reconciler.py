"""One turn of the loop for one LLMDeployment: look → decide → apply → look again → report."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from slipway.kube.errors import NamespaceGoesError
from slipway.kube.store import Store
from slipway.kube.work_queue import NEVER, RetryLaterError
from slipway.observing.world import created, is_recent
from slipway.operator.reconciling.applying import Applier, Outcome, is_going
from slipway.operator.reconciling.deciding import Decision, decide, lacks_port, report
from slipway.operator.reconciling.home import Home
from slipway.operator.reconciling.key import Key
from slipway.operator.reconciling.ledger import Ledger
from slipway.operator.reconciling.looking import Lookout
from slipway.operator.reconciling.portbook import PortBook
from slipway.operator.reconciling.ports import ExhaustedError
from slipway.operator.reconciling.references import References
from slipway.operator.reconciling.reporting import Reporter
from slipway.operator.reconciling.rights import Rights
from slipway.operator.reconciling.sight import Sight

logger = logging.getLogger(__name__)

UNTIL_FILLED = 0.5  # seconds
APPLIED_WITHIN = timedelta(seconds=3)
"""What is applied together comes one after the other; what a new deployment names may come after it."""
LONGEST_WAIT = 60.0
"""Seconds until the next look where something is expected soon: the clock may be set back meanwhile."""


@dataclass(frozen=True, kw_only=True)
class Reconciler:
    """`reconcile` is what the queue calls with each key; it returns when to look again."""

    store: Store
    ledger: Ledger
    lookout: Lookout
    ports: PortBook
    applier: Applier
    reporter: Reporter
    references: References
    rights: Rights
    home: Home

    async def reconcile(self, key: Key) -> float | None:
        if self.store.unsynced():
            return UNTIL_FILLED  # what isn't in a cache yet would be taken for missing
        sight = self.lookout.look(key)
        if sight is None:
            self.ledger.forget(key)
            self.lookout.forget(key)
            self.reporter.forget(key)
            self.references.forget(key)
            return NEVER
        if is_going(sight.raw):
            return None  # all that is its own goes with it, by garbage collection
        sight = await self._with_rights(sight)
        decision = decide(sight, self.home)
        try:
            if lacks_port(sight, decision):
                sight = await self._with_port(sight)
                decision = decide(sight, self.home)
            outcome = await self.applier.carry_out(key, sight.uid, decision.desired, is_new=sight.previous is None)
        except NamespaceGoesError:
            return None  # and the deployment with it
        lacks = await self.references.lacks(key, decision.deployment)
        sight = self.lookout.look_again(key, sight)  # so that the status tells at once what has just been made
        known_at = _known_at(sight)
        hindrance = replace(outcome.hindrance, lacks=() if known_at else lacks)
        status, seen = report(sight, decision, hindrance)
        wait = await self.reporter.tell(key, sight, status)
        await self.reporter.tell_of_rivals(sight, outcome.rivals)
        _raise_what_went_wrong(decision, outcome)
        now = sight.view.now
        expected = [_seconds_until(each, now) for each in (seen.look_again_at, known_at if lacks else None)]
        later = (outcome.look_again, wait, self.references.look_again(key))
        scheduled = _seconds_until(decision.desired.look_again_at, now)
        return _soonest(*later, *(min(each, LONGEST_WAIT) for each in expected if each is not None), scheduled)

    async def _with_rights(self, sight: Sight) -> Sight:
        """Of the activator that it is asked at."""
        if sight.activator is None:
            return sight
        reads = await self.rights.activator_reads_keys(sight.raw, sight.activator_service)
        return replace(sight, activator_reads_keys=reads)

    async def _with_port(self, sight: Sight) -> Sight:
        """Before anything leads there."""
        try:
            place = await self.ports.give(sight.claim, at=tuple(sight.activators))
            return await self._with_rights(replace(sight, place=place))
        except ExhaustedError as error:
            return replace(sight, has_no_port=str(error))


def _known_at(sight: Sight) -> datetime | None:
    """When all that was applied with a new one is there."""
    since = created(sight.raw)
    return since + APPLIED_WITHIN if since and is_recent(since, sight.view.now, APPLIED_WITHIN) else None


def _raise_what_went_wrong(decision: Decision, outcome: Outcome) -> None:
    """The queue tries again, each time later; what has been reported is not lost by it."""
    if decision.bug:
        raise decision.bug
    if outcome.refusals:
        first = outcome.refusals[0]
        raise RetryLaterError(f"{first.kind} {first.name} was refused: {first.message}")


def _seconds_until(moment: datetime | None, now: datetime) -> float | None:
    return max(0.0, (moment - now).total_seconds()) if moment else None


def _soonest(*seconds: float | None) -> float | None:
    known: Iterable[float] = (each for each in seconds if each is not None)
    return min(known, default=None)
