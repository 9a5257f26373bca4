"""What a snapshot shows about an LLMDeployment: counts, the cause of a problem, the step of a start, its address."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from slipway.api.llmdeployment import LLMDeployment
from slipway.api.reasons import Reason
from slipway.objects.kinds import SCALED_OBJECT, Object
from slipway.objects.metadata import created_at, name_of
from slipway.objects.times import is_near, parse_time
from slipway.observing import platform, scaler
from slipway.observing.autoscaling import METRICS_COME_WITHIN, cause_of_autoscaler, silent_since
from slipway.observing.budget import Budget
from slipway.observing.cause import Cause
from slipway.observing.causes import NO_ROOM, main_cause
from slipway.observing.containers import LONG_SILENCE
from slipway.observing.following import OF_NAMESPACE
from slipway.observing.objectives import followed_targets
from slipway.observing.phases import Phases, phases_of, step_of
from slipway.observing.pods import OVERDUE, Pod
from slipway.observing.rollout import is_updating, makes_room, place_is_taken_by
from slipway.observing.snapshot import Snapshot
from slipway.observing.versions import FOLLOWS_WITHIN, is_awaited

PATIENCE = timedelta(minutes=10)
"""For problems that usually pass on their own; those that last longer count as lasting."""

ROUTED_WITHIN = timedelta(seconds=3)
"""A new Service works once kube-proxy on each node has processed it, which nothing reports. A client that believes
the status too early would be refused. Creation times are in whole seconds, so that it is 2 s at least.
"""


@dataclass(frozen=True, kw_only=True)
class Observation:
    """The facts from which the status is written. It lives for one reconcile."""

    desired: int
    ready: int
    warming_up: int
    made: bool = True  # KServe has created its Deployment, and our Service works by now
    updating: bool = False  # pods of an older version are still there, or KServe has yet to replace them
    cause: Cause | None = None  # why replicas are missing
    scaling_cause: Cause | None = None  # why their number can't follow the demand
    scaling_doubt: Cause | None = None  # why it couldn't if it had to; running replicas are not affected
    pause: Cause | None = None  # someone wants the number of replicas to stay as it is
    lasting: bool = False  # the cause won't pass on its own
    step: Reason = Reason.STARTING  # of the first replica that is starting
    fetching: str = ""  # how far it is with the model's files, in words
    waking_since: datetime | None = None
    phases: Phases | None = None  # of the first replica that is ready
    pod: str = ""  # that replica
    url: str | None = None
    activator_answers: bool | None = None
    follows: str = ""  # the times that the number of replicas is to follow
    may_follow: bool = True
    follow_share: int = OF_NAMESPACE
    budget: Budget | None = None
    look_again_at: datetime | None = None  # time alone may change the status then


def observe(deployment: LLMDeployment | None, snapshot: Snapshot) -> Observation:
    """`deployment`: None if it is invalid; running replicas are reported all the same."""
    pods = sorted(
        (Pod(raw, snapshot) for raw in snapshot.pods), key=lambda pod: (pod.created or snapshot.now, pod.name)
    )
    ready = [pod for pod in pods if pod.is_ready]
    coming = [pod for pod in pods if pod.is_on_its_way]
    cause = _trouble(deployment, snapshot)
    return Observation(
        desired=desired_replicas(deployment, snapshot),
        ready=len(ready),
        warming_up=len(coming),
        made=bool(snapshot.deployments) and not _is_new(snapshot.service, snapshot.now),
        updating=is_updating(snapshot) or is_awaited(snapshot),
        cause=cause,
        scaling_cause=_scaling_cause(deployment, snapshot),
        scaling_doubt=platform.doubt_in(snapshot) or scaler.doubt_in(snapshot),
        pause=_pause(deployment, snapshot) if deployment else None,
        lasting=bool(cause and (cause.final or _outlasted_patience(cause, snapshot.now))),
        step=step_of(coming[0]) if coming else Reason.STARTING,
        fetching=snapshot.fetching.in_words() if snapshot.fetching else "",
        waking_since=coming[0].created if coming else None,
        phases=phases_of(ready[0]) if ready else None,
        pod=ready[0].name if ready else "",
        url=_url(snapshot.service),
        activator_answers=snapshot.activator_answers,
        follows=followed_targets(deployment.spec) if deployment else "",
        may_follow=snapshot.may_follow_times,
        follow_share=snapshot.follow_share,
        budget=snapshot.budget,
        look_again_at=min(_moments(pods, cause, snapshot), default=None),
    )


def _trouble(deployment: LLMDeployment | None, snapshot: Snapshot) -> Cause | None:
    """A missing node is no problem while a place becomes free, or while the rollout frees one."""
    cause = main_cause(snapshot)
    frees_place = bool(deployment and deployment.spec.rollout.strategy == "Auto" and is_updating(snapshot))
    return None if cause and cause.reason in NO_ROOM and (frees_place or makes_room(snapshot)) else cause


def desired_replicas(deployment: LLMDeployment | None, snapshot: Snapshot) -> int:
    """The replicas of KServe's Deployment; before it exists, the number that the spec starts with."""
    if snapshot.deployments:
        return sum(int(each["spec"].get("replicas", 1)) for each in snapshot.deployments)
    if deployment is None:
        return 0
    scaling = deployment.spec.scaling
    return max(scaling.min_replicas or 0, scaling.initial_replicas or 0)


def _scaling_cause(deployment: LLMDeployment | None, snapshot: Snapshot) -> Cause | None:
    if deployment is None:
        return None
    if deployment.spec.scaling.autoscaler == "HPA":
        return cause_of_autoscaler(snapshot)
    if deployment.spec.scaling.autoscaler != "KEDA" or SCALED_OBJECT in snapshot.kinds:
        return None
    message = "The cluster has no ScaledObjects; once KEDA is installed, the number of replicas follows the demand"
    return Cause(Reason.KEDA_MISSING, message, final=True)


def _pause(deployment: LLMDeployment, snapshot: Snapshot) -> Cause | None:
    """By our annotation, or by one of KEDA's that another program or a person has set."""
    if deployment.is_paused:
        return Cause(Reason.PAUSED, Reason.PAUSED.meaning)
    annotation = platform.pause_of(snapshot.scaled_object, at_zero=platform.wants_none(snapshot))
    if not annotation or deployment.spec.scaling.autoscaler != "KEDA":
        return None
    name = name_of(snapshot.scaled_object or {})
    message = f"The annotation {annotation} of ScaledObject {name} pauses KEDA; remove it to resume scaling."
    return Cause(Reason.SCALING_PAUSED, message)


def _url(service: Object | None) -> str | None:
    if service is None:
        return None
    meta, ports = service["metadata"], service.get("spec", {}).get("ports") or [{}]
    port = ports[0].get("port", 80)
    return f"http://{meta['name']}.{meta['namespace']}.svc" + ("" if port == 80 else f":{port}")


def _routed_at(service: Object | None) -> datetime | None:
    since = created_at(service) if service else None
    return since + ROUTED_WITHIN if since else None


def _is_new(service: Object | None, now: datetime) -> bool:
    since = created_at(service) if service else None
    return since is not None and is_near(since, now, ROUTED_WITHIN)


def _outlasted_patience(cause: Cause, now: datetime) -> bool:
    return cause.since is not None and now - cause.since >= PATIENCE


def _moments(pods: list[Pod], cause: Cause | None, snapshot: Snapshot) -> Iterator[datetime]:
    """The future moments at which time alone changes the status."""
    moments = [cause.since + PATIENCE] if cause and cause.since and not cause.final else []
    moments += [*platform.moments_in(snapshot), *scaler.moments_in(snapshot)]
    if routed_at := _routed_at(snapshot.service):
        moments.append(routed_at)
    if snapshot.remade and is_awaited(snapshot):
        moments.append(snapshot.remade.at + FOLLOWS_WITHIN)
    if taken_by := place_is_taken_by(snapshot):
        moments.append(taken_by)
    if silence := silent_since(snapshot):
        moments.append(silence + METRICS_COME_WITHIN)
    for pod in pods:
        if pod.is_leaving and (due := parse_time(pod.raw["metadata"]["deletionTimestamp"])):
            moments.append(due + OVERDUE)
        for container in pod.containers() if pod.is_on_its_way else ():
            if began := parse_time(container.running.get("startedAt")):
                moments.append(began + LONG_SILENCE)
    return (moment for moment in moments if moment > snapshot.now)
