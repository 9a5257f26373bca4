"""All that is known of one LLMDeployment, each value with where it is from. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from slipway.api.names import PAUSED_ANNOTATION
from slipway.objects.kinds import ENDPOINT_SLICE, POD

from slipway_cli.cluster.state import Evidence, State, age, is_ready
from slipway_cli.cluster.world import World, owner_of

DECLARED, REPORTED, OBSERVED, COMPUTED = Evidence


@dataclass(frozen=True)
class Value:
    section: str
    name: str
    value: str
    evidence: Evidence


def report_of(world: World) -> list[Value]:
    state = State(world.llm)
    found = (
        *_about(state, world.now),
        *_of_spec(state),
        *_of_plan(state.status.get("plan") or {}),
        *_of_measured(state.status.get("measured") or {}),
        *_of_start(state.status.get("lastColdStart") or {}),
        *_of_cost(state.status),
        *_of_cluster(world),
    )
    return [each for each in found if each.value]


def _about(state: State, now: datetime) -> Iterator[Value]:
    since = age(state.since, now)
    yield Value("", "State", f"{state.word}{f', {state.reason}' if state.reason != state.word else ''}", REPORTED)
    yield Value("", "Since", f"{since} ago" if since else "", REPORTED)
    yield Value("", "Message", state.message, REPORTED)
    if state.status and not state.is_current:
        yield Value("", "Outdated", "the operator has not reported on the newest spec yet", COMPUTED)
    yield Value("", "URL", str(state.status.get("url") or ""), REPORTED)
    yield Value("", "Replicas", f"{state.ready} of {state.desired} ready", REPORTED)
    for each in state.status.get("conditions") or []:
        said = f"{each.get('status')}, {each.get('reason')}"
        yield Value("Conditions", str(each.get("type")), said, REPORTED)


def _of_spec(state: State) -> Iterator[Value]:
    spec: Mapping[str, Any] = state.llm.get("spec") or {}
    engine, scaling = spec.get("engine") or {}, spec.get("scaling") or {}
    yield Value("Spec", "Model", state.model, DECLARED)
    yield Value("Spec", "Engine", str(engine.get("name") or ""), DECLARED)
    if "maxReplicas" in scaling or "minReplicas" in scaling:
        least, most = scaling.get("minReplicas", ""), scaling.get("maxReplicas", "")
        yield Value("Spec", "Replicas", f"{least} to {most}", DECLARED)
    yield Value("Spec", "Idle after", str(scaling.get("idleAfter") or ""), DECLARED)
    annotations = state.llm["metadata"].get("annotations") or {}
    if annotations.get(PAUSED_ANNOTATION) == "true":
        yield Value("Spec", "Paused", "yes", DECLARED)


def _of_plan(plan: Mapping[str, Any]) -> Iterator[Value]:
    count, name = plan.get("gpusPerReplica") or 0, str(plan.get("accelerator") or "")
    yield Value("Plan", "Accelerator", f"{count}x {name}" if count > 1 else name, REPORTED)
    memory, expected = plan.get("memory") or {}, plan.get("expected") or {}
    if memory:
        parts = f"weights {memory.get('weights')}, KV cache {memory.get('kvCache')} of {memory.get('total')}"
        yield Value("Plan", "Memory per device", parts, COMPUTED)
    yield Value("Plan", "Context", _number(plan.get("contextLength")), COMPUTED)
    yield Value("Plan", "Requests at a time", _number(plan.get("maxConcurrency")), COMPUTED)
    yield Value("Plan", "Tokens per second", _number(expected.get("tokensPerSecond")), COMPUTED)
    for each in plan.get("warnings") or []:
        yield Value("Plan", "Warning", str(each), COMPUTED)


def _of_measured(measured: Mapping[str, Any]) -> Iterator[Value]:
    yield Value("Measured", "KV tokens", _number(measured.get("kvTokens")), OBSERVED)
    yield Value("Measured", "Memory in use", str(measured.get("memoryInUse") or ""), OBSERVED)
    error = measured.get("planErrorPercent")
    yield Value("Measured", "Error of the plan", "" if error is None else f"{error} %", COMPUTED)


def _of_start(start: Mapping[str, Any]) -> Iterator[Value]:
    phases = [f"{name} {value}" for name, value in start.items() if name not in ("pod", "compiled")]
    yield Value("Last start", "Phases", ", ".join(phases), OBSERVED)


def _of_cost(status: Mapping[str, Any]) -> Iterator[Value]:
    cost, budget = status.get("cost") or {}, status.get("budget") or {}
    yield Value("Cost", "Per hour now", _number(cost.get("perHour")), COMPUTED)
    yield Value("Cost", "Per million tokens", _number(cost.get("perMillionTokens")), COMPUTED)
    yield Value("Cost", "Budget", str(budget.get("state") or ""), COMPUTED)


def _of_cluster(world: World) -> Iterator[Value]:
    for pod in world.of(POD):
        status = pod.get("status") or {}
        restarts = sum(each.get("restartCount") or 0 for each in status.get("containerStatuses") or [])
        node = (pod.get("spec") or {}).get("nodeName") or "no node"
        kind = "" if owner_of(pod) == world.name else " (of a Job)"
        said = f"{status.get('phase')}, {'ready' if is_ready(pod) else 'not ready'}, {restarts} restarts, {node}{kind}"
        yield Value("Pods", pod["metadata"]["name"], said, OBSERVED)
    for each in world.of(ENDPOINT_SLICE):
        count = len(each.get("endpoints") or [])
        is_activator = each["metadata"]["name"] == f"{world.name}-activator"
        to = "the activator, which holds requests" if is_activator else "replicas"
        yield Value("Requests go to", each["metadata"]["name"], f"{to}: {count} addresses", OBSERVED)


def _number(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.12g}"


def as_members(world: World, values: list[Value]) -> dict[str, Any]:
    """Of a document of kind Status."""
    state = State(world.llm)
    return {
        "name": state.name,
        "namespace": state.namespace,
        "state": state.word,
        "reason": state.reason or None,
        "well": state.is_well,
        "current": state.is_current,
        "values": [
            {
                "section": each.section or "Summary",
                "name": each.name,
                "value": each.value,
                "evidence": str(each.evidence),
            }
            for each in values
        ],
        "gaps": list(world.gaps()) or None,
    }
