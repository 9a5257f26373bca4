"""The InferenceService, from which KServe makes the Deployment. What all models of an engine share is in its runtime.

KServe copies the labels and annotations of an InferenceService to its pods, so changing one restarts all pods. Its
metadata therefore holds only what is decided here; labels and annotations of the LLMDeployment are not copied.
"""

from __future__ import annotations

import math
from dataclasses import replace

from slipway.api.llmdeployment import LLMDeployment, LLMDeploymentSpec
from slipway.api.names import AUTOSCALER_CLASS_ANNOTATION, PLAN_ANNOTATION
from slipway.api.pod import PodSpecExtras
from slipway.api.schema import ApiModel
from slipway.api.units import seconds
from slipway.objects.kinds import INFERENCE_SERVICE, Object
from slipway.operator.installation import Fetcher
from slipway.operator.planning import Plan
from slipway.operator.planning.engines import is_ours
from slipway.operator.rendering import access, overriding, placement, storage, weights
from slipway.operator.rendering.desired import Child
from slipway.operator.rendering.engines.engine import RenderedEngine
from slipway.operator.rendering.metadata import child, our_labels
from slipway.operator.rendering.scaling import replicas

CLUSTER_LOCAL = {"networking.kserve.io/visibility": "cluster-local"}  # no ingress: clients use the Service
STANDARD_MODE = {"serving.kserve.io/deploymentMode": "Standard"}
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"

LONGEST_REQUEST = 3600  # seconds; where KServe makes an HTTPRoute, its default of 60 would cut off long responses
UNTIL_GONE = (
    15  # seconds besides draining: the wait before it, until no Service leads to the pod, and the exit after it
)
WAIT = 5  # of those, the seconds before draining, where the engine itself doesn't wait


def inference_service(
    deployment: LLMDeployment,
    plan: Plan,
    engine: RenderedEngine,
    serving_runtime: Object,
    *,
    strategy: Object,
    autoscaler: str,
    fetcher: Fetcher | None,
) -> Child:
    spec = deployment.spec
    is_ours = fetcher is not None and weights.fetches(spec)
    predictor: Object = {
        **replicas(spec.scaling, autoscaler),
        "timeout": LONGEST_REQUEST,
        "deploymentStrategy": strategy,
        **_pod(deployment, plan, serving_runtime),
        "model": _container(deployment, plan, engine, serving_runtime),
    }
    return child(
        INFERENCE_SERVICE,
        deployment,
        labels=CLUSTER_LOCAL,
        annotations={
            **STANDARD_MODE,
            AUTOSCALER_CLASS_ANNOTATION: autoscaler,
            **({} if is_ours else storage.secret_annotations(spec)),
        },
        spec={
            "predictor": weights.with_fetched(predictor, spec, fetcher)
            if fetcher and is_ours
            else storage.with_storage(predictor, spec)
        },
    )


def grace_period(spec: LLMDeploymentSpec) -> int:
    return math.ceil(seconds(spec.rollout.drain_timeout)) + UNTIL_GONE


def _pod(deployment: LLMDeployment, plan: Plan, serving_runtime: Object) -> Object:
    spec, pod = deployment.spec, deployment.spec.pod
    shared_memory, _ = overriding.shared_memory(plan, serving_runtime)
    return _given(
        labels=_pod_labels(pod, deployment.metadata.name),
        annotations={**pod.annotations, **_plan_annotation(plan)},
        terminationGracePeriodSeconds=grace_period(spec),
        **placement.node_selection(plan, serving_runtime),
        tolerations=plan.tolerations,
        runtimeClassName=plan.runtime_class,
        serviceAccountName=pod.service_account_name,
        priorityClassName=pod.priority_class_name,
        schedulerName=pod.scheduler_name,
        imagePullSecrets=[{"name": secret.name} for secret in pod.image_pull_secrets],
        resourceClaims=placement.pod_claims(plan, deployment.metadata.name),
        volumes=[*map(_written, pod.volumes), *access.volumes(spec.access), *shared_memory],
    )


def _plan_annotation(plan: Plan) -> dict[str, str]:
    """Of engines that report what they measure."""
    return {PLAN_ANNOTATION: plan.key} if is_ours(plan.engine) else {}


def _pod_labels(pod: PodSpecExtras, name: str) -> dict[str, str]:
    queue = {QUEUE_LABEL: pod.queue_name} if pod.queue_name else {}
    return {**pod.labels, **queue, **our_labels(name)}


def _container(deployment: LLMDeployment, plan: Plan, engine: RenderedEngine, serving_runtime: Object) -> Object:
    spec, pod = deployment.spec, deployment.spec.pod
    limit = overriding.longer_start(plan, serving_runtime)
    _, shared_memory = overriding.shared_memory(plan, serving_runtime)
    return _given(
        modelFormat={"name": engine.model_format},
        runtime=plan.runtime,
        args=engine.arguments(deployment, replace(plan, start_limit=limit)),
        env=_environment(deployment, plan, engine),
        resources=_given(**plan.resources, claims=placement.container_claims(plan)),
        volumeMounts=[*map(_written, pod.volume_mounts), *access.volume_mounts(spec.access), *shared_memory],
        startupProbe=overriding.startup_probe(plan, serving_runtime),
        lifecycle=_wait_before_sigterm(spec, engine.drains_for),
    )


def _wait_before_sigterm(spec: LLMDeploymentSpec, drains_for: float | None) -> Object | None:
    """Where the engine drains for less time than the spec wants, the rest of that time passes before SIGTERM: no new
    request arrives any more, and running ones continue."""
    if drains_for is None:
        return None
    missing = math.ceil(seconds(spec.rollout.drain_timeout) - drains_for)
    return {"preStop": {"sleep": {"seconds": max(WAIT, missing)}}}


def _environment(deployment: LLMDeployment, plan: Plan, engine: RenderedEngine) -> list[Object]:
    """The engine's variables, overridden and extended by the spec's."""
    ours = {name: {"name": name, "value": value} for name, value in engine.environment(deployment, plan).items()}
    theirs = {variable.name: _written(variable) for variable in deployment.spec.pod.env}
    return [*(ours | theirs).values()]


def _written(part: ApiModel) -> Object:
    return part.model_dump(by_alias=True, exclude_none=True, exclude_defaults=True)


def _given(**fields: object) -> Object:
    """Leaves empty fields out, so that others may set them."""
    return {name: value for name, value in fields.items() if value not in (None, {}, [])}
