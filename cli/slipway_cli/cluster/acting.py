"""Changes of an LLMDeployment: what each would do now, and the request for it. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from slipway.api.names import PAUSED_ANNOTATION, RESTART_ANNOTATION, SLEEP_ANNOTATION, WAKE_ANNOTATION
from slipway.objects.kinds import Object
from slipway.objects.times import parse_time

from slipway_cli.cluster.state import State


@dataclass(frozen=True)
class Change:
    """`annotation`: None as a value removes it. `effect`: what it does now, in a sentence; `useless`: why it would do
    nothing."""

    annotation: tuple[str, str | None]
    effect: str
    useless: str = ""


def wake(state: State, now: datetime) -> Change:
    useless = ""
    if state.ready:
        useless = f"{state.name} has {state.ready} ready replicas already."
    elif _is_paused(state):
        useless = f"{state.name} is paused, so its number of replicas stays: resume it first."
    elif pause := _pause_of_keda(state, unless="paused-scale-in"):
        useless = f"No replica starts: {pause}"
    effect = "A replica starts, as for a request, and costs what its accelerator costs until the model is idle again."
    return Change((WAKE_ANNOTATION, _time(now)), effect, useless)


def sleep(state: State, now: datetime) -> Change:
    useless = ""
    least = ((state.llm.get("spec") or {}).get("scaling") or {}).get("minReplicas")
    if state.word == "Idle":
        useless = f"{state.name} is at zero replicas already."
    elif _is_paused(state):
        useless = f"{state.name} is paused, so its number of replicas stays: resume it first."
    elif pause := _pause_of_keda(state, unless="paused-scale-out"):
        useless = f"No replica stops: {pause}"
    elif isinstance(least, int) and least > 0:
        useless = f"spec.scaling.minReplicas of {state.name} is {least}, so that many replicas stay: set it to 0 first."
    effect = (
        "Requests in flight and held ones are answered; then the model goes to zero replicas, and the next request "
        "wakes it."
    )
    return Change((SLEEP_ANNOTATION, _time(now)), effect, useless)


def pause(state: State, now: datetime) -> Change:
    useless = f"{state.name} is paused already." if _is_paused(state) else ""
    count = f"{state.desired} replica{'s' if state.desired != 1 else ''}" if state.is_reported else "its replicas"
    at_zero = " Its clients get 503, since nothing wakes it." if state.is_reported and not state.desired else ""
    return Change((PAUSED_ANNOTATION, "true"), f"The model stays at {count}, whatever the demand.{at_zero}", useless)


def resume(state: State, now: datetime) -> Change:
    useless = "" if _is_paused(state) else f"{state.name} isn't paused."
    return Change((PAUSED_ANNOTATION, None), "The number of replicas follows the demand again.", useless)


def restart(state: State, now: datetime) -> Change:
    is_at_zero = state.is_reported and not state.desired
    useless = f"{state.name} is at zero replicas: its next start makes new pods anyway." if is_at_zero else ""
    count = f"Its {state.desired} replicas are" if state.is_reported else "How many isn't reported; all replicas are"
    count = "Its replica is" if state.desired == 1 else count
    update = (state.status.get("update") or {}).get("version")
    same = f"{count} replaced by new pods that are made in the same way."
    later = f" The update to Slipway {update} stays for slipway.dev/sync." if update else ""
    last = parse_time((state.llm["metadata"].get("annotations") or {}).get(RESTART_ANNOTATION))
    time = max(now, last + timedelta(seconds=1)) if last else now  # only a later one has an effect
    return Change((RESTART_ANNOTATION, _time(time)), f"{same}{later}", useless)


def _is_paused(state: State) -> bool:
    return (state.llm["metadata"].get("annotations") or {}).get(PAUSED_ANNOTATION) == "true"


def _pause_of_keda(state: State, *, unless: str) -> str:
    """What the operator says of a pause that isn't Slipway's, unless it names this annotation of KEDA's."""
    scaled = state.condition("Scaled")
    message = str(scaled.get("message") or "") if scaled.get("reason") == "ScalingPaused" else ""
    return "" if unless in message else message


def _time(now: datetime) -> str:
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def patch_of(llm: Object, change: Change) -> list[str]:
    """The arguments of kubectl. The API server refuses it if the object is another one by now."""
    name, value = change.annotation
    patch = {"metadata": {"uid": llm["metadata"].get("uid"), "annotations": {name: value}}}
    what = ["patch", "llmdeployments.slipway.dev", str(llm["metadata"]["name"]), "--type=merge"]
    where = f"--namespace={llm['metadata'].get('namespace')}"
    return [*what, where, "--patch", json.dumps(patch), "--output=name"]


ACTIONS = {"wake": wake, "sleep": sleep, "pause": pause, "resume": resume}
