"""In which situation an LLMDeployment is, and what its status says in each: one table, and nothing that acts."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, StrEnum
from typing import NamedTuple

from slipway.api.reasons import Reason, State
from slipway.observing.cause import KEEPS_ASLEEP, Cause
from slipway.observing.observation import Observation


class Situation(StrEnum):
    READING = "Reading"  # a Job reads the model's files, and the plan follows
    READING_AT_ZERO = "ReadingAtZero"  # the same, and no replica is wanted
    READING_WITH_REPLICAS = "ReadingWithReplicas"  # the same, and replicas of an earlier spec serve
    IDLE = "Idle"  # at zero, and healthy: a request now would wake a replica
    PAUSED = "Paused"  # at zero, and someone wants it to stay there
    REFUSING = "Refusing"  # at zero, and requests are refused until its budget is reset
    CREATING = "Creating"  # KServe hasn't made the Deployment, or the Service is so new that it may lead nowhere
    CREATING_AT_ZERO = "CreatingAtZero"  # the same, and no replica is wanted
    WAKING = "Waking"  # the first replica is starting
    WAKING_IN_DOUBT = "WakingInDoubt"  # the same, and it may never become ready
    SERVING = "Serving"  # all wanted replicas are ready
    SCALING = "Scaling"  # some are ready, and their number changes
    UPDATING = "Updating"  # a new version is rolled out, and a replica serves
    UPDATING_WITHOUT_REPLICA = "UpdatingWithoutReplica"  # the same without a spare accelerator: requests are held
    DEGRADED = "Degraded"  # requests are answered, but something is wrong that may pass
    DEGRADED_STALLED = "DegradedStalled"  # requests are answered, but something is wrong that won't pass
    FAILED = "Failed"  # no request is answered before a person fixes the cause
    FAILED_FOR_NOW = "FailedForNow"  # no request is answered before the platform recovers


class From(Enum):
    """A reason that isn't the same each time."""

    CAUSE = "the reason of the cause"
    STEP = "what the first starting replica is doing"


class Row(NamedTuple):
    """`message` may use {meaning} of the reason of Ready, {counted} replicas, the {cause}, the {start} so far, the
    message of the {budget} or the {pause}, and what happens {afterwards}, once no replica is left."""

    state: State
    ready: bool | None  # None: unknown
    ready_because: Reason | From
    loaded_because: Reason | From  # the reason of ModelLoaded, which is True while a replica is ready
    reconciling: Reason | From | None  # the reason; None: not reconciling
    stalled: bool  # with the reason and the message of the cause
    message: str


CREATING = "The Deployment and the Service of this model are being created."
ROLLING_OUT = "A new version is being rolled out: {counted_inside}"

# The columns: state, Ready and its reason, reason of ModelLoaded, reason of Reconciling, Stalled, message.
TABLE: Mapping[Situation, Row] = {
    Situation.READING: Row(
        State.WAKING, None, Reason.READING_MODEL, Reason.READING_MODEL, Reason.READING_MODEL, False, "{cause}"
    ),
    Situation.READING_AT_ZERO: Row(
        State.IDLE, None, Reason.READING_MODEL, Reason.READING_MODEL, Reason.READING_MODEL, False, "{cause}"
    ),
    Situation.READING_WITH_REPLICAS: Row(
        State.UPDATING, True, Reason.UPDATING, Reason.SERVING, Reason.READING_MODEL, False, "{counted}; {cause}"
    ),
    Situation.IDLE: Row(
        State.IDLE, True, Reason.SCALED_TO_ZERO, Reason.SCALED_TO_ZERO, None, False, "{meaning}"
    ),
    Situation.PAUSED: Row(
        State.IDLE, False, From.CAUSE, From.CAUSE, None, False, "No replica runs. {pause}"
    ),
    Situation.REFUSING: Row(
        State.IDLE, False, Reason.BUDGET_SPENT, Reason.BUDGET_SPENT, None, False, "{budget}"
    ),
    Situation.CREATING_AT_ZERO: Row(
        State.IDLE, None, Reason.UPDATING, Reason.UPDATING, Reason.UPDATING, False, CREATING
    ),
    Situation.CREATING: Row(
        State.WAKING, None, Reason.UPDATING, Reason.UPDATING, Reason.UPDATING, False, CREATING
    ),
    Situation.WAKING: Row(
        State.WAKING, True, Reason.WAKING, From.STEP, Reason.WAKING, False, "{start}"
    ),
    Situation.WAKING_IN_DOUBT: Row(
        State.WAKING, False, From.CAUSE, From.CAUSE, Reason.WAKING, False, "{cause}"
    ),
    Situation.SERVING: Row(
        State.SERVING, True, Reason.SERVING, Reason.SERVING, None, False, "{counted}."
    ),
    Situation.SCALING: Row(
        State.SERVING, True, Reason.SERVING, Reason.SERVING, Reason.SCALING, False, "{counted}."
    ),
    Situation.UPDATING: Row(
        State.UPDATING, True, Reason.UPDATING, Reason.SERVING, Reason.UPDATING, False, f"{ROLLING_OUT}."
    ),
    Situation.UPDATING_WITHOUT_REPLICA: Row(
        State.UPDATING, True, Reason.UPDATING, From.STEP, Reason.UPDATING, False,
        f"{ROLLING_OUT}; requests wait for the first replica of the new version.",
    ),
    Situation.DEGRADED: Row(
        State.DEGRADED, True, Reason.SERVING, Reason.SERVING, From.CAUSE, False, "{counted}; {cause}"
    ),
    Situation.DEGRADED_STALLED: Row(
        State.DEGRADED, True, Reason.SERVING, Reason.SERVING, None, True, "{counted}; {cause}{afterwards}"
    ),
    Situation.FAILED: Row(
        State.FAILED, False, From.CAUSE, From.CAUSE, None, True, "{cause}"
    ),
    Situation.FAILED_FOR_NOW: Row(
        State.FAILED, False, From.CAUSE, From.CAUSE, From.CAUSE, False, "{cause}"
    ),
}  # fmt: skip


class Found(NamedTuple):
    """The situation, and the cause that its row reports."""

    situation: Situation
    cause: Cause | None = None


def situation_of(
    seen: Observation, cause: Cause | None, *, lasting: bool, was_updating: bool, last_failure: Cause | None
) -> Found:
    """`cause`: why replicas are missing, or why there is no plan; `lasting`: it won't pass on its own; `last_failure`:
    why the last start of this spec failed."""
    if cause and cause.reason == Reason.READING_MODEL:
        return Found(_reading(seen), cause)
    if seen.ready:
        return _with_replicas(seen, cause, lasting=lasting, was_updating=was_updating)
    if cause and lasting:
        return Found(Situation.FAILED, cause)
    if seen.desired:
        return _starting(seen, cause, was_updating=was_updating)
    return _at_zero(seen, cause, last_failure)


def _reading(seen: Observation) -> Situation:
    if seen.ready:
        return Situation.READING_WITH_REPLICAS
    return Situation.READING if seen.desired else Situation.READING_AT_ZERO


def _with_replicas(seen: Observation, cause: Cause | None, *, lasting: bool, was_updating: bool) -> Found:
    if problem := cause or seen.scaling_cause:
        stalled = lasting or cause is None
        return Found(Situation.DEGRADED_STALLED if stalled else Situation.DEGRADED, problem)
    if seen.updating or (was_updating and seen.ready < seen.desired):
        return Found(Situation.UPDATING)
    is_settled = seen.ready == seen.desired and not seen.warming_up
    return Found(Situation.SERVING if is_settled else Situation.SCALING)


def _starting(seen: Observation, cause: Cause | None, *, was_updating: bool) -> Found:
    if cause:
        return Found(Situation.WAKING_IN_DOUBT, cause)
    if not seen.made:
        return Found(Situation.CREATING)
    return Found(Situation.UPDATING_WITHOUT_REPLICA if seen.updating or was_updating else Situation.WAKING)


def _at_zero(seen: Observation, cause: Cause | None, last_failure: Cause | None) -> Found:
    if failure := seen.scaling_cause or last_failure:
        return Found(Situation.FAILED, failure)
    if cause and (cause.reason in KEEPS_ASLEEP or not seen.made):
        return Found(Situation.FAILED_FOR_NOW, cause)
    if not seen.made:
        return Found(Situation.CREATING_AT_ZERO)
    if seen.budget and seen.budget.refuses:
        return Found(Situation.REFUSING)
    return Found(Situation.PAUSED, seen.pause) if seen.pause else Found(Situation.IDLE)
