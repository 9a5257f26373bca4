"""Puts it together: all objects for one LLMDeployment, in the order in which they are applied."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from slipway.api.llmdeployment import LLMDeployment, LLMDeploymentSpec
from slipway.api.names import SYNC_ANNOTATION
from slipway.api.reasons import Reason
from slipway.contract.engines import OTHER_RUNTIMES
from slipway.operator.planning import Plan
from slipway.operator.planning.engines import is_ours
from slipway.operator.rendering import asked
from slipway.operator.rendering.activatorslice import activator_slice
from slipway.operator.rendering.autoscaler import autoscaler
from slipway.operator.rendering.desired import Desired, Object, ObjectReference, Refusal, Unrenderable, World
from slipway.operator.rendering.engines import engine_of
from slipway.operator.rendering.engines.engine import Engine
from slipway.operator.rendering.inferenceservice import inference_service
from slipway.operator.rendering.networkpolicy import network_policy
from slipway.operator.rendering.pinning import Pinned, as_made, pinned, runtime_name
from slipway.operator.rendering.podmonitor import pod_monitor
from slipway.operator.rendering.refusing import refuse_what_would_be_unsafe, without_templates
from slipway.operator.rendering.rollout import deployment_strategy, told_of_rollout
from slipway.operator.rendering.scaledobject import scaled_object
from slipway.operator.rendering.scaling import autoscaler_class, has_too_few, replica_bounds
from slipway.operator.rendering.schedule import Kept, kept_now
from slipway.operator.rendering.service import service


def render(deployment: LLMDeployment, plan: Plan, world: World) -> Desired | Unrenderable:
    """The same input gives the same objects, byte for byte."""
    try:
        return _render(deployment, plan, world)
    except Refusal as refusal:
        return refusal.answer


def _render(deployment: LLMDeployment, plan: Plan, world: World) -> Desired:
    runtime = world.serving_runtime or world.pods_runtime or _no_runtime(plan)
    plan = replace(plan, runtime=runtime["metadata"]["name"])
    engine = engine_of(plan, runtime, deployment.spec)
    refuse_what_would_be_unsafe(deployment, plan, engine, runtime)
    pods = _pods(deployment, plan, engine, runtime, world)
    if pods.is_kept:
        plan = as_made(plan, pods.made)
        engine = engine_of(plan, world.pods_runtime or runtime, deployment.spec)  # whose ports the pods have
    chosen = autoscaler_class(deployment.spec.scaling, world)
    monitor = pod_monitor(deployment, world, engine)
    # The Service comes first, so that the name resolves from the begin; the InferenceService, which starts pods, after
    # the policy that guards them. What scales comes when there is something to scale.
    kept = kept_now(deployment.spec.scaling, world.now)
    scaled = scaled_object(deployment, kept, world, autoscaler=chosen)
    own_autoscaler = autoscaler(deployment, plan, kept, world, autoscaler_class=chosen)
    is_scaled = isinstance(scaled, dict) or (isinstance(own_autoscaler, dict) and not has_too_few(world, kept))
    objects = (
        service(deployment, engine_port=engine.port),
        activator_slice(deployment, world),
        network_policy(deployment, world, engine),
        pods.inference_service,
        scaled,
        own_autoscaler,
        monitor,
    )
    return Desired(
        apply=tuple(each for each in objects if isinstance(each, dict)),
        delete=tuple(each for each in objects if isinstance(each, ObjectReference)),
        replicas=None if is_scaled else replica_bounds(deployment, kept, chosen),
        remarks=(
            *_of_now(kept),
            *asked.told_of_what_is_asked(deployment, kept, world),
            *told_of_rollout(deployment.spec, world),
            *_told_of_runtimes(pods, plan, world),
            *_not_yet(deployment.spec, world),
            *_open_at_zero(deployment.spec, world),
            *engine.ignored(deployment.spec),
        ),
        look_again_at=min(filter(None, (kept.until, asked.next_moment(deployment, world))), default=None),
        plan=plan,
        made=pods.made.model_dump(by_alias=True, exclude_none=True),
        update=pods.update,
    )


def _pods(deployment: LLMDeployment, plan: Plan, engine: Engine, runtime: Object, world: World) -> Pinned:
    """Those that there are to be, if need be as they were made before."""
    strategy, chosen = deployment_strategy(deployment.spec, world), autoscaler_class(deployment.spec.scaling, world)
    wanted = inference_service(deployment, plan, engine, strategy=strategy, autoscaler=chosen)
    found = pinned(wanted, deployment, plan, runtime, world)
    without_templates(found.inference_service, deployment, plan)
    return found


def _no_runtime(plan: Plan) -> Object:
    remedy = (
        f"let Slipway's chart bring it, by its value runtimes.{plan.runtime.removeprefix('slipway-')}.enabled"
        if is_ours(plan.engine) or plan.engine in OTHER_RUNTIMES
        else "make one, or choose vllm or llamacpp in engine.name, which Slipway brings along"
    )
    raise Refusal(
        f"There is no ServingRuntime or ClusterServingRuntime {plan.runtime}: {remedy}.", Reason.RUNTIME_MISSING
    )


def _told_of_runtimes(pods: Pinned, plan: Plan, world: World) -> Iterator[str]:
    """Of those that are gone, or that this release hasn't."""
    named = runtime_name(pods.inference_service)
    if pods.is_kept and world.pods_runtime is None:
        yield (
            f"The ServingRuntime {named}, by which its pods were made, is gone, so KServe can change nothing of them "
            f"any more: bring it back, or have them made by {plan.runtime} with the annotation {SYNC_ANNOTATION}."
        )
    if world.serving_runtime is None:
        yield f"This release brings no ServingRuntime for {plan.engine}; its pods keep {named}."


def _of_now(kept: Kept) -> Iterator[str]:
    if kept.entry:
        count = "1 replica is" if kept.replicas == 1 else f"{kept.replicas} replicas are"
        yield f"scaling.schedule: {count} kept by '{kept.entry.cron}' for {kept.entry.duration}."


def _not_yet(spec: LLMDeploymentSpec, world: World) -> Iterator[str]:
    """Wishes that harm nobody while they are not carried out."""
    if spec.scaling.autoscaler == "KEDA" and world.activator is None:
        yield "scaling.autoscaler: KEDA needs the activator, which isn't there; replicas stay from min to maxReplicas."
    if spec.scaling.target and spec.scaling.target.in_flight is None:
        yield "scaling.target: times are not followed yet; replicas follow the requests in flight."
    if spec.model.cache.kind != "None":
        yield "model.cache: files are not cached yet; each replica fetches them."
    if spec.access.gateway:
        yield "access.gateway: no route is made yet; the model is reachable inside of the cluster."
    if spec.rollout.strategy == "Canary":
        yield "rollout.strategy: Canary is carried out as Surge so far."
    if spec.rollout.quality_gate:
        yield "rollout.qualityGate: nothing waits for the benchmark yet."


def _open_at_zero(spec: LLMDeploymentSpec, world: World) -> Iterator[str]:
    """What is kept less well while the model sleeps."""
    secret = spec.access.api_keys_secret
    if secret and world.activator is not None and world.activator_reads_keys is False:
        yield (
            f"access.apiKeysSecret: waking takes no valid key, because the activator may not read the Secret {secret}: "
            "apply manifests/samples/keys-at-zero.yaml with its name, "
            f"for the ServiceAccount {world.activator_service}."
        )
