"""Why an LLMDeployment is as it is: from the object over the pod to the line of its log, and what to run next. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from slipway.api.reasons import Reason
from slipway.contract.explain import explain
from slipway.contract.lines import telling
from slipway.objects.conditions import is_true
from slipway.objects.kinds import POD, Object
from slipway.observing.cause import Cause
from slipway.observing.redacting import redacted

from slipway_cli.cluster.next_command import next_command
from slipway_cli.cluster.observed import observed_cause
from slipway_cli.cluster.remedies.case import Next
from slipway_cli.cluster.state import Evidence, State, age, age_of
from slipway_cli.cluster.world import World, events_about

HEALTHY = frozenset(
    {"", "Serving", "ScaledToZero", "AsWanted", "Scaling", "Updating", "Waking", "Planned", "ReadingModel"}
)
MOST_EVENTS = 3
MEANINGS = {str(each): each.meaning for each in Reason}
FINAL = {str(each) for each in Reason if each.is_final}


@dataclass(frozen=True)
class Step:
    """A link of the chain."""

    place: str  # the object, as kubectl names it
    says: str
    evidence: Evidence


@dataclass(frozen=True)
class Culprit:
    """The container whose log says why."""

    pod: str
    container: str
    is_previous: bool  # it has been restarted, and the log is that of the run before


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    state: State
    reason: str
    message: str
    is_well: bool
    is_final: bool
    doubt: str  # the reason of what the cluster shows of a model that is well, and that may pass
    steps: tuple[Step, ...]
    next: Next | None
    gaps: tuple[str, ...]

    def as_members(self) -> dict[str, Any]:
        return {
            "name": self.state.name,
            "namespace": self.state.namespace,
            "state": self.state.word,
            "well": self.is_well,
            "reason": self.reason or None,
            "message": self.message,
            "final": self.is_final,
            "doubt": self.doubt or None,
            "chain": [{"at": each.place, "says": each.says, "evidence": str(each.evidence)} for each in self.steps],
            "next": self.next.as_members() if self.next else None,
            "gaps": list(self.gaps) or None,
        }


def culprit_of(world: World) -> Culprit | None:
    """The container to read the log of: of the pod that has the cause, the first that has failed, or the one that
    runs and isn't ready."""
    pod = pod_of(world, observed_cause(world))
    return _culprit_in(pod) if pod else None


def diagnose(world: World, log: Sequence[str] = ()) -> Diagnosis:
    """`log`: the last lines of the culprit's log."""
    state, cause = State(world.llm), observed_cause(world)
    pod = pod_of(world, cause)
    reason, message = _verdict(state, cause)
    is_well = state.is_well and reason in HEALTHY
    doubt = cause.reason if cause and is_well else ""
    steps = [*_steps_of_object(world, state, cause), *_steps_of_pod(world, pod), *_steps_of_log(pod, log)]
    return Diagnosis(
        state=state,
        reason=reason,
        message=message,
        is_well=is_well,
        is_final=reason in FINAL,
        doubt=str(doubt),
        steps=tuple(steps),
        next=None if is_well else next_command(reason, message, world, pod),
        gaps=tuple(world.gaps()),
    )


def _verdict(state: State, cause: Cause | None) -> tuple[str, str]:
    """The operator's, unless it has none or hasn't seen the newest spec, and the cluster shows one; or what the cluster
    shows won't pass, and the operator is about to report it."""
    reported = state.reason
    if cause and cause.final and reported in HEALTHY and not state.ready:
        return str(cause.reason), cause.message
    if cause and (not state.status or (not state.is_current and reported in HEALTHY)):
        return str(cause.reason), cause.message
    if cause and reported in ("Waking", "NotReady", "Unknown") and not state.is_well:
        return str(cause.reason), cause.message
    return reported, state.message


def pod_of(world: World, cause: Cause | None) -> Object | None:
    """The one with the cause; else the newest that isn't ready."""
    pods = {each["metadata"]["name"]: each for each in world.of(POD)}
    if cause and cause.pod in pods:
        return pods[cause.pod]
    waiting = [each for each in pods.values() if not is_true(each, "Ready")]
    return max(waiting, key=lambda each: each["metadata"].get("creationTimestamp") or "", default=None)


# --- the chain -------------------------------------------------------------------------------------------------------


def _steps_of_object(world: World, state: State, cause: Cause | None) -> Iterator[Step]:
    place, since = f"llm/{world.name}", age(state.since, world.now)
    word = f"{state.word}, {state.reason}" if state.reason and state.reason != state.word else state.word
    yield Step(place, f"{word}{f' for {since}' if since else ''}: {state.message}", Evidence.REPORTED)
    if not state.is_current and state.status:
        yield Step(place, "The operator has not reported on the newest spec yet.", Evidence.COMPUTED)
    if cause and (str(cause.reason) != state.reason or cause.message not in state.message):
        yield Step(place, f"{cause.reason}: {cause.message}", Evidence.COMPUTED)
    if state.reason in MEANINGS and state.reason not in HEALTHY:
        final = "Waiting doesn't help." if state.reason in FINAL else "It may pass without a change."
        yield Step(f"reason {state.reason}", f"{MEANINGS[state.reason]} {final}", Evidence.REPORTED)


def _steps_of_pod(world: World, pod: Object | None) -> Iterator[Step]:
    if pod is None:
        return
    name, status = pod["metadata"]["name"], pod.get("status") or {}
    node = (pod.get("spec") or {}).get("nodeName")
    created = age_of(pod, world.now)
    where = f"on node {node}" if node else "without a node"
    yield Step(f"pod/{name}", f"{status.get('phase', 'Unknown')} {where}, created {created} ago", Evidence.OBSERVED)
    for kind in ("initContainerStatuses", "containerStatuses"):
        for each in status.get(kind) or []:
            if said := _container(each):
                yield Step(f"container {each['name']}", said, Evidence.OBSERVED)
    warnings = [each for each in events_about(world) if each.get("type") == "Warning" and _is_about(each, name)]
    for event in warnings[-MOST_EVENTS:]:
        yield Step(f"event {event.get('reason')}", " ".join(str(event.get("message")).split()), Evidence.OBSERVED)


def _is_about(event: Object, name: str) -> bool:
    return bool((event.get("involvedObject") or {}).get("name") == name)


def _container(status: Object) -> str:
    """What is wrong with it; empty: nothing."""
    restarts = status.get("restartCount") or 0
    again = f", {restarts} restart{'s' if restarts != 1 else ''}" if restarts else ""
    state = status.get("state") or {}
    waiting, ended = state.get("waiting") or {}, state.get("terminated") or {}
    last = (status.get("lastState") or {}).get("terminated") or {}
    if waiting and waiting.get("reason") not in ("PodInitializing", "ContainerCreating"):
        return f"{waiting.get('reason')}{again}{_ending(last)}"
    if ended and ended.get("exitCode"):
        return f"{_ending(ended).removeprefix('; ')}{again}"
    return f"running{again}{_ending(last)}" if last.get("exitCode") else ""


def _ending(ended: Object) -> str:
    if not ended:
        return ""
    return f"; ended with exit code {ended.get('exitCode')} ({ended.get('reason', 'Error')})"


def _steps_of_log(pod: Object | None, log: Sequence[str]) -> Iterator[Step]:
    culprit = _culprit_in(pod) if pod else None
    if culprit is None or not log:
        return
    found = explain(log)
    place = f"log of {culprit.container}{' before its restart' if culprit.is_previous else ''}"
    if found:
        yield Step(place, redacted(found.line), Evidence.OBSERVED)
        if found.remedy:
            yield Step("remedy", found.remedy, Evidence.COMPUTED)
        return
    said = telling(log)
    if said:
        yield Step(place, redacted(said[-1]), Evidence.OBSERVED)


def _culprit_in(pod: Object) -> Culprit | None:
    status, name = pod.get("status") or {}, str(pod["metadata"]["name"])
    containers = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    for each in containers:
        state, last = each.get("state") or {}, (each.get("lastState") or {}).get("terminated") or {}
        if (state.get("terminated") or {}).get("exitCode"):
            return Culprit(name, each["name"], is_previous=False)
        if last.get("exitCode"):
            return Culprit(name, each["name"], is_previous=True)
    running = [each for each in containers if "running" in (each.get("state") or {}) and not each.get("ready")]
    return Culprit(name, running[0]["name"], is_previous=False) if running else None
