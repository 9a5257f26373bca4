"""What a changed LLMDeployment does to the cluster: the operator's planner and its rendering, for the object as it is
and as it would be. Whether pods are replaced is read from what is rendered of them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from slipway.api.acceleratorprofile import AcceleratorProfile
from slipway.api.asked import is_later
from slipway.api.llmdeployment import LLMDeployment, LLMDeploymentSpec
from slipway.api.names import RESTART_ANNOTATION, RUNTIME_LABEL
from slipway.models.catalogue import Catalogue
from slipway.models.facts import Model
from slipway.models.sources import Known, known_of
from slipway.objects.kinds import INFERENCE_SERVICE, Object
from slipway.objects.metadata import labels_of, name_of
from slipway.observing.inspection_record import facts_for, of_files, record_in, source_of
from slipway.observing.snapshot import Snapshot
from slipway.operator.installation import Installation
from slipway.operator.planning import Plan, Running, Unplannable, make_plan
from slipway.operator.planning.candidates import Candidate
from slipway.operator.planning.engines import runtimes_for
from slipway.operator.planning.measured import Measurements, identity_of, measured_in
from slipway.operator.rendering import Desired, render
from slipway.operator.rendering.normal_form import normalized
from slipway.operator.rendering.pinning import changes, compared, compile_cache_of, model_cache_of, requested

from slipway_cli.cluster.rolling import replacing
from slipway_cli.cluster.state import Evidence, State

COMPUTED, DECLARED, REPORTED = Evidence.COMPUTED, Evidence.DECLARED, Evidence.REPORTED


@dataclass(frozen=True)
class Around:
    """What the plans and the pods depend on besides the spec."""

    now: datetime
    profiles: tuple[AcceleratorProfile, ...]
    runtimes: tuple[Object, ...] | None  # None: they can't be read
    catalogues: Mapping[str, Catalogue]  # by the URI of a model: what may have it
    has_pods: bool


@dataclass(frozen=True)
class Effect:
    name: str
    says: str
    evidence: Evidence


@dataclass(frozen=True)
class Version:
    """An LLMDeployment as it is, or as it would be, with its plan and with what is rendered of its pods."""

    llm: Object
    plan: Plan | Unplannable
    pods: Object | None  # None: none can be made
    problem: str  # why not
    per_hour: float | None = None  # of a replica; None: its accelerator has no price

    @cached_property
    def deployment(self) -> LLMDeployment:
        return _parsed(self.llm)


def version_of(llm: Object, status: Mapping[str, Any], around: Around) -> Version:
    deployment = _parsed(llm)
    known = _known(deployment, status, around.catalogues[deployment.spec.model.uri])
    runtimes = _runtimes(around, deployment)
    plan = make_plan(
        deployment.spec,
        around.profiles,
        name=deployment.metadata.name,
        known=known,
        draft=_draft(deployment),
        running=_running(status) if around.has_pods else None,
        measurements=Measurements(
            measured_in(dict(status)),
            deployment.spec,
            known.model,
            {name: identity_of(each) for name, each in runtimes.items()},
        ),
    )
    if isinstance(plan, Unplannable):
        return Version(llm, plan, None, plan.message)
    snapshot = Snapshot(now=around.now, llm_deployment=llm, runtimes=runtimes, profiles=around.profiles)
    made = render(deployment, plan, snapshot, Installation())
    if not isinstance(made, Desired):
        return Version(llm, plan, None, made.message)
    found = next(each.manifest for each in made.apply if each.kind == INFERENCE_SERVICE)
    return Version(llm, made.plan or plan, normalized(compared(found)), "", _price(plan, around.profiles))


def _price(plan: Plan, profiles: Sequence[AcceleratorProfile]) -> float | None:
    profile = next((each for each in profiles if each.metadata.name == plan.profile), None)
    if profile is None or profile.spec.cost_per_hour is None:
        return None
    return Candidate(profile, plan.tensor, plan.pipeline).price


def _parsed(llm: Object) -> LLMDeployment:
    return LLMDeployment.model_validate({name: value for name, value in llm.items() if name != "status"})


def _known(deployment: LLMDeployment, status: Mapping[str, Any], catalogue: Catalogue) -> Known:
    record, model = record_in(dict(status)), deployment.spec.model
    facts = facts_for(record, source_of(deployment))
    read, said = (facts, None) if of_files(record) else (None, facts)
    quantization = deployment.spec.engine.quantization
    return known_of(
        model.uri,
        model.facts,
        inspection=read,
        hub=said,
        catalogue=catalogue,
        quantization=quantization,
        task=model.task,
    )


def _draft(deployment: LLMDeployment) -> Model | None:
    speculative = deployment.spec.engine.speculative
    return known_of(speculative.model).model if speculative and speculative.model else None


def profiles_there(objects: Sequence[Object], status: Mapping[str, Any]) -> tuple[AcceleratorProfile, ...]:
    """Those that the cluster has nodes of, or would get them, and the one of the pods; all, if it has none."""
    current = (status.get("made") or {}).get("accelerator")
    there = [each for each in objects if _is_there(each) or name_of(each) == current]
    return tuple(
        AcceleratorProfile.model_validate({"metadata": {"name": name_of(each)}, "spec": each["spec"]})
        for each in there or objects
    )


def _is_there(profile: Object) -> bool:
    status = profile.get("status") or {}
    return bool(status.get("nodes") or status.get("growth"))


def _running(status: Mapping[str, Any]) -> Running | None:
    made = status.get("made") or {}
    return Running(str(made["accelerator"]), made.get("gpusPerReplica") or 1) if made.get("accelerator") else None


def _runtimes(around: Around, deployment: LLMDeployment) -> dict[str, Object]:
    """By the names that plans have for them. Where they can't be read, each is an empty one, the same for both
    versions."""
    if around.runtimes is not None:
        return {labels_of(each).get(RUNTIME_LABEL) or name_of(each): each for each in around.runtimes}
    container = {"name": "kserve-container"}
    spec = {"containers": [container], "supportedModelFormats": [{"name": "huggingface"}]}
    names = runtimes_for(deployment.spec.engine.name)
    return {name: {"metadata": {"name": name, "labels": {RUNTIME_LABEL: name}}, "spec": spec} for name in names}


# --- the difference --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Difference:
    """Between the object in the cluster and the one of a file, as the API server would store it. `before`: None: it
    would be created."""

    before: Version | None
    after: Version
    status: Mapping[str, Any]
    has_pods: bool

    @property
    def spec_of_pods_changes(self) -> tuple[str, ...]:
        """One line for each change of what pods are made of, whether some run or not."""
        if self.before is None or self.before.pods is None or self.after.pods is None:
            return ()
        before, after = self.before.deployment, self.after.deployment
        found = changes(self.before.pods, self.after.pods)
        if not found and self._brings_update(before, after):
            update = self.status.get("update") or {}
            found = [str(each) for each in update.get("changes") or [f"made by Slipway {update.get('version')}"]]
        if is_later(after.restart, before.restart):
            found.append(f"{RESTART_ANNOTATION}: {before.restart or 'nothing'} → {after.restart}")
        return tuple(found)

    def _brings_update(self, before: LLMDeployment, after: LLMDeployment) -> bool:
        """A changed spec is carried out by the installed version, even if this version would write the same pods."""
        if not self.status.get("update"):
            return False
        is_another = requested(before.spec, OF_RELEASE) != requested(after.spec, OF_RELEASE)
        return is_another or after.sync not in ("", before.sync)

    @property
    def replaces_pods(self) -> bool | None:
        """None: that can't be computed here."""
        if self.before is None or not self.has_pods:
            return False
        if self.before.pods is None or self.after.pods is None:
            return None
        return bool(self.spec_of_pods_changes)

    def effects(self) -> Iterator[Effect]:
        yield from self._of_pods()
        yield from self._of_replicas()
        yield from self._of_plan()
        if self.replaces_pods is not False and not self.after.problem:
            yield from (Effect("Rollout", each, COMPUTED) for each in replacing(self.after.llm, self.status))

    def _of_pods(self) -> Iterator[Effect]:
        if self.after.problem:
            stays = " Pods that run stay as they are." if self.has_pods else ""
            yield Effect("Pods", f"None can be made: {self.after.problem}{stays}", COMPUTED)
            return
        if self.before is None:
            yield Effect("Pods", "The model is created; there are none yet.", COMPUTED)
            return
        found = self.spec_of_pods_changes
        if self.replaces_pods is None:
            yield Effect("Pods", "It isn't known whether they are replaced: none could be made before.", COMPUTED)
        elif not found:
            yield Effect("Pods", "They stay: nothing that they are made of changes.", COMPUTED)
        elif self.has_pods:
            yield Effect("Pods", "All are replaced, because what they are made of changes:", COMPUTED)
        else:
            yield Effect("Pods", "None runs now; the next ones are made differently:", COMPUTED)
        yield from (Effect("", each, COMPUTED) for each in found)
        for field, (what, read) in CACHES.items():
            if self._asks_for_another_cache(read):
                says = f"spec.{field} changes: pods are also replaced if {what} elsewhere then."
                yield Effect("Pods", says, COMPUTED)

    def _asks_for_another_cache(self, read: Callable[[LLMDeploymentSpec], str]) -> bool:
        if self.before is None:
            return False
        before, after = (read(each.deployment.spec) for each in (self.before, self.after))
        return before != after and not self.spec_of_pods_changes

    def _of_replicas(self) -> Iterator[Effect]:
        scaling = self.after.deployment.spec.scaling
        now = State({"metadata": {}, "status": dict(self.status)}).desired
        bounds = f"{scaling.min_replicas} to {scaling.max_replicas}"
        if self.before is None:
            yield Effect("Replicas", bounds, DECLARED)
            return
        old = self.before.deployment.spec.scaling
        if (before := f"{old.min_replicas} to {old.max_replicas}") != bounds:
            yield Effect("Replicas", f"{before} → {bounds}; now {now}", DECLARED)
            if now < scaling.min_replicas:
                yield Effect("", f"{_counted(scaling.min_replicas - now)} more now", COMPUTED)
            if now > scaling.max_replicas:
                yield Effect("", f"{_counted(now - scaling.max_replicas)} less now", COMPUTED)

    def _of_plan(self) -> Iterator[Effect]:
        before, after = self.before.plan if self.before else None, self.after.plan
        if not isinstance(after, Plan):
            return
        old = _figures(self.before) if self.before else {}
        for name, value in _figures(self.after).items():
            was = old.get(name, "")
            if not was:
                yield Effect(name, value, COMPUTED)
            elif was != value:
                yield Effect(name, f"{was} → {value}", COMPUTED)
        yield from (Effect("Warning", each, COMPUTED) for each in after.warnings if each not in _warnings(before))


CACHES: Mapping[str, tuple[str, Callable[[LLMDeploymentSpec], str]]] = {
    "engine.compileCache": ("compiled code is kept", compile_cache_of),
    "model.cache": ("the model's files are kept", model_cache_of),
}
"""Fields whose effect only the cluster decides."""
OF_RELEASE: Object = {"metadata": {"labels": {RUNTIME_LABEL: ""}}}


def _warnings(plan: Plan | Unplannable | None) -> tuple[str, ...]:
    return plan.warnings if isinstance(plan, Plan) else ()


def _counted(count: int) -> str:
    return f"{count} replica{'' if count == 1 else 's'}"


def _figures(version: Version) -> dict[str, str]:
    """What people compare of two plans."""
    plan, most, price = version.plan, version.deployment.spec.scaling.max_replicas, version.per_hour
    if not isinstance(plan, Plan):
        return {}
    devices = f"{plan.gpus_per_replica}x " if plan.gpus_per_replica > 1 else ""
    found = {
        "Accelerator": f"{devices}{plan.profile}" if plan.profile else "",
        "Context": f"{plan.context_length:,} tokens" if plan.context_length else "",
        "Requests at a time": f"{plan.max_concurrency:,} for each replica" if plan.max_concurrency else "",
        "KV cache": f"{plan.kv_tokens:,} tokens" if plan.kv_tokens else "",
        "Tokens per second": f"{plan.speed.tokens_per_second:,.0f} for each replica" if plan.speed else "",
        "Price": f"{price:.2f} per hour and replica, {price * most:.2f} with {most}" if price is not None else "",
    }
    return {name: value for name, value in found.items() if value}
