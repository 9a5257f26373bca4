"""What the cluster shows of one model (`ModelView`) → what the proxy has to know of it (`ModelState`). Pure.

Causes are read from the pods themselves, as soon as they show them; and from the status, where no pod could.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pydantic import ValidationError

from slipway.activator.shared.by_times import ByTimes
from slipway.activator.shared.hold_limits import HoldLimits
from slipway.activator.shared.model_state import ModelState
from slipway.activator.shared.replica import Replica
from slipway.activator.tracking.idleness import STALE_AFTER, ModelUse
from slipway.activator.tracking.pod_summary import PodSummary
from slipway.activator.tracking.rules_from_spec import rules_of
from slipway.activator.tracking.spent_budget import SpentBudget, spent_budget
from slipway.api import asked, units
from slipway.api.engine import ANY_CONCURRENCY, MOST_CONCURRENCY
from slipway.api.model_key import ModelKey
from slipway.api.reasons import ConditionType, Reason
from slipway.api.scaling import ScalingSpec
from slipway.api.status import LONGEST_DURATION
from slipway.contract.pod import ENGINE_PORT
from slipway.objects.conditions import condition
from slipway.objects.kinds import Object
from slipway.objects.times import parse_time
from slipway.observing.cause import NO_POD_CAN_HELP, WOULD_HAPPEN_AGAIN, Cause, reason_named
from slipway.observing.observation import observe
from slipway.observing.snapshot import Snapshot
from slipway.observing.wake_estimate import expected_wake, model_size

NOTICED_WITHIN = timedelta(seconds=STALE_AFTER)
"""A request that goes directly to a replica may be noticed so late, and counts as one that was sent before."""
WITHOUT_CAUSE = (Reason.NOT_READY, Reason.ACTIVATOR_UNAVAILABLE, Reason.BUDGET_SPENT)
PATIENCE = 2.0  # times the time limit, for which a replica may try to become ready without a request that waits


@dataclass(frozen=True, kw_only=True)
class ModelView:
    """What the cluster shows of one model at one moment."""

    deployment: Object
    port: int | None  # of ours, that the port table assigns to this model
    service: Object | None
    pods: Sequence[PodSummary]
    read_pods: Sequence[Object]  # those of them that are worth reading
    extra_slice: Object | None  # the EndpointSlice that points to us
    now: datetime
    starts: tuple[float, ...] = ()  # seconds that earlier starts took
    use: ModelUse = field(default_factory=ModelUse)  # of the replicas that are ready
    running: float = 0.0  # requests that the engines have
    by_times: ByTimes | None = None  # how many replicas it needs, where they follow times
    answered_ready: frozenset[str] = frozenset()  # uids of pods that answer that they are ready


def model_state(view: ModelView) -> ModelState | None:
    """None: it has no port yet, so it can't be called here."""
    if view.port is None:
        return None
    scaling = scaling_of(view.deployment)
    size = model_size(view.deployment)
    limits = _limits(view, scaling)
    seen = observe(None, Snapshot(now=view.now, pods=tuple(view.read_pods)))
    shown = None if _is_of_the_spec_before(seen.cause, view.deployment) else seen.cause
    cause = shown or _cause_in_status(view.deployment)
    concurrency = concurrency_of(view.deployment)
    target = scaling.target.in_flight if scaling.target else None
    refused = _refused_until(spent_budget(view.deployment, view.now))
    return ModelState(
        key=ModelKey.of(view.deployment),
        port=view.port,
        rules=rules_of(view.deployment),
        limits=limits,
        replicas=usable_replicas(view, concurrency),
        cause=cause,
        step=seen.step if seen.warming_up else None,
        expected_wake=expected_wake(view.starts, size) if view.starts or size else None,
        target_per_replica=float(target) if isinstance(target, int) else float(concurrency),
        in_use=refused is None
        and (
            _is_used(view, scaling)
            or _is_starting(view, limits, failed=bool(shown and shown.final))
            or _is_woken(view, limits, scaling, hopeless=bool(cause and cause.final))
        ),
        sent_to_sleep=_sent_to_sleep(view, scaling),
        is_direct=bool(view.extra_slice) and not leads_here(view.extra_slice),
        running=view.running,
        by_times=view.by_times,
        refused_until=refused,
    )


# --- parts of it, also for the tracker --------------------------------------------------------------------------------


def engine_port(service: Object | None) -> int:
    ports = (service or {}).get("spec", {}).get("ports") or [{}]
    target = ports[0].get("targetPort")
    return target if isinstance(target, int) else ENGINE_PORT


def scaling_of(deployment: Object) -> ScalingSpec:
    """If it can't be read, the operator reports it."""
    try:
        return ScalingSpec.model_validate(deployment["spec"].get("scaling") or {})
    except ValidationError:
        return ScalingSpec()


def start_limit(deployment: Object) -> float | None:
    """Seconds, as the plan in the status has it; None: it has none, or one that can't be read."""
    written = ((deployment.get("status") or {}).get("plan") or {}).get("startLimit")
    try:
        return units.seconds(written) if isinstance(written, str) and len(written) <= LONGEST_DURATION else None
    except ValueError:
        return None


def concurrency_of(deployment: Object) -> int:
    chosen = (deployment["spec"].get("engine") or {}).get("maxConcurrency")
    planned = ((deployment.get("status") or {}).get("plan") or {}).get("maxConcurrency")
    return min(max(1, int(chosen or planned or ANY_CONCURRENCY)), MOST_CONCURRENCY)


def asked_of(deployment: Object) -> asked.Asked:
    return asked.asked(deployment["metadata"].get("annotations") or {})


def next_moment(view: ModelView) -> datetime | None:
    """When its state changes though no object does: because of an annotation to wake or to sleep, or because the budget
    is reset."""
    spent, found = spent_budget(view.deployment, view.now), asked_of(view.deployment)
    moments = [spent.until] if spent else []
    if found != asked.Asked():
        scaling = scaling_of(view.deployment)
        limits = _limits(view, scaling)
        asked_for = found.next_moment(view.now, units.seconds(scaling.idle_after), limits.timeout)
        moments += [asked_for] if asked_for else []
    return min(moments, default=None)


def least_replicas(view: ModelView, scaling: ScalingSpec) -> int:
    """Those that are kept without requests: none once the budget is spent, unless that is only reported."""
    return 0 if spent_budget(view.deployment, view.now) else scaling.min_replicas


def leads_here(extra_slice: Object | None) -> bool:
    """Whether new connections to the Service reach us; otherwise, the slice is there for when no replica is ready."""
    endpoints = (extra_slice or {}).get("endpoints") or []
    return any((each.get("conditions") or {}).get("ready", True) for each in endpoints)


def usable_replicas(view: ModelView, concurrency: int) -> tuple[Replica, ...]:
    port = engine_port(view.service)
    return tuple(
        Replica(pod.address, port, concurrency, parse_time(pod.created), parse_time(pod.scheduled))
        for pod in view.pods
        if pod.is_ready or (pod.container and pod.uid in view.answered_ready)
    )


# --- inside -----------------------------------------------------------------------------------------------------------


def _refused_until(spent: SpentBudget | None) -> datetime | None:
    return spent.until if spent and spent.refuses else None


def _limits(view: ModelView, scaling: ScalingSpec) -> HoldLimits:
    return HoldLimits.of(
        scaling.hold,
        last_starts=view.starts,
        model_bytes=model_size(view.deployment),
        start_limit=start_limit(view.deployment),
    )


def _is_of_the_spec_before(shown: Cause | None, deployment: Object) -> bool:
    """While pods are being replaced, one that shows a cause may be an old one, and the status promises that requests
    wait. If a new pod fails, too, the status no longer does."""
    ready = _ready(deployment)
    is_updating = (ready.get("status"), ready.get("reason")) == ("True", Reason.UPDATING)
    return bool(shown and shown.final and is_updating)


def _cause_in_status(deployment: Object) -> Cause | None:
    """What the operator reports if no pod shows a cause: final only if no pod could help."""
    ready = _not_ready(deployment)
    if not ready:
        return None
    reason = reason_named(ready.get("reason", ""))
    if reason in NO_POD_CAN_HELP:
        return Cause(reason, ready.get("message", ""), final=True)
    return None if reason.is_final or reason in WITHOUT_CAUSE else Cause(reason, ready.get("message", ""))


def _not_ready(deployment: Object) -> Object:
    """The condition Ready, if it is False for the present generation of the spec; empty otherwise."""
    ready = _ready(deployment)
    return ready if ready.get("status") == "False" else {}


def _ready(deployment: Object) -> Object:
    """The condition Ready of the present generation of the spec; empty if the status is about an earlier one."""
    ready = condition(deployment, ConditionType.READY) or {}
    is_of_this_spec = ready.get("observedGeneration") == deployment["metadata"].get("generation")
    return ready if is_of_this_spec else {}


# --- whether replicas have to stay, even without a request here -------------------------------------------------------


def _is_used(view: ModelView, scaling: ScalingSpec) -> bool:
    """Whether those that are ready were used recently, and after the model was sent to sleep."""
    created = [pod.created for pod in view.pods if pod.is_ready]
    if not created or view.use.idle_for >= units.seconds(scaling.idle_after):
        return False
    asleep = _sent_to_sleep(view, scaling)
    if asleep is None or not view.use.is_over or _is_after(max(created), asleep):
        return True
    started = view.use.started
    return started is not None and view.now - timedelta(seconds=started) > asleep + NOTICED_WITHIN


def _is_starting(view: ModelView, limits: HoldLimits, *, failed: bool) -> bool:
    """Whether none is ready, and one starts, for as long as requests would wait; unless it was sent to sleep since."""
    if failed or any(pod.is_ready for pod in view.pods):
        return False
    asleep = asked_of(view.deployment).sent_to_sleep(view.now)
    created = [pod.created for pod in view.pods if pod.is_coming and pod.created]
    since = parse_time(min((each for each in created if asleep is None or _is_after(each, asleep)), default=None))
    return since is not None and (view.now - since).total_seconds() < PATIENCE * limits.timeout


def _is_woken(view: ModelView, limits: HoldLimits, scaling: ScalingSpec, *, hopeless: bool) -> bool:
    """Whether an annotation has woken it. At zero, that counts as a request, which waits no longer than others; and a
    model that is awake isn't idle."""
    since = asked_of(view.deployment).woken(view.now)
    lasting = units.seconds(scaling.idle_after)
    if since is None or not asked.is_recent(since, view.now, lasting):
        return False
    if any(pod.is_ready for pod in view.pods):
        return True
    return not hopeless and not _has_failed(view, since) and asked.is_recent(since, view.now, limits.timeout)


def _sent_to_sleep(view: ModelView, scaling: ScalingSpec) -> datetime | None:
    """When; None if that is more than `idleAfter` ago, because without requests it sleeps anyway then."""
    since = asked_of(view.deployment).sent_to_sleep(view.now)
    return since if since and asked.is_recent(since, view.now, units.seconds(scaling.idle_after)) else None


def _has_failed(view: ModelView, since: datetime) -> bool:
    """Whether it has failed since then, as the operator reports: its pod is gone, and another one would fail, too."""
    ready = _not_ready(view.deployment)
    reason, failed_at = reason_named(ready.get("reason", "")), parse_time(ready.get("lastTransitionTime"))
    would_fail_again = reason.is_final or reason in WOULD_HAPPEN_AGAIN
    return would_fail_again and failed_at is not None and failed_at >= since


def _is_after(created: str, moment: datetime) -> bool:
    """Whether a pod was created after that; the API server writes full seconds."""
    at = parse_time(created)
    return at is not None and at > moment
