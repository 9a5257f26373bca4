"""The status of an LLMDeployment. What it says in which situation is a table: `situations.py`.

While nothing changes, the result equals the previous status, so that nothing is written: times in it are times of
changes, never of observations.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol, cast

from slipway.api.reasons import ConditionType, Reason, State
from slipway.objects.kinds import Object
from slipway.objects.times import parse_time
from slipway.observing import following, plan_report
from slipway.observing.cause import NO_POD_CAN_HELP, WOULD_HAPPEN_AGAIN, Cause, reason_named
from slipway.observing.conditions import Conditions
from slipway.observing.observation import Observation
from slipway.observing.phases import length_of
from slipway.observing.plan_report import Planned
from slipway.observing.situations import TABLE, From, Row, situation_of

REFUSED_AFTERWARDS = " Once no replica answers, requests are refused."
"""As the activator does it for causes that no pod can help."""


class Unplanned(Protocol):
    """Why there is no plan."""

    @property
    def reason(self) -> str: ...
    @property
    def message(self) -> str: ...
    @property
    def rejected(self) -> Sequence[str]: ...


def status_of(
    generation: int,
    plan: Planned | Unplanned,
    seen: Observation,
    previous: Object | None,
    now: datetime,
    *,
    made: Object | None = None,
    model: Object | None = None,
    measured: Object | None = None,
) -> Object:
    """The complete status, as a dict in the API's spelling.

    `generation`: of the spec that was acted on; `made`: what the pods were made of (`status.made` and `status.update`);
    `measured`: by the engine (`status.measured`). None: the previous values still hold. `model`: what was read of its
    files; None: nothing was.
    """
    status = _Writing(seen, previous or {}, generation=generation, now=now)
    if _is_plan(plan):
        status.plan(cast(Planned, plan))
        cause, lasting = seen.cause, seen.lasting
    else:
        refused = cast(Unplanned, plan)
        is_read = refused.reason == Reason.READING_MODEL
        cause, lasting = Cause(reason_named(refused.reason), refused.message, final=not is_read), not is_read
        status.no_plan(cause, refused.rejected)
    status.scaled(cause)
    status.reachable()
    status.within_budget()
    situation, reported = situation_of(
        seen, cause, lasting=lasting, was_updating=status.was_updating, last_failure=status.last_failure()
    )
    status.row(TABLE[situation], reported)
    return status.written(made, measured, model)


def with_compile_cache(status: Object, compile_cache: Object | None) -> Object:
    """`compile_cache`: `status.compileCache`. What a cold start has compiled is known some time after it."""
    if compile_cache is None:
        return status
    found, last_start = status.get("lastColdStart") or {}, compile_cache.get("lastStart") or {}
    is_of_it = found.get("pod") and found["pod"] == last_start.get("pod") and "compiled" not in found
    compiled = last_start.get("compiled") if is_of_it else None
    return {
        **status,
        "compileCache": compile_cache,
        **({"lastColdStart": {**found, "compiled": compiled}} if compiled else {}),
    }


def same(one: Object | None, other: Object | None) -> bool:
    """Whether two statuses say the same; empty fields may be missing."""
    return bool(_without_empty(one or {}) == _without_empty(other or {}))


class _Writing:
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

    def plan(self, plan: Planned) -> None:
        accelerator = plan.profile or "what its serving runtime requests"
        words = f"{plan.gpus_per_replica} of {accelerator}" if plan.gpus_per_replica else accelerator
        self._conditions.set(ConditionType.PLANNED, True, Reason.PLANNED, f"Each replica gets {words}.")
        self._plan = plan_report.reported(plan)

    def no_plan(self, cause: Cause, rejected: Sequence[str]) -> None:
        self._conditions.set(ConditionType.PLANNED, False, cause.reason, cause.message)
        self._plan = {"rejected": plan_report.lines(rejected)} if rejected else None

    # --- the row of the table ---------------------------------------------------------------------------------------

    def row(self, row: Row, cause: Cause | None) -> None:
        """Sets the state, the message, and the conditions that follow from the situation."""
        ready_because = self._reason(row.ready_because, cause)
        counted = self._counted()
        self._state = row.state
        self._message = row.message.format(
            meaning=ready_because.meaning,
            counted=counted,
            counted_inside=counted[0].lower() + counted[1:],
            cause=_explained(cause) if cause else "",
            afterwards=REFUSED_AFTERWARDS if cause and cause.reason in NO_POD_CAN_HELP else "",
            start=self._start(),
            budget=self._seen.budget.message if self._seen.budget else "",
            pause=self._seen.pause.message if self._seen.pause else "",
        )
        loaded_because = self._reason(row.loaded_because, cause)
        self._set_ready(row.ready, ready_because)
        self._conditions.set(ConditionType.MODEL_LOADED, self._seen.ready > 0, loaded_because, loaded_because.meaning)
        if row.stalled and cause:
            self._conditions.set(ConditionType.RECONCILING, False, cause.reason, "It makes no progress.")
            self._conditions.set(ConditionType.STALLED, True, cause.reason, cause.message)
            return
        reconciling = self._reason(row.reconciling, cause) if row.reconciling else Reason.AS_WANTED
        self._conditions.set(ConditionType.RECONCILING, bool(row.reconciling), reconciling, reconciling.meaning)
        self._conditions.set(ConditionType.STALLED, False, Reason.AS_WANTED, "Nothing stops it.")

    def _reason(self, named: Reason | From, cause: Cause | None) -> Reason:
        if isinstance(named, Reason):
            return named
        if named is From.STEP:
            return self._seen.step
        return cause.reason if cause else Reason.UNKNOWN

    def _set_ready(self, holds: bool | None, reason: Reason) -> None:
        """Without a replica, a request needs an activator that holds it."""
        if holds and not self._seen.ready and self._seen.activator_answers is False:
            missing = Reason.ACTIVATOR_UNAVAILABLE
            self._conditions.set(ConditionType.READY, False, missing, missing.meaning)
        else:
            self._conditions.set(ConditionType.READY, holds, reason, self._message)

    # --- independent of the situation -------------------------------------------------------------------------------

    def scaled(self, cause: Cause | None) -> None:
        """Are as many replicas ready as are wanted, and can their number follow the demand?"""
        seen = self._seen
        if problem := seen.scaling_cause or (cause if seen.ready < seen.desired else seen.scaling_doubt):
            self._conditions.set(ConditionType.SCALED, False, problem.reason, problem.message)
        elif seen.pause:
            self._conditions.set(ConditionType.SCALED, False, seen.pause.reason, seen.pause.message)
        elif seen.ready == seen.desired:
            self._conditions.set(ConditionType.SCALED, True, Reason.AS_WANTED, f"{self._counted()}.{self._followed()}")
        else:
            self._conditions.set(ConditionType.SCALED, False, Reason.SCALING, f"{self._counted()}.{self._followed()}")

    def reachable(self) -> None:
        """Does the Service lead to a ready replica, or to an activator that holds requests?"""
        seen = self._seen
        if seen.url is None:
            row = False, Reason.NOT_READY, "The Service doesn't exist."
        elif seen.ready:
            row = True, Reason.SERVING, "The Service leads to replicas that are ready."
        elif seen.activator_answers is None:
            row = False, Reason.NOT_READY, "No replica is ready, and no activator is installed."
        elif seen.activator_answers:
            row = True, Reason.WAKING, "The Service leads to the activator, which holds requests."
        else:
            row = False, Reason.ACTIVATOR_UNAVAILABLE, Reason.ACTIVATOR_UNAVAILABLE.meaning
        self._conditions.set(ConditionType.REACHABLE, *row)

    def within_budget(self) -> None:
        """Only where the spec has a budget."""
        if budget := self._seen.budget:
            self._conditions.set(ConditionType.WITHIN_BUDGET, budget.holds, budget.reason, budget.message)

    # --- from the status before -------------------------------------------------------------------------------------

    @property
    def was_updating(self) -> bool:
        return self._before.get("state") == State.UPDATING

    def last_failure(self) -> Cause | None:
        """Why the last start of this spec failed: at zero its pods are gone, but the next would fail alike.

        It is forgotten when the spec changes, or when a start is tried again.
        """
        conditions = {each["type"]: each for each in self._before.get("conditions") or []}
        stalled = conditions.get(ConditionType.STALLED, {})
        if stalled.get("status") != "True" or stalled.get("observedGeneration") != self._generation:
            return None
        reason, since = reason_named(stalled["reason"]), parse_time(stalled["lastTransitionTime"])
        return Cause(reason, stalled["message"], since, final=True) if reason in WOULD_HAPPEN_AGAIN else None

    def written(self, made: Object | None, measured: Object | None, model: Object | None) -> Object:
        """The complete status; what isn't known now stays as it was."""
        others = ("measured",) if made else ("measured", "made", "update")
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
            "model": model,
            **kept,
            **(made or {}),
            **({"measured": measured} if measured else {}),
        }
        written = {name: value for name, value in status.items() if value not in (None, {})}
        return written if self._has_valid_start() else {"lastColdStart": {}, **written}

    def _has_valid_start(self) -> bool:
        """An impossible one was written by another manager, and only a value of ours replaces it."""
        return length_of(self._before.get("lastColdStart") or {}) is not None

    def _cold_start(self) -> Object | None:
        """Of the first replica after a time without any; later ones are no cold starts."""
        before: Object | None = self._before.get("lastColdStart") if self._has_valid_start() else None
        was_ready = (self._before.get("replicas") or {}).get("ready", 0)
        if self._seen.phases and (not was_ready or before is None):
            return {**self._seen.phases.durations(), **({"pod": self._seen.pod} if self._seen.pod else {})}
        return before

    # --- the words --------------------------------------------------------------------------------------------------

    def _counted(self) -> str:
        ready, desired = self._seen.ready, self._seen.desired
        if ready >= desired:
            return "1 replica answers" if ready == 1 else f"{ready} replicas answer"
        return f"{ready} of {desired} replicas answer{'s' if ready == 1 else ''}"

    def _followed(self) -> str:
        """Without what was measured, which changes all the time: the activator's metrics have it."""
        if not self._seen.follows:
            return ""
        if not self._seen.may_follow:
            return (
                f" Their number follows the requests in flight instead of {self._seen.follows}, because now only the "
                f"{_oldest(self._seen.follow_share)} times, and at most {following.IN_ALL} in all."
            )
        return f" Their number follows {self._seen.follows}."

    def _start(self) -> str:
        since = f" since {self._seen.waking_since:%H:%M:%S} UTC" if self._seen.waking_since else ""
        step = self._seen.step.meaning
        words = f"The first replica is on its way{since}: {step[0].lower()}{step[1:]}"
        if self._seen.step is Reason.FETCHING_MODEL and self._seen.fetching:
            return f"{words.rstrip('.')}: {self._seen.fetching}."
        return words


def _oldest(share: int) -> str:
    return f"{share} oldest models of a namespace follow" if share > 1 else "oldest model of a namespace follows"


def _explained(cause: Cause) -> str:
    since = f" since {cause.since:%Y-%m-%d %H:%M:%S} UTC" if cause.since else ""
    return f"{cause.reason}{since}: {cause.message.rstrip('.')}."


def _is_plan(plan: Planned | Unplanned) -> bool:
    """A runtime check of the whole protocol would take longer than everything else here."""
    return hasattr(plan, "gpus_per_replica")


def _without_empty(value: Any) -> Any:
    match value:
        case dict():
            kept = {name: _without_empty(each) for name, each in value.items()}
            return {name: each for name, each in kept.items() if each not in (None, {}, [])}
        case list():
            return [_without_empty(each) for each in value]
    return value
