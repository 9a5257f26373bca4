"""What is worth an event on the object: each change of its state, each new cause, and a plan that has missed what was
measured; never a mere reconcile."""

from __future__ import annotations

from dataclasses import dataclass

from slipway.api.reasons import ConditionType, Reason, State
from slipway.contract.runbooks import Runbooks
from slipway.objects.conditions import condition
from slipway.objects.kinds import Object
from slipway.observing import measured, scaling_step
from slipway.observing.giving_up import COMPILED, WEIGHTS, given_up_in

UPDATE = "UpdateAvailable"
PLAN_WARNING = "PlanWarning"
GIVEN_UP = {COMPILED: "CompileCacheGivenUp", WEIGHTS: "ModelCacheGivenUp"}
AGAIN = "It is tried again when the model sleeps; status.{} says from when on."
SCALED = "Scaled"
TROUBLE = {State.DEGRADED, State.FAILED}
EXPLAINED_BESIDES = (ConditionType.SCALED, ConditionType.WITHIN_BUDGET)


@dataclass(frozen=True)
class Notice:
    """An event to be written: its type (Normal or Warning), its reason and its message."""

    type: str
    reason: str
    message: str


def events_between(previous: Object | None, current: Object) -> list[Notice]:
    """The events that explain the change from one status to the next; none if nothing important has changed."""
    news = [
        *_available_update(previous, current),
        *_warnings_of_plan(previous, current),
        *_missed_plan(previous, current),
        *(notice for cache in GIVEN_UP for notice in _given_up_claim(previous, current, cache)),
        *_budget(previous, current),
        *_step(previous, current),
    ]
    if previous and _story(previous) == _story(current):
        return news
    _, trouble = _story(current)
    is_trouble = bool(trouble) or current["state"] in TROUBLE
    return [*news, Notice("Warning" if is_trouble else "Normal", trouble or current["state"], current["message"])]


def with_runbook(status: Object, runbooks: Runbooks) -> Object:
    """With `runbook`, the link for the most important reason that has one; it changes with the reasons alone.

    A model without trouble may still have a condition whose reason needs a person: it is paused, it isn't certain that
    KEDA works, or its budget is nearly spent. Reasons of what is good have no runbook."""
    besides = (condition({"status": status}, each) or {} for each in EXPLAINED_BESIDES)
    reasons = (_trouble(status), *(each.get("reason", "") for each in besides))
    url = next(filter(None, map(runbooks.of, reasons)), "")
    return {**status, "runbook": url} if url else status


def _available_update(previous: Object | None, current: Object) -> list[Notice]:
    update = current.get("update")
    if not update or update == (previous or {}).get("update"):
        return []
    message = (
        f"Slipway {update['version']} would create the pods differently ({'; '.join(update['changes'])}). They stay as "
        "they are until the annotation slipway.dev/sync changes."
    )
    return [Notice("Normal", UPDATE, message)]


def _warnings_of_plan(previous: Object | None, current: Object) -> list[Notice]:
    """Those that are new, in one event: reasons that repeat within a minute are recorded once."""
    before, now = (((status or {}).get("plan") or {}).get("warnings") or [] for status in (previous, current))
    new = [each for each in now if each not in before]
    return [Notice("Warning", PLAN_WARNING, " ".join(new))] if new else []


def _missed_plan(previous: Object | None, current: Object) -> list[Notice]:
    """Once for each load of the model."""
    if measured.missed_plan(current) is None or measured.is_same_load(previous, current):
        return []
    return [Notice("Warning", Reason.PLAN_MISSED, measured.words_on_error(current))]


def _given_up_claim(previous: Object | None, current: Object, cache: str) -> list[Notice]:
    """Each time that the claim of a cache would have kept a replica from running."""
    before, now = (given_up_in(status, cache) or {} for status in (previous, current))
    if not now.get("at") or now["at"] == before.get("at"):
        return []
    message = f"{now.get('message', '')} Replicas start without it. {AGAIN.format(cache)}"
    return [Notice("Warning", GIVEN_UP[cache], message)]


def _budget(previous: Object | None, current: Object) -> list[Notice]:
    """At 80 % and at 100 %, and when a spent one is reset or raised."""
    before, now = (_within_budget(status or {}) for status in (previous, current))
    if not now or now["reason"] == before.get("reason"):
        return []
    if now["reason"] == Reason.WITHIN_BUDGET:
        return [Notice("Normal", now["reason"], now["message"])] if before.get("status") == "False" else []
    return [Notice("Warning", now["reason"], now["message"])]


def _step(previous: Object | None, current: Object) -> list[Notice]:
    """Each change of the number of replicas that follows times, once it is known what was measured."""
    now = current.get("lastScaled")
    if not now or now == (previous or {}).get("lastScaled"):
        return []
    return [Notice("Normal", SCALED, scaling_step.in_words(now))]


def _within_budget(status: Object) -> Object:
    return condition({"status": status}, ConditionType.WITHIN_BUDGET) or {}


def _story(status: Object) -> tuple[str, str]:
    """The state, and the reason of the problem, if there is one."""
    return status.get("state", ""), _trouble(status)


def _trouble(status: Object) -> str:
    conditions = {each["type"]: each for each in status.get("conditions") or []}
    ready, stalled = conditions.get(ConditionType.READY, {}), conditions.get(ConditionType.STALLED, {})
    if ready.get("status") == "False":
        return str(ready["reason"])
    if stalled.get("status") == "True":
        return str(stalled["reason"])
    moving = conditions.get(ConditionType.RECONCILING, {})
    return str(moving.get("reason", "")) if status.get("state") == State.DEGRADED else ""
