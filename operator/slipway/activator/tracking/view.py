"""All that the cluster shows of one deployment → what the data path has to know of it. Pure.

Causes come from the pods themselves, as soon as they show them; and from the status, where no pod could.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError

from slipway.activator.shared.hold_limits import HoldLimits
from slipway.activator.shared.model_key import ModelKey
from slipway.activator.shared.model_state import ModelState
from slipway.activator.shared.replica import Replica
from slipway.activator.shared.wake_estimate import expected_wake, size_of
from slipway.activator.tracking.idleness import STALE_AFTER, ModelUse
from slipway.activator.tracking.pod_summary import PodSummary
from slipway.activator.tracking.rules_from_spec import rules_of
from slipway.api import asked, names, units
from slipway.api.engine import ANY_CONCURRENCY, MOST_CONCURRENCY
from slipway.api.model import ModelFacts
from slipway.api.reasons import ConditionType, Reason
from slipway.api.scaling import ScalingSpec
from slipway.observing.cause import NO_POD_CAN_HELP, WOULD_HAPPEN_AGAIN, Cause, reason_named
from slipway.observing.observation import observe
from slipway.observing.phases import length_of
from slipway.observing.world import WorldView, condition, parse_time

Object = dict[str, Any]

NOTICED_WITHIN = timedelta(seconds=STALE_AFTER)
"""Of a request that goes to a replica directly: so late may it be seen, and it counts as one that came before."""
TELL_NOTHING = (Reason.NOT_READY, Reason.ACTIVATOR_UNAVAILABLE)
PATIENCE = 2.0  # times the time limit, for which a replica that nobody waits for may try to become ready


@dataclass(frozen=True, kw_only=True)
class ModelView:
    """What is known of a deployment at one moment."""

    deployment: Object
    port: int | None  # of ours, that the table gives to this very deployment
    service: Object | None
    pods: Sequence[PodSummary]
    shown: Sequence[Object]  # those of them that are worth reading
    extra_slice: Object | None  # the EndpointSlice that leads to us
    now: datetime
    starts: tuple[float, ...] = ()  # seconds that earlier starts took
    use: ModelUse = field(default_factory=ModelUse)  # of the replicas that are ready
    running: float = 0.0  # requests that the engines have
    greeted: frozenset[str] = frozenset()  # uids of pods that say themselves that they are ready


def model_state(sight: ModelView) -> ModelState | None:
    """None: it has no port yet, so nobody can ask for it here."""
    if sight.port is None:
        return None
    scaling = scaling_of(sight.deployment)
    size = model_size(sight.deployment)
    limits = HoldLimits.of(scaling.hold, last_starts=sight.starts, model_bytes=size)
    seen = observe(None, WorldView(now=sight.now, pods=tuple(sight.shown)))
    cause = seen.cause or _told(sight.deployment)
    concurrency = _concurrency(sight.deployment)
    target = scaling.target.in_flight if scaling.target else None
    return ModelState(
        deployment=deployment_of(sight.deployment),
        port=sight.port,
        rules=rules_of(sight.deployment),
        limits=limits,
        replicas=replicas(sight, concurrency),
        cause=cause,
        step=seen.step if seen.warming_up else None,
        expected_wake=expected_wake(sight.starts, size) if sight.starts or size else None,
        target_per_replica=float(target) if isinstance(target, int) else float(concurrency),
        in_use=_is_used(sight, scaling)
        or _is_starting(sight, limits, failed=bool(seen.cause and seen.cause.final))
        or _is_woken(sight, limits, scaling, hopeless=bool(cause and cause.final)),
        sent_to_sleep=_sent_to_sleep(sight, scaling),
        is_direct=bool(sight.extra_slice) and not leads_here(sight.extra_slice),
        running=sight.running,
    )


# --- parts of it, for others too -------------------------------------------------------------------------------------


def deployment_of(thing: Object) -> ModelKey:
    return ModelKey(thing["metadata"]["namespace"], thing["metadata"]["name"])


def engine_port(service: Object | None) -> int:
    ports = (service or {}).get("spec", {}).get("ports") or [{}]
    target = ports[0].get("targetPort")
    return target if isinstance(target, int) else names.ENGINE_PORT


def scaling_of(deployment: Object) -> ScalingSpec:
    """One that can't be read is the operator's to complain about."""
    try:
        return ScalingSpec.model_validate(deployment["spec"].get("scaling") or {})
    except ValidationError:
        return ScalingSpec()


def model_size(deployment: Object) -> float | None:
    """Bytes; None if the spec doesn't tell, or not in a way that can be read."""
    try:
        return size_of(ModelFacts.model_validate(deployment["spec"]["model"].get("facts") or {}))
    except ValidationError:
        return None


def asked_of(deployment: Object) -> asked.Asked:
    return asked.asked(deployment["metadata"].get("annotations") or {})


def next_moment(sight: ModelView) -> datetime | None:
    """When something else is known of it, though nothing changes, because of what somebody asked."""
    found = asked_of(sight.deployment)
    if found == asked.Asked():
        return None
    scaling = scaling_of(sight.deployment)
    limits = HoldLimits.of(scaling.hold, last_starts=sight.starts, model_bytes=model_size(sight.deployment))
    return found.next_moment(sight.now, units.seconds(scaling.idle_after), limits.timeout)


def last_cold_start(deployment: Object) -> float | None:
    """Seconds, as the status remembers it: the sum of its phases. None: it remembers none, or not so that it could be.

    The owner of a deployment can write its status, too.
    """
    phases = (deployment.get("status") or {}).get("lastColdStart") or {}
    return length_of(phases) if phases else None


def leads_here(extra_slice: Object | None) -> bool:
    """Whether new connections to the Service come to us: else it only stands by for when no replica is ready."""
    endpoints = (extra_slice or {}).get("endpoints") or []
    return any((each.get("conditions") or {}).get("ready", True) for each in endpoints)


def replicas(sight: ModelView, concurrency: int) -> tuple[Replica, ...]:
    port = engine_port(sight.service)
    return tuple(
        Replica(pod.address, port, concurrency)
        for pod in sight.pods
        if pod.is_ready or (pod.container and pod.uid in sight.greeted)
    )


# --- inside ----------------------------------------------------------------------------------------------------------


def _concurrency(deployment: Object) -> int:
    chosen = (deployment["spec"].get("engine") or {}).get("maxConcurrency")
    planned = ((deployment.get("status") or {}).get("plan") or {}).get("maxConcurrency")
    return min(max(1, int(chosen or planned or ANY_CONCURRENCY)), MOST_CONCURRENCY)


def _told(deployment: Object) -> Cause | None:
    """What the operator says where no pod shows a cause: final only if no pod could help, or nobody would try again."""
    ready = _not_ready(deployment)
    if not ready:
        return None
    reason = reason_named(ready.get("reason", ""))
    if reason in NO_POD_CAN_HELP:
        return Cause(reason, ready.get("message", ""), final=True)
    return None if reason.is_final or reason in TELL_NOTHING else Cause(reason, ready.get("message", ""))


def _not_ready(deployment: Object) -> Object:
    """The condition that says so of this very spec; empty if there is none."""
    ready = condition(deployment, ConditionType.READY) or {}
    is_of_this_spec = ready.get("observedGeneration") == deployment["metadata"].get("generation")
    return ready if ready.get("status") == "False" and is_of_this_spec else {}


# --- whether replicas are to be kept, though no request may be here --------------------------------------------------


def _is_used(sight: ModelView, scaling: ScalingSpec) -> bool:
    """Those that are ready: of late, or later than somebody sent them to sleep."""
    created = [pod.created for pod in sight.pods if pod.is_ready]
    if not created or sight.use.idle_for >= units.seconds(scaling.idle_after):
        return False
    asleep = _sent_to_sleep(sight, scaling)
    if asleep is None or not sight.use.is_over or _is_after(max(created), asleep):
        return True
    began = sight.use.began
    return began is not None and sight.now - timedelta(seconds=began) > asleep + NOTICED_WITHIN


def _is_starting(sight: ModelView, limits: HoldLimits, *, failed: bool) -> bool:
    """None is ready, and one is on its way, for as long as anybody would wait; unless it was sent to sleep since."""
    if failed or any(pod.is_ready for pod in sight.pods):
        return False
    asleep = asked_of(sight.deployment).sent_to_sleep(sight.now)
    created = [pod.created for pod in sight.pods if pod.is_coming and pod.created]
    since = parse_time(min((each for each in created if asleep is None or _is_after(each, asleep)), default=None))
    return since is not None and (sight.now - since).total_seconds() < PATIENCE * limits.timeout


def _is_woken(sight: ModelView, limits: HoldLimits, scaling: ScalingSpec, *, hopeless: bool) -> bool:
    """By hand. At zero that is a request, which waits no longer than others; and whoever was awake isn't idle."""
    since = asked_of(sight.deployment).woken(sight.now)
    lasting = units.seconds(scaling.idle_after)
    if since is None or not asked.is_recent(since, sight.now, lasting):
        return False
    if any(pod.is_ready for pod in sight.pods):
        return True
    return not hopeless and not _has_failed(sight, since) and asked.is_recent(since, sight.now, limits.timeout)


def _sent_to_sleep(sight: ModelView, scaling: ScalingSpec) -> datetime | None:
    """Once nobody has asked for `idleAfter` since then, it sleeps anyway."""
    since = asked_of(sight.deployment).sent_to_sleep(sight.now)
    return since if since and asked.is_recent(since, sight.now, units.seconds(scaling.idle_after)) else None


def _has_failed(sight: ModelView, since: datetime) -> bool:
    """Since then, as the operator tells: with its pod gone, it would only fail again."""
    ready = _not_ready(sight.deployment)
    reason, failed_at = reason_named(ready.get("reason", "")), parse_time(ready.get("lastTransitionTime"))
    would_fail_again = reason.is_final or reason in WOULD_HAPPEN_AGAIN
    return would_fail_again and failed_at is not None and failed_at >= since


def _is_after(created: str, moment: datetime) -> bool:
    """Of a pod; the API server writes whole seconds."""
    at = parse_time(created)
    return at is not None and at > moment
