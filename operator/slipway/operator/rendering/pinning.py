"""Keeps an upgrade of Slipway from restarting models. Pure.

KServe replaces a model's pods whenever their part of its InferenceService changes. A newer Slipway may write that part
differently, or name a newer runtime; so may this version, once a profile has changed. So the part stays as it was when
the pods were made, until the LLMDeployment requests another: by a change of its spec that concerns the pods, or by the
annotation `slipway.dev/sync`. Pods that find no node never ran, and move to where they are planned now. All else
(replicas, autoscalers, policies, Services) changes immediately. The annotation `slipway.dev/restart` replaces the pods,
too, but by pods that are made as they were.

Only two digests in the status are stored for it: the part itself is read from the live InferenceService, whose
managedFields show what Slipway has set. ADR 0017 explains why.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from slipway.api.asked import is_later
from slipway.api.llmdeployment import LLMDeployment, LLMDeploymentSpec
from slipway.api.names import AUTOSCALER_CLASS_ANNOTATION, PLAN_ANNOTATION, RESTART_ANNOTATION, RUNTIME_LABEL
from slipway.api.reasons import ConditionType
from slipway.api.status import MadeStatus
from slipway.objects.kinds import Object
from slipway.observing.pods import has_pod_on_node, waits_for_place
from slipway.observing.snapshot import Snapshot
from slipway.operator.planning import Plan
from slipway.operator.rendering.compiled_store import without_store
from slipway.operator.rendering.fields import set_by_us
from slipway.operator.rendering.normal_form import canonical_json, digest, normalized
from slipway.operator.rendering.weights import predictor_resolved_at, resolved_at
from slipway.operator.rendering.weights_store import without_weights_store

OLDER = "an older version"
NOT_OF_PODS: Mapping[str, Any] = {
    "scaling": True,
    "slo": True,
    "rollout": {"strategy", "canary", "quality_gate"},
    "access": {"gateway", "allow_from"},
    "observability": {"monitor"},
    "engine": {"compile_cache"},
    "model": {"cache"},
    "budget": True,
}
"""Fields of the spec that change no pod; what `compileCache` and `model.cache` change, only the cluster decides
(`asks_for_another`)."""
NOT_OF_PREDICTORS_PODS = frozenset({"minReplicas", "maxReplicas", "deploymentStrategy"})
PLANNED_BEFORE = "Its pods keep the plan by which they were made; status.update shows what a new one would change."
OF_PLAN = ("accelerator", "gpusPerReplica", "maxConcurrency", "tensor", "pipeline", "contextLength", "kvTokens")
"""What is recorded of a plan, by its names in the status."""
NOT_RECORDED: Mapping[str, Any] = {
    **dict.fromkeys(("memory", "speed", "concurrent_at_full_length", "start_limit")),
    **dict.fromkeys(("kv_cache_bytes", "weights_bytes", "memory_share")),
    "rejected": (),
    "warnings": (),
}
"""Of another plan than the present one."""
MOST_CHANGES, LONGEST_CHANGE, LONGEST_VALUE = 16, 256, 80


@dataclass(frozen=True, kw_only=True)
class Pinned:
    """The InferenceService to apply, with the pods' part of this version or of an earlier one."""

    inference_service: Object  # to be applied
    made: MadeStatus  # what its pods were made of
    update: Object | None = None  # what would change, for the status
    is_kept: bool = False
    is_replaced: bool = False  # its pods are, even if nothing else changes


def pinned(
    wanted: Object,
    deployment: LLMDeployment,
    plan: Plan,
    runtime: Object,
    snapshot: Snapshot,
    *,
    version: str,
    other_store: bool = False,
) -> Pinned:
    """`wanted`: the InferenceService as this version of Slipway writes it now, with this plan and this runtime.
    `other_store`: the spec requests that compiled code is kept elsewhere than when the pods were made."""
    status = snapshot.status or {}
    now = MadeStatus(
        version=version,
        spec=digest(requested(deployment.spec, runtime)),
        pods=_digest_of_pods(wanted),
        sync=deployment.sync,
        accelerator=plan.profile,
        gpus_per_replica=plan.gpus_per_replica,
        max_concurrency=plan.max_concurrency,
        tensor=plan.tensor,
        pipeline=plan.pipeline,
        context_length=plan.context_length,
        kv_tokens=plan.kv_tokens,
        compile_cache=compile_cache_of(deployment.spec),
        model_cache=model_cache_of(deployment.spec),
    )
    ours = _without_stores(snapshot)
    before = _made_of(deployment.spec, runtime, status) or _adopted(ours, deployment, status, now)
    is_same = bool(ours) and _digest_of_pods(ours) == now.pods
    ours, wanted, is_restarted = _restarted(ours, wanted, deployment.restart)
    is_replaced = not is_same or other_store or is_restarted or (before is not None and before.spec != now.spec)
    if is_same and has_pod_on_node(snapshot):
        return Pinned(inference_service=_with_plan_of(ours, wanted), made=now, is_replaced=is_replaced)
    if is_same or not ours or before is None:
        return Pinned(inference_service=wanted, made=now, is_replaced=is_replaced)
    is_another = before.version != now.version or _is_another_runtime(before, now, ours, wanted)
    is_kept = (is_another and not _moves(before, now, snapshot)) or has_pod_on_node(snapshot)
    if not is_kept or other_store or not _is_as_asked(before, now, ours):
        return Pinned(inference_service=wanted, made=now, is_replaced=True)
    update = {"version": version, "changes": changes(normalized(compared(ours)), normalized(compared(wanted)))}
    part = _with_pods_of(ours, wanted)
    return Pinned(inference_service=part, made=before, update=update, is_kept=True, is_replaced=is_restarted)


def _is_another_runtime(before: MadeStatus, now: MadeStatus, ours: Object, wanted: Object) -> bool:
    """Of the same accelerator: that of another vendor always has another, and pods without a node may move there."""
    return before.accelerator == now.accelerator and runtime_name(ours) != runtime_name(wanted)


def _moves(before: MadeStatus, now: MadeStatus, snapshot: Snapshot) -> bool:
    """Whether its pods find no node where they were planned, and are planned elsewhere now: they never ran."""
    places = ((each.accelerator, each.gpus_per_replica) for each in (before, now))
    return waits_for_place(snapshot) and len(set(places)) > 1


def _is_as_asked(before: MadeStatus, now: MadeStatus, ours: Object) -> bool:
    """Whether the spec requests the same pods as then, and their part was not changed by hand."""
    asks_again = now.sync not in ("", before.sync)  # removing the annotation requests nothing
    return before.spec == now.spec and not asks_again and before.pods == _digest_of_pods(ours)


def is_as_made(deployment: LLMDeployment, snapshot: Snapshot) -> bool:
    """Whether the pods' part is as Slipway made it, and nothing has requested another since."""
    ours = _without_stores(snapshot)
    runtime = snapshot.runtimes.get(runtime_name(ours)) or {"metadata": {"labels": {RUNTIME_LABEL: ""}}}
    before = _made_of(deployment.spec, runtime, snapshot.status or {})
    if not ours or before is None:
        return False
    spec = digest(requested(deployment.spec, runtime))
    now = before.model_copy(update={"spec": spec, "sync": deployment.sync})
    is_same_cache = before.compile_cache in ("", compile_cache_of(deployment.spec))
    is_same_cache = is_same_cache and before.model_cache in ("", model_cache_of(deployment.spec))
    return is_same_cache and _is_as_asked(before, now, ours)


def _adopted(ours: Object, deployment: LLMDeployment, status: Object, now: MadeStatus) -> MadeStatus | None:
    """Versions before this mechanism recorded nothing. Their pods are kept, if they match the current spec."""
    conditions = {each["type"]: each["status"] for each in status.get("conditions") or []}
    is_followed = status.get("observedGeneration") == deployment.metadata.generation
    if not is_followed or conditions.get(ConditionType.STALLED) == "True":
        return None
    reported = status.get("plan") or {}
    plan = {name: reported[name] for name in OF_PLAN if reported.get(name)}
    then = {"version": OLDER, "spec": now.spec, "pods": _digest_of_pods(ours), "sync": now.sync}
    then |= {"compileCache": now.compile_cache, "modelCache": now.model_cache}
    return made_in({"made": plan | then})


def made_in(status: Object) -> MadeStatus | None:
    """As it was recorded; None: nothing was, or the field was written by others and is invalid."""
    with suppress(ValidationError):
        return MadeStatus.model_validate(status.get("made"))
    return None


def _made_of(spec: LLMDeploymentSpec, runtime: Object, status: Object) -> MadeStatus | None:
    """As it was recorded, in the form of this version: an older one's has another digest of the same spec."""
    made = made_in(status)
    if made is None or made.model_cache or made.spec != digest(_requested_before(spec, runtime, made)):
        return made
    same = {"spec": digest(requested(spec, runtime)), "model_cache": model_cache_of(spec)}
    return made.model_copy(update=same | ({} if made.compile_cache else {"compile_cache": compile_cache_of(spec)}))


def as_made(plan: Plan, made: MadeStatus, spec: LLMDeploymentSpec) -> Plan:
    """The plan by which the kept pods were made, as far as it was recorded; versions before this recorded less."""
    pipeline = made.pipeline or spec.engine.parallelism.pipeline
    then = replace(
        plan,
        profile=made.accelerator,
        gpus_per_replica=made.gpus_per_replica,
        max_concurrency=made.max_concurrency,
        tensor=made.tensor or max(1, made.gpus_per_replica // pipeline),
        pipeline=pipeline,
        context_length=made.context_length or spec.engine.context_length,
        kv_tokens=made.kv_tokens,
    )
    return plan if then == plan else replace(then, **NOT_RECORDED, why=(PLANNED_BEFORE,))


# --- the part ---------------------------------------------------------------------------------------------------------


def of_pods(inference_service: Object) -> Object:
    """KServe copies labels and annotations to the pods, too."""
    metadata, predictor = inference_service.get("metadata", {}), inference_service.get("spec", {}).get("predictor", {})
    annotations = metadata.get("annotations") or {}
    return {
        "labels": dict(metadata.get("labels") or {}),
        "annotations": {name: value for name, value in annotations.items() if name != AUTOSCALER_CLASS_ANNOTATION},
        "predictor": {name: value for name, value in predictor.items() if name not in NOT_OF_PREDICTORS_PODS},
    }


def compared(inference_service: Object) -> Object:
    """The part without the annotations that don't say how pods are made: by which plan, which alone is no reason to
    replace pods, and since when, which is one in any case."""
    part = of_pods(inference_service)
    predictor = _annotated(part["predictor"], PLAN_ANNOTATION, None)
    predictor = predictor_resolved_at(_annotated(predictor, RESTART_ANNOTATION, None), None)
    return {**part, "predictor": predictor}


def _without_stores(snapshot: Snapshot) -> Object:
    """What Slipway has set of the live InferenceService; empty: there is none."""
    live = snapshot.inference_service
    return without_weights_store(without_store(set_by_us(live))) if live else {}


def _digest_of_pods(inference_service: Object) -> str:
    return digest(compared(inference_service))


def _with_plan_of(ours: Object, wanted: Object) -> Object:
    return _with_annotation(wanted, PLAN_ANNOTATION, _annotation(ours, PLAN_ANNOTATION))


def _restarted(ours: Object, wanted: Object, restart: str) -> tuple[Object, Object, bool]:
    """Both with the time of the last restart, and whether it is a later one than before. Removing the annotation from
    the LLMDeployment requests nothing, nor does an earlier time, to which a sync with Git may return."""
    before = time_of_restart(ours)
    time = restart if is_later(restart, before) else before
    if time is None:
        return ours, wanted, False
    wanted = _with_restart(wanted, time)
    if not of_pods(ours)["predictor"]:
        return ours, wanted, False
    return _with_restart(ours, time), wanted, time != before


def _with_restart(inference_service: Object, time: str) -> Object:
    """Files that may have changed at their source are fetched again."""
    return resolved_at(_with_annotation(inference_service, RESTART_ANNOTATION, time), time)


def time_of_restart(inference_service: Object) -> str | None:
    """Of its pods."""
    return _annotation(inference_service, RESTART_ANNOTATION)


def _annotation(inference_service: Object, name: str) -> str | None:
    """Of its pods."""
    return (of_pods(inference_service)["predictor"].get("annotations") or {}).get(name)


def _with_annotation(inference_service: Object, name: str, value: str | None) -> Object:
    spec = inference_service["spec"]
    return {**inference_service, "spec": {**spec, "predictor": _annotated(spec["predictor"], name, value)}}


def _annotated(predictor: Object, name: str, value: str | None) -> Object:
    """With this annotation, or without one."""
    others = {field: each for field, each in predictor.items() if field != "annotations"}
    annotations = {**(predictor.get("annotations") or {}), name: value}
    annotations = {name: value for name, value in annotations.items() if value is not None}
    return {**others, **({"annotations": annotations} if annotations else {})}


def _with_pods_of(ours: Object, wanted: Object) -> Object:
    """The pods' part as it was made; everything else as it is wanted now."""
    part, metadata, predictor = of_pods(ours), wanted["metadata"], wanted["spec"]["predictor"]
    class_ = {name: value for name, value in metadata["annotations"].items() if name == AUTOSCALER_CLASS_ANNOTATION}
    others = {name: value for name, value in predictor.items() if name in NOT_OF_PREDICTORS_PODS}
    return {
        **wanted,
        "metadata": {**metadata, "labels": part["labels"], "annotations": {**part["annotations"], **class_}},
        "spec": {**wanted["spec"], "predictor": {**others, **part["predictor"]}},
    }


def requested(spec: LLMDeploymentSpec, runtime: Object, but: Mapping[str, Any] = NOT_OF_PODS) -> Object:
    """What the spec requests of the pods. A runtime of the user's own counts, too: it may change under its name, and
    then KServe replaces the pods."""
    given = spec.model_dump(by_alias=True, exclude_defaults=True, exclude=dict(but))
    found = {name: value for name, value in given.items() if value != {}}
    is_a_releases = RUNTIME_LABEL in (runtime["metadata"].get("labels") or {})
    return found if is_a_releases else {**found, "runtime": runtime["spec"]}


def _requested_before(spec: LLMDeploymentSpec, runtime: Object, made: MadeStatus) -> Object:
    """As versions have recorded it in which `model.cache` was a part of it, and None its default; and in still earlier
    ones, `compileCache`."""
    engine = {"compile_cache"} if made.compile_cache else {"compile_cache": {"push_secret"}}
    of_cache = {"kind"} if spec.model.cache.kind in ("Auto", "None") else set()
    found = requested(spec, runtime, {**NOT_OF_PODS, "engine": engine, "model": {"cache": of_cache}})
    model = {name: each for name, each in found["model"].items() if each != {}}
    return {**found, "model": model}


def compile_cache_of(spec: LLMDeploymentSpec) -> str:
    """As it is recorded."""
    asked = spec.engine.compile_cache
    return canonical_json(asked.model_dump(by_alias=True, exclude_defaults=True, exclude={"push_secret"}))


def model_cache_of(spec: LLMDeploymentSpec) -> str:
    """As it is recorded."""
    return canonical_json(spec.model.cache.model_dump(by_alias=True, exclude_defaults=True))


def runtime_name(inference_service: Object) -> str:
    model = (inference_service.get("spec", {}).get("predictor") or {}).get("model") or {}
    return str(model.get("runtime") or "")


# --- what would change, for people -----------------------------------------------------------------------------------


def changes(before: Object, after: Object) -> list[str]:
    """One line for each change."""
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
    """Only reports that values of variables change: some are secrets."""
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
    shown = "nothing" if value is None else value if isinstance(value, str) else canonical_json(value)
    return shown if len(shown) <= LONGEST_VALUE else f"{shown[:LONGEST_VALUE]}…"
