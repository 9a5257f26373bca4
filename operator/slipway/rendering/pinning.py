"""Keeps an upgrade of Slipway from restarting models. Pure.

KServe replaces a model's pods whenever their part of its InferenceService changes, and a newer Slipway may write that
part differently, or name a newer runtime. So the part stays as the version wrote it that made the pods, until the
object itself asks for another: by a change of its spec that concerns the pods, or by the annotation `slipway.dev/sync`.
All else (replicas, autoscalers, policies, Services) follows the new version at once.

Nothing is kept for it but two digests in the status: the part itself is read from the live InferenceService, whose
managedFields tell what Slipway has set. ADR 0017 tells why.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from slipway.api.llmdeployment import LLMDeployment, LLMDeploymentSpec
from slipway.planning import Plan
from slipway.rendering.desired import Object, hash_of
from slipway.rendering.fields import set_by_us
from slipway.rendering.scaling import CLASS_ANNOTATION

OLDER = "an older version"
NOT_OF_PODS: Mapping[str, Any] = {
    "scaling": True,
    "rollout": {"strategy", "canary", "quality_gate"},
    "access": {"gateway", "allow_from"},
    "observability": {"monitor"},
}
"""Fields of the spec that change no pod."""
NOT_OF_PREDICTORS_PODS = frozenset({"minReplicas", "maxReplicas", "deploymentStrategy"})
PLANNED_BEFORE = "Its pods keep the plan by which they were made; status.update tells what a new one would change."
MOST_CHANGES, LONGEST_CHANGE, LONGEST_VALUE = 16, 256, 80
DIGITS = 32  # of a digest


@dataclass(frozen=True, kw_only=True)
class Made:
    """What made the pods: `status.made`."""

    version: str
    spec: str  # the digest of what of the spec concerns them
    pods: str  # that of their part of the InferenceService
    sync: str  # the annotation, as it was then

    def written(self) -> Object:
        return {"version": self.version, "spec": self.spec, "pods": self.pods, "sync": self.sync}


@dataclass(frozen=True, kw_only=True)
class Pinned:
    inference_service: Object  # what is to be applied
    made: Made
    update: Object | None = None  # what another version would change, as the status tells it
    is_kept: bool = False


def pinned(wanted: Object, live: Object | None, deployment: LLMDeployment, status: Object, *, version: str) -> Pinned:
    """`wanted`: the InferenceService as this version writes it; `status`: what was last written of the deployment."""
    now = Made(
        version=version,
        spec=_digest(_of_spec(deployment.spec)),
        pods=_digest(of_pods(wanted)),
        sync=deployment.sync,
    )
    ours = set_by_us(live) if live else {}
    before = _made(status) or (_adopted(ours, deployment, status, now) if ours else None)
    if before is None or not ours or not _is_to_be_kept(before, now, ours, wanted):
        return Pinned(inference_service=wanted, made=now)
    if _digest(of_pods(ours)) == now.pods:
        return Pinned(inference_service=wanted, made=now)
    update = {"version": version, "changes": changes(of_pods(ours), of_pods(wanted))}
    return Pinned(inference_service=_with_pods_of(ours, wanted), made=before, update=update, is_kept=True)


def _is_to_be_kept(before: Made, now: Made, ours: Object, wanted: Object) -> bool:
    """Whether another version, or other runtimes, are the only reason to write it differently."""
    is_another = before.version != now.version or _runtime(ours) != _runtime(wanted)
    return is_another and (before.spec, before.sync) == (now.spec, now.sync) and before.pods == _digest(of_pods(ours))


def _adopted(ours: Object, deployment: LLMDeployment, status: Object, now: Made) -> Made | None:
    """Versions before this mechanism wrote nothing down. What they made is kept, if it is for the spec as it is."""
    if status.get("observedGeneration") != deployment.metadata.generation:
        return None
    return Made(version=OLDER, spec=now.spec, pods=_digest(of_pods(ours)), sync=now.sync)


def _made(status: Object) -> Made | None:
    told = status.get("made")
    if not isinstance(told, dict):
        return None
    texts = {name: told.get(name, "") for name in ("version", "spec", "pods", "sync")}
    return Made(**texts) if all(isinstance(each, str) for each in texts.values()) else None


def as_made(plan: Plan, status: Object) -> Plan:
    """By which the pods that are kept were made, as far as the status tells it."""
    told = status.get("plan") or {}
    profile, gpus = told.get("accelerator", ""), told.get("gpusPerReplica", 0)
    then = replace(plan, profile=profile, gpus_per_replica=gpus, max_concurrency=told.get("maxConcurrency"))
    return plan if then == plan else replace(then, why=(PLANNED_BEFORE,), rejected=())


# --- the part ---------------------------------------------------------------------------------------------------------


def of_pods(inference_service: Object) -> Object:
    """KServe hands labels and annotations on to the pods, too."""
    metadata, predictor = inference_service.get("metadata", {}), inference_service.get("spec", {}).get("predictor", {})
    annotations = metadata.get("annotations") or {}
    return {
        "labels": dict(metadata.get("labels") or {}),
        "annotations": {name: value for name, value in annotations.items() if name != CLASS_ANNOTATION},
        "predictor": {name: value for name, value in predictor.items() if name not in NOT_OF_PREDICTORS_PODS},
    }


def _with_pods_of(ours: Object, wanted: Object) -> Object:
    """The pods' part as it was made; all else as it is wanted now."""
    part, metadata, predictor = of_pods(ours), wanted["metadata"], wanted["spec"]["predictor"]
    class_ = {name: value for name, value in metadata["annotations"].items() if name == CLASS_ANNOTATION}
    others = {name: value for name, value in predictor.items() if name in NOT_OF_PREDICTORS_PODS}
    return {
        **wanted,
        "metadata": {**metadata, "labels": part["labels"], "annotations": {**part["annotations"], **class_}},
        "spec": {**wanted["spec"], "predictor": {**others, **part["predictor"]}},
    }


def _of_spec(spec: LLMDeploymentSpec) -> Object:
    """What is asked of the pods."""
    asked = spec.model_dump(by_alias=True, exclude_defaults=True, exclude=dict(NOT_OF_PODS))
    return {name: value for name, value in asked.items() if value != {}}


def _runtime(inference_service: Object) -> object:
    return inference_service.get("spec", {}).get("predictor", {}).get("model", {}).get("runtime")


def _digest(thing: Object) -> str:
    return hash_of(_in_order(thing))[:DIGITS]


def _in_order(value: Any) -> Any:
    """The API server keeps the order of lists whose items have names as it was when they came."""
    if isinstance(value, dict):
        return {name: _in_order(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        items = [_in_order(each) for each in value]
        return sorted(items, key=_text) if all(isinstance(each, dict) for each in items) else items
    return value


# --- what would change, for people -----------------------------------------------------------------------------------


def changes(before: Object, after: Object) -> list[str]:
    """A line for each."""
    found = [line[:LONGEST_CHANGE] for line in _changes("", before, after)]
    more = len(found) - MOST_CHANGES
    return [*found[: MOST_CHANGES - 1], f"and {more + 1} more"] if more > 0 else found


def _changes(path: str, before: Any, after: Any) -> Iterator[str]:
    if before == after:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for name in sorted({**before, **after}):
            yield from _changes(f"{path}.{name}".lstrip("."), before.get(name), after.get(name))
    elif isinstance(before or after, list) and isinstance(after or before, list):
        yield from _changes_of_list(path, before or [], after or [])
    else:
        yield f"{path}: {_shown(before)} → {_shown(after)}"


def _changes_of_list(path: str, before: list[Any], after: list[Any]) -> Iterator[str]:
    """Of values of variables nothing is told but that they change: some are secrets."""
    if all(isinstance(each, dict) and "name" in each for each in (*before, *after)):
        one, other = ({each["name"]: each for each in items} for items in (before, after))
        for name in sorted({**one, **other}):
            if one.get(name) != other.get(name):
                what = "goes" if name not in other else "changes" if name in one else "comes"
                yield f"{path} {name} {what}"
    else:
        yield from (f"{path}: {_shown(each)} goes" for each in before if each not in after)
        yield from (f"{path}: {_shown(each)} comes" for each in after if each not in before)


def _shown(value: Any) -> str:
    text = "nothing" if value is None else value if isinstance(value, str) else _text(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
