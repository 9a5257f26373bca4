"""Puts it together: all objects for one LLMDeployment, in the order in which they are applied."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from slipway.api.asked import is_later
from slipway.api.llmdeployment import LLMDeployment, LLMDeploymentSpec
from slipway.api.names import RESTART_ANNOTATION, SYNC_ANNOTATION
from slipway.objects.kinds import INFERENCE_SERVICE, Object, ObjectKey
from slipway.objects.metadata import name_of
from slipway.observing.pods import has_ready_pod
from slipway.observing.snapshot import Snapshot
from slipway.operator.installation import Installation
from slipway.operator.planning import Plan
from slipway.operator.planning.measured import plan_key
from slipway.operator.rendering import asked, compile_cache, compile_wanted, model_cache
from slipway.operator.rendering.activator import activator_for
from slipway.operator.rendering.activatorslice import activator_slice
from slipway.operator.rendering.autoscaler import autoscaler
from slipway.operator.rendering.chosen_runtime import runtime_of_plan, runtime_of_pods
from slipway.operator.rendering.claimtemplate import claim_template
from slipway.operator.rendering.compiled_store import with_store
from slipway.operator.rendering.desired import Child, Desired, ReplicaBounds, Unrenderable, UnrenderableError
from slipway.operator.rendering.engines import engine_of
from slipway.operator.rendering.engines.engine import RenderedEngine
from slipway.operator.rendering.inferenceservice import inference_service
from slipway.operator.rendering.networkpolicy import network_policy
from slipway.operator.rendering.pinning import Pinned, as_made, pinned, runtime_name, time_of_restart
from slipway.operator.rendering.placement import (
    refuse_unserved_claims,
    remarks_on_claims,
    remarks_on_nodes,
    unused_templates,
)
from slipway.operator.rendering.placing import Making, Placed
from slipway.operator.rendering.podmonitor import pod_monitor
from slipway.operator.rendering.refusing import refuse_what_would_be_unsafe, without_templates
from slipway.operator.rendering.rollout import deployment_strategy, remarks_on_rollout, stopping_first
from slipway.operator.rendering.scaledobject import scaled_object
from slipway.operator.rendering.scaling import (
    autoscaler_class,
    class_in_effect,
    has_too_few,
    predictor_deployment,
    remarks_on_target,
    replica_bounds,
)
from slipway.operator.rendering.schedule import Kept, kept_now, kept_within
from slipway.operator.rendering.service import service
from slipway.operator.rendering.weights_store import with_weights_store


def render(
    deployment: LLMDeployment, plan: Plan, snapshot: Snapshot, installation: Installation
) -> Desired | Unrenderable:
    """The same input gives the same objects, byte for byte."""
    try:
        return _render(deployment, plan, snapshot, installation)
    except UnrenderableError as error:
        return error.answer


def _render(deployment: LLMDeployment, plan: Plan, snapshot: Snapshot, installation: Installation) -> Desired:
    runtime, pods_runtime = runtime_of_plan(plan, snapshot), runtime_of_pods(snapshot)
    is_gone = plan.runtime not in snapshot.runtimes
    key = plan_key(deployment.spec, runtime, plan.profile, plan.tensor, plan.pipeline)
    plan = replace(plan, runtime=name_of(runtime), key=key)
    engine = engine_of(plan, runtime, deployment.spec)
    predictor = snapshot.deployment_named(predictor_deployment(deployment.metadata.name))
    chosen_class = autoscaler_class(deployment.spec.scaling, snapshot.inference_service, predictor)
    pods = _pods(deployment, plan, engine, runtime, snapshot, installation, autoscaler=chosen_class)
    new_plan = plan
    if pods.is_kept:
        plan = as_made(plan, pods.made, deployment.spec)
        engine = engine_of(plan, pods_runtime or runtime, deployment.spec)  # whose ports the pods have
    stores = _placed(deployment, pods, plan, pods_runtime or runtime, snapshot, installation)
    kept = kept_within(snapshot.budget, kept_now(deployment.spec.scaling, snapshot.now))
    scaled_as = class_in_effect(chosen_class, predictor)
    scalers, replicas = _scaling(deployment, plan, kept, snapshot, installation, scaled_as=scaled_as)
    template = claim_template(deployment, new_plan, pods.inference_service)
    # The Service comes first, so that the name resolves from the start; the InferenceService, which starts pods, after
    # the policy that protects them. The autoscalers come when there is something to scale.
    objects = (
        service(deployment, engine_port=engine.port),
        activator_slice(deployment, activator_for(snapshot), has_ready=has_ready_pod(snapshot)),
        network_policy(deployment, snapshot, installation, engine),
        template,
        Child(INFERENCE_SERVICE, _with_stores(pods, stores, plan, pods_runtime or runtime, snapshot)),
        *scalers,
        pod_monitor(deployment, snapshot, engine),
    )
    return Desired(
        apply=tuple(each for each in objects if isinstance(each, Child)),
        delete=(
            *(each for each in objects if isinstance(each, ObjectKey)),
            *unused_templates(pods.inference_service, snapshot),
        ),
        replicas=replicas,
        remarks=(
            *_remarks_on_scaling(deployment, kept, snapshot),
            *_remarks_on_restart(deployment, pods),
            *_remarks_on_runtimes(pods, plan, is_gone=is_gone, pods_runtime=pods_runtime),
            *remarks_on_claims(pods.inference_service, template, snapshot),
            *remarks_on_nodes(plan, deployment.spec.pod.node_selector),
            *_remarks_on_spec(deployment.spec, plan, engine, snapshot),
        ),
        look_again_at=min(
            filter(None, (kept.until, asked.next_moment(deployment, snapshot.now), *stores.look_again_at)),
            default=None,
        ),
        plan=plan,
        made=pods.made.model_dump(by_alias=True, exclude_none=True),
        update=pods.update,
        claims=tuple(each.claim for each in stores if each.claim),
        unused_claims=tuple(each.unused for each in stores if each.unused),
        compile_cache=stores.compiled.status,
        model_cache=stores.weights.status,
    )


def _scaling(
    deployment: LLMDeployment, plan: Plan, kept: Kept, snapshot: Snapshot, installation: Installation, *, scaled_as: str
) -> tuple[tuple[Child | ObjectKey | None, ...], ReplicaBounds | None]:
    """The autoscalers, and the bounds within which Slipway itself keeps the replicas where none does."""
    predictor = snapshot.deployment_named(predictor_deployment(deployment.metadata.name))
    by_keda = scaled_object(deployment, kept, snapshot, installation, autoscaler=scaled_as)
    own = autoscaler(deployment, plan, kept, snapshot, autoscaler_class=scaled_as)
    is_scaled = isinstance(by_keda, Child) or (isinstance(own, Child) and not has_too_few(predictor, kept))
    return (by_keda, own), None if is_scaled else replica_bounds(deployment, kept, scaled_as)


class _Stores(NamedTuple):
    """What outlives the pods."""

    weights: Placed
    compiled: Placed

    @property
    def look_again_at(self) -> Iterator[datetime]:
        return (each.look_again_at for each in self if each.look_again_at)


def _placed(
    deployment: LLMDeployment,
    pods: Pinned,
    plan: Plan,
    runtime: Object,
    snapshot: Snapshot,
    installation: Installation,
) -> _Stores:
    is_older = pods.is_kept and pods.made.version != installation.version
    making = Making(pods=pods.made.pods, is_replaced=pods.is_replaced, is_older=is_older)
    weights = model_cache.place(
        deployment,
        snapshot,
        installation.weights,
        making,
        inference_service=pods.inference_service,
        runtime=runtime,
        files=plan.files_bytes,
    )
    return _Stores(weights, compile_cache.place(deployment, snapshot, installation.compiled, making))


def _with_stores(pods: Pinned, stores: _Stores, plan: Plan, runtime: Object, snapshot: Snapshot) -> Object:
    found = with_weights_store(pods.inference_service, stores.weights.store, runtime)
    found = with_store(found, stores.compiled.store, plan.engine, runtime)
    if any(each.stops_first for each in stores):
        found = {**found, "spec": {**found["spec"], "predictor": {**found["spec"]["predictor"]}}}
        found["spec"]["predictor"]["deploymentStrategy"] = stopping_first(snapshot)
    return found


def _pods(
    deployment: LLMDeployment,
    plan: Plan,
    engine: RenderedEngine,
    runtime: Object,
    snapshot: Snapshot,
    installation: Installation,
    *,
    autoscaler: str,
) -> Pinned:
    """The InferenceService, with the pods' part of an earlier version where that must be kept."""
    refuse_what_would_be_unsafe(deployment, plan, engine, runtime)
    refuse_unserved_claims(plan, snapshot)
    strategy = deployment_strategy(deployment.spec, snapshot)
    wanted = inference_service(
        deployment, plan, engine, runtime, strategy=strategy, autoscaler=autoscaler, fetcher=installation.fetcher
    )
    other_store = compile_wanted.asks_for_another(
        deployment, snapshot, installation.compiled
    ) or model_cache.asks_for_another(deployment, snapshot, installation.weights, plan.files_bytes)
    version = installation.version
    found = pinned(wanted.manifest, deployment, plan, runtime, snapshot, version=version, other_store=other_store)
    without_templates(found.inference_service, deployment, plan)
    return found


def _remarks_on_runtimes(pods: Pinned, plan: Plan, *, is_gone: bool, pods_runtime: Object | None) -> Iterator[str]:
    """On runtimes that were deleted, or that this release lacks."""
    named = runtime_name(pods.inference_service)
    if pods.is_kept and pods_runtime is None:
        yield (
            f"The ServingRuntime {named}, by which its pods were made, is gone, so KServe can't change them any more: "
            f"restore it, or have the pods remade with {plan.runtime} by the annotation {SYNC_ANNOTATION}."
        )
    if is_gone:
        yield f"This release has no ServingRuntime for {plan.engine}; its pods keep {named}."


def _remarks_on_scaling(deployment: LLMDeployment, kept: Kept, snapshot: Snapshot) -> Iterator[str]:
    if kept.entry:
        count = "1 replica is" if kept.replicas == 1 else f"{kept.replicas} replicas are"
        yield f"scaling.schedule: {count} kept by '{kept.entry.cron}' for {kept.entry.duration}."
    yield from asked.remarks_on_annotations(deployment, kept, snapshot.now)
    yield from remarks_on_rollout(deployment.spec, snapshot)


def _remarks_on_restart(deployment: LLMDeployment, pods: Pinned) -> Iterator[str]:
    last = time_of_restart(pods.inference_service)
    if deployment.restart and is_later(last, deployment.restart):
        yield (
            f"{RESTART_ANNOTATION}: {deployment.restart} is before {last}, the time of the last restart, so it has no "
            "effect: write a later time."
        )


def _remarks_on_spec(spec: LLMDeploymentSpec, plan: Plan, engine: RenderedEngine, snapshot: Snapshot) -> Iterator[str]:
    yield from _not_yet(spec, snapshot)
    yield from _open_at_zero(spec, snapshot)
    yield from engine.ignored(spec, plan)


def _not_yet(spec: LLMDeploymentSpec, snapshot: Snapshot) -> Iterator[str]:
    """Fields that have no effect yet, without harm."""
    if spec.scaling.autoscaler == "KEDA" and not activator_for(snapshot).is_installed:
        yield "scaling.autoscaler: KEDA needs the activator, which isn't there; replicas stay from min to maxReplicas."
    yield from remarks_on_target(spec)
    if spec.access.gateway:
        yield "access.gateway: no route is created yet; the model is reachable inside the cluster."
    if spec.rollout.strategy == "Canary":
        yield "rollout.strategy: Canary is treated as Surge so far."
    if spec.rollout.quality_gate:
        yield "rollout.qualityGate: nothing waits for the benchmark yet."


def _open_at_zero(spec: LLMDeploymentSpec, snapshot: Snapshot) -> Iterator[str]:
    """What is protected less while the model sleeps."""
    secret, activator = spec.access.api_keys_secret, activator_for(snapshot)
    if secret and activator.is_installed and snapshot.activator_reads_keys is False:
        yield (
            f"access.apiKeysSecret: waking takes no valid key, because the activator may not read the Secret {secret}: "
            "apply manifests/samples/keys-at-zero.yaml with its name, "
            f"for the ServiceAccount {activator.service}."
        )
