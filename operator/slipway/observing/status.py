"""The status of an LLMDeployment, written by verbs: each says what is so, and sets all that follows from it.

`status_of` chooses the verb. What it returns equals what was there before whenever nothing has changed, so nothing is
written then: times are times of changes, never of looks.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol, cast

from slipway.api.reasons import ConditionType, Reason, State

from .cause import KEEPS_ASLEEP, WOULD_HAPPEN_AGAIN, Cause, reason_named
from .conditions import Conditions
from .observation import Observation
from .phases import length_of
from .world import Object, parse_time


class Planned(Protocol):
    """What the status tells of a plan."""

    @property
    def profile(self) -> str: ...
    @property
    def gpus_per_replica(self) -> int: ...
    @property
    def max_concurrency(self) -> int | None: ...
    @property
    def why(self) -> Sequence[str]: ...
    @property
    def rejected(self) -> Sequence[str]: ...


class Unplanned(Protocol):
    """Why there is no plan."""

    @property
    def reason(self) -> str: ...
    @property
    def message(self) -> str: ...


def status_of(
    generation: int,
    plan: Planned | Unplanned,
    seen: Observation,
    previous: Object | None,
    now: datetime,
    *,
    beside: Object | None = None,
) -> Object:
    """The whole status, as a dict in the API's spelling. `generation`: of the spec that was acted on; `beside`: what
    others know of it; None: what they knew before still holds."""
    status = Status(seen, previous or {}, generation=generation, now=now)
    cause = _told(plan, status) or seen.cause
    _choose(status, seen, cause, unplanned=not _is_plan(plan))
    return status.written(beside)


def same(one: Object | None, other: Object | None) -> bool:
    """Whether two statuses say the same; what is empty need not be there."""
    return bool(_without_empty(one or {}) == _without_empty(other or {}))


class Status:
    """A status while it is being written."""

    def __init__(self, seen: Observation, before: Object, *, generation: int, now: datetime) -> None:
        self._seen = seen
        self._before = before
        self._generation = generation
        self._conditions = Conditions(before.get("conditions") or [], generation=generation, now=now)
        self._state = State.WAKING
        self._message = ""
        self._plan: Object | None = None

    # --- the plan ---------------------------------------------------------------------------------------------------

    def mark_planned(self, plan: Planned) -> None:
        where = plan.profile or "what its serving runtime asks for"
        told = f"{plan.gpus_per_replica} of {where}" if plan.gpus_per_replica else where
        self._conditions.set(ConditionType.PLANNED, True, Reason.PLANNED, f"Each replica gets {told}.")
        self._plan = {
            **({"accelerator": plan.profile} if plan.profile else {}),
            "gpusPerReplica": plan.gpus_per_replica,
            **({"maxConcurrency": plan.max_concurrency} if plan.max_concurrency else {}),
            "why": list(plan.why),
            "rejected": list(plan.rejected),
        }

    def mark_not_planned(self, cause: Cause) -> None:
        self._conditions.set(ConditionType.PLANNED, False, cause.reason, cause.message)

    # --- the state --------------------------------------------------------------------------------------------------

    def mark_idle(self) -> None:
        """At zero, and healthy: an ask now would wake a replica."""
        reason = Reason.SCALED_TO_ZERO
        self._say(State.IDLE, reason.meaning)
        self._mark_ready(True, reason)
        self._mark_loaded(reason)
        self._mark_settled()

    def mark_paused(self) -> None:
        """At zero, where somebody wants it to stay."""
        reason = Reason.PAUSED
        self._say(State.IDLE, f"No replica runs. {reason.meaning}")
        self._mark_ready(False, reason)
        self._mark_loaded(reason)
        self._mark_settled()

    def mark_waking(self, doubt: Cause | None) -> None:
        """The first replica is on its way; with a doubt, nobody should expect that it arrives."""
        self._say(State.WAKING, self._troubled(doubt) if doubt else self._on_its_way())
        self._mark_ready(doubt is None, doubt.reason if doubt else Reason.WAKING)
        self._mark_loaded(doubt.reason if doubt else self._seen.step)
        self._mark_moving(Reason.WAKING)

    def mark_making(self) -> None:
        """Nothing runs yet: KServe hasn't made the Deployment, or our Service is so new that it may lead nowhere."""
        state = State.WAKING if self._seen.desired else State.IDLE
        self._say(state, "The Deployment and the Service of this model are being made.")
        self._mark_ready(None, Reason.UPDATING)
        self._mark_loaded(Reason.UPDATING)
        self._mark_moving(Reason.UPDATING)

    def mark_serving(self) -> None:
        self._say(State.SERVING, f"{self._counted()}.")
        self._mark_ready(True, Reason.SERVING)
        self._mark_loaded(Reason.SERVING)
        if self._seen.ready == self._seen.desired and not self._seen.warming_up:
            self._mark_settled()
        else:
            self._mark_moving(Reason.SCALING)

    def mark_updating(self) -> None:
        """A new version is on its way; where there is no spare accelerator, asks wait for it."""
        waiting = "" if self._seen.ready else "; requests wait for the first replica of the new version"
        self._say(State.UPDATING, f"A new version is being rolled out: {self._counted().lower()}{waiting}.")
        self._mark_ready(True, Reason.UPDATING)
        self._mark_loaded(Reason.SERVING if self._seen.ready else self._seen.step)
        self._mark_moving(Reason.UPDATING)

    def mark_degraded(self, cause: Cause, *, lasting: bool) -> None:
        """Asks are answered, but something is wrong."""
        self._say(State.DEGRADED, f"{self._counted()}; {self._troubled(cause)}")
        self._mark_ready(True, Reason.SERVING)
        self._mark_loaded(Reason.SERVING)
        if lasting:
            self._mark_stalled(cause)
        else:
            self._mark_moving(cause.reason)

    def mark_failed(self, cause: Cause, *, lasting: bool = True) -> None:
        """No ask is answered, and none will be before the cause is put right: here, or in the platform."""
        self._say(State.FAILED, self._troubled(cause))
        self._mark_ready(False, cause.reason)
        self._mark_loaded(cause.reason)
        if lasting:
            self._mark_stalled(cause)
        else:
            self._mark_moving(cause.reason)

    # --- beside the state -------------------------------------------------------------------------------------------

    def mark_scaled(self, cause: Cause | None) -> None:
        """Are there as many replicas as are wanted, and can their number follow the demand?"""
        seen = self._seen
        if problem := seen.scaling_cause or (cause if seen.ready < seen.desired else seen.scaling_doubt):
            self._conditions.set(ConditionType.SCALED, False, problem.reason, problem.message)
        elif seen.paused:
            self._conditions.set(ConditionType.SCALED, False, Reason.PAUSED, Reason.PAUSED.meaning)
        elif seen.ready == seen.desired:
            self._conditions.set(ConditionType.SCALED, True, Reason.AS_WANTED, f"{self._counted()}.")
        else:
            self._conditions.set(ConditionType.SCALED, False, Reason.SCALING, f"{self._counted()}.")

    def mark_reachable(self) -> None:
        """Does the Service lead to somebody who answers, or holds?"""
        seen = self._seen
        holds, reason, told = True, Reason.SERVING, "The Service leads to replicas that are ready."
        if seen.url is None:
            holds, reason, told = False, Reason.NOT_READY, "The Service isn't there."
        elif not seen.ready and seen.activator_answers:
            reason, told = Reason.WAKING, "The Service leads to the activator, which holds requests."
        elif not seen.ready and seen.activator_answers is False:
            holds, reason = False, Reason.ACTIVATOR_UNAVAILABLE
            told = reason.meaning
        elif not seen.ready:
            holds, reason, told = False, Reason.NOT_READY, "No replica is ready, and no activator is installed."
        self._conditions.set(ConditionType.REACHABLE, holds, reason, told)

    def last_failure(self) -> Cause | None:
        """Why the last start of this very spec failed: at zero its pods are gone, but the next would end like it.

        It is forgotten when the spec changes, or when somebody tries again.
        """
        conditions = {each["type"]: each for each in self._before.get("conditions") or []}
        stalled = conditions.get(ConditionType.STALLED, {})
        if stalled.get("status") != "True" or stalled.get("observedGeneration") != self._generation:
            return None
        reason, since = reason_named(stalled["reason"]), parse_time(stalled["lastTransitionTime"])
        return Cause(reason, stalled["message"], since, final=True) if reason in WOULD_HAPPEN_AGAIN else None

    @property
    def was_updating(self) -> bool:
        return self._before.get("state") == State.UPDATING

    def written(self, beside: Object | None) -> Object:
        """The whole of it; what others have measured stays as it was."""
        others = ("measured", "cost") if beside else ("measured", "cost", "made", "update")
        kept: Object = {name: self._before[name] for name in others if name in self._before}
        status: Object = {
            "observedGeneration": self._generation,
            "url": self._seen.url,
            "state": str(self._state),
            "message": self._message,
            "conditions": self._conditions.as_list(),
            "replicas": {
                "desired": self._seen.desired,
                "ready": self._seen.ready,
                "warmingUp": self._seen.warming_up,
            },
            "plan": self._plan,
            "lastColdStart": self._cold_start(),
            **kept,
            **(beside or {}),
        }
        written = {name: value for name, value in status.items() if value not in (None, {})}
        return written if self._remembers_a_start() else {"lastColdStart": {}, **written}

    def _remembers_a_start(self) -> bool:
        """What can't have been, somebody else has written, and only what is written instead removes it."""
        return length_of(self._before.get("lastColdStart") or {}) is not None

    def _cold_start(self) -> Object | None:
        """Of the replica that ended the last time without any; later ones are no cold starts."""
        before: Object | None = self._before.get("lastColdStart") if self._remembers_a_start() else None
        was_ready = (self._before.get("replicas") or {}).get("ready", 0)
        if self._seen.phases and (not was_ready or before is None):
            return self._seen.phases.durations()
        return before

    # --- the words --------------------------------------------------------------------------------------------------

    def _say(self, state: State, message: str) -> None:
        self._state, self._message = state, message

    def _counted(self) -> str:
        ready, desired = self._seen.ready, self._seen.desired
        if ready >= desired:
            return "1 replica answers" if ready == 1 else f"{ready} replicas answer"
        return f"{ready} of {desired} replicas answer{'s' if ready == 1 else ''}"

    def _on_its_way(self) -> str:
        since = f" since {self._seen.waking_since:%H:%M:%S} UTC" if self._seen.waking_since else ""
        step = self._seen.step.meaning
        return f"The first replica is on its way{since}: {step[0].lower()}{step[1:]}"

    @staticmethod
    def _troubled(cause: Cause) -> str:
        since = f" since {cause.since:%Y-%m-%d %H:%M:%S} UTC" if cause.since else ""
        return f"{cause.reason}{since}: {cause.message.rstrip('.')}."

    # --- the conditions that follow ---------------------------------------------------------------------------------

    def _mark_ready(self, holds: bool | None, reason: Reason) -> None:
        """Without a replica, an ask needs somebody who holds it."""
        if holds and not self._seen.ready and self._seen.activator_answers is False:
            missing = Reason.ACTIVATOR_UNAVAILABLE
            self._conditions.set(ConditionType.READY, False, missing, missing.meaning)
        else:
            self._conditions.set(ConditionType.READY, holds, reason, self._message)

    def _mark_loaded(self, reason: Reason) -> None:
        self._conditions.set(ConditionType.MODEL_LOADED, self._seen.ready > 0, reason, reason.meaning)

    def _mark_settled(self) -> None:
        self._conditions.set(ConditionType.RECONCILING, False, Reason.AS_WANTED, Reason.AS_WANTED.meaning)
        self._conditions.set(ConditionType.STALLED, False, Reason.AS_WANTED, "Nothing keeps it from going on.")

    def _mark_moving(self, reason: Reason) -> None:
        self._conditions.set(ConditionType.RECONCILING, True, reason, reason.meaning)
        self._conditions.set(ConditionType.STALLED, False, Reason.AS_WANTED, "Nothing keeps it from going on.")

    def _mark_stalled(self, cause: Cause) -> None:
        self._conditions.set(ConditionType.RECONCILING, False, cause.reason, "It goes no further.")
        self._conditions.set(ConditionType.STALLED, True, cause.reason, cause.message)


# --- which verb ------------------------------------------------------------------------------------------------------


def _is_plan(plan: Planned | Unplanned) -> bool:
    """Asking whether it has all that a protocol names takes longer than all else here."""
    return hasattr(plan, "gpus_per_replica")


def _told(plan: Planned | Unplanned, status: Status) -> Cause | None:
    """Writes the plan down; the cause, if there is none."""
    if _is_plan(plan):
        status.mark_planned(cast(Planned, plan))
        return None
    refused = cast(Unplanned, plan)
    cause = Cause(reason_named(refused.reason), refused.message, final=True)
    status.mark_not_planned(cause)
    return cause


def _choose(status: Status, seen: Observation, cause: Cause | None, *, unplanned: bool) -> None:
    status.mark_scaled(cause)
    status.mark_reachable()
    lasting = unplanned or seen.lasting
    if seen.ready:
        _choose_with_replicas(status, seen, cause, lasting=lasting)
    elif cause and lasting:
        status.mark_failed(cause)
    elif seen.desired:
        _choose_on_the_way(status, seen, cause)
    else:
        _choose_at_zero(status, seen, cause)


def _choose_with_replicas(status: Status, seen: Observation, cause: Cause | None, *, lasting: bool) -> None:
    if problem := cause or seen.scaling_cause:
        status.mark_degraded(problem, lasting=lasting or cause is None)
    elif seen.updating or (status.was_updating and seen.ready < seen.desired):
        status.mark_updating()
    else:
        status.mark_serving()


def _choose_on_the_way(status: Status, seen: Observation, cause: Cause | None) -> None:
    if cause:
        status.mark_waking(cause)
    elif not seen.made:
        status.mark_making()
    elif seen.updating or status.was_updating:
        status.mark_updating()
    else:
        status.mark_waking(None)


def _choose_at_zero(status: Status, seen: Observation, cause: Cause | None) -> None:
    if failure := seen.scaling_cause or status.last_failure():
        status.mark_failed(failure)
    elif cause and (cause.reason in KEEPS_ASLEEP or not seen.made):
        status.mark_failed(cause, lasting=False)
    elif not seen.made:
        status.mark_making()
    elif seen.paused:
        status.mark_paused()
    else:
        status.mark_idle()


def _without_empty(thing: Any) -> Any:
    match thing:
        case dict():
            kept = {name: _without_empty(value) for name, value in thing.items()}
            return {name: value for name, value in kept.items() if value not in (None, {}, [])}
        case list():
            return [_without_empty(each) for each in thing]
    return thing
