"""How many replicas there are, as far as rendering decides it.

KServe's autoscaler class is always `external`: KServe leaves the number of replicas alone. With class `none` KServe
would enforce `minReplicas` in every reconcile, and switching from there to an autoscaler would restart all pods,
because KServe copies the annotation to the pod template. Where no ScaledObject is rendered, Slipway keeps the replicas
within bounds itself (`ReplicaBounds`).

One exception, right after the creation: under `external` a new Deployment starts with one replica, which is the API
server's default. Where it should start with none, the InferenceService starts with class `none` and zero replicas, and
becomes `external` as soon as its Deployment exists. At that time no pod runs that the changed annotation could restart.
No one is to scale it before KServe has copied `external` to the Deployment: a reconcile that KServe started under
`none` would set the replicas to zero again, and the copied annotation would restart a pod.
"""

from __future__ import annotations

from collections.abc import Iterator

from slipway.api.llmdeployment import LLMDeployment, LLMDeploymentSpec
from slipway.api.names import AUTOSCALER_CLASS_ANNOTATION
from slipway.api.scaling import ScalingSpec
from slipway.objects.kinds import Object
from slipway.objects.metadata import annotations_of, owners_of, uid_of
from slipway.observing.objectives import (
    FIELDS,
    FOLLOWED_BOUNDS,
    engine_named,
    followable,
    histograms_of,
    target_times,
)
from slipway.operator.rendering.desired import ReplicaBounds
from slipway.operator.rendering.schedule import Kept

FIXED, EXTERNAL = "none", "external"
SCALE_DOWN: Object = {
    "stabilizationWindowSeconds": 300,
    "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}],
}


def predictor_deployment(name: str) -> str:
    """The name of the Deployment that KServe makes for an InferenceService."""
    return f"{name}-predictor"


def autoscaler_class(spec: ScalingSpec, inference_service: Object | None, predictor: Object | None) -> str:
    """`external`, once that can't start an unwanted pod. Never back to `none`: KServe would then scale to zero.

    `inference_service`: the live one; `predictor`: the Deployment that KServe made for it.
    """
    live = inference_service
    if _initial_replicas(spec) > 0 or (live and annotations_of(live).get(AUTOSCALER_CLASS_ANNOTATION) == EXTERNAL):
        return EXTERNAL
    return EXTERNAL if live and predictor and _was_made_at_zero(predictor, live) else FIXED


def class_in_effect(chosen_class: str, predictor: Object | None) -> str:
    """The class by which KServe still treats the Deployment: it copies the InferenceService's when it reconciles."""
    is_fixed = predictor is not None and annotations_of(predictor).get(AUTOSCALER_CLASS_ANNOTATION) == FIXED
    return FIXED if is_fixed else chosen_class


def replicas(spec: ScalingSpec, autoscaler: str) -> Object:
    return {"minReplicas": 0 if autoscaler == FIXED else spec.min_replicas, "maxReplicas": spec.max_replicas}


def replica_bounds(deployment: LLMDeployment, kept: Kept, autoscaler: str) -> ReplicaBounds | None:
    """Above the number kept, only an autoscaler that knows the number of requests may remove replicas; Slipway doesn't.

    Without an autoscaler, exactly the number kept runs.
    """
    if autoscaler == FIXED or deployment.is_paused:
        return None
    spec = deployment.spec.scaling
    at_most = kept.replicas if spec.autoscaler == "None" else spec.max_replicas
    return ReplicaBounds(predictor_deployment(deployment.metadata.name), kept.replicas, at_most)


def has_too_few(predictor: Object | None, kept: Kept) -> bool:
    """A HorizontalPodAutoscaler does nothing at zero, and is slow below its minimum."""
    return predictor is not None and int(predictor["spec"].get("replicas", 1)) < kept.replicas


def remarks_on_target(spec: LLMDeploymentSpec) -> Iterator[str]:
    """On times that the replicas can't follow."""
    times, histograms = target_times(spec.scaling), histograms_of(spec.engine.name)
    if times and spec.scaling.autoscaler != "KEDA":
        named = " and ".join(FIELDS[name] for name in times)
        yield (
            f"scaling.target: autoscaler {spec.scaling.autoscaler} can't follow {named}, because Slipway's "
            "activator measures times, and only KEDA queries it: set autoscaler to KEDA, or target to inFlight."
        )
        return
    for name in sorted(times.keys() - followable(spec.scaling).keys()):
        least, most = FOLLOWED_BOUNDS[name]
        yield (
            f"scaling.target: {FIELDS[name]} {times[name]} can't be followed, because histograms tell times from "
            f"{least} to {most}: choose one of these; replicas follow the rest of target, or else the requests in "
            "flight."
        )
    if missing := [FIELDS[name] for name in times if name not in histograms]:
        engine = engine_named(spec.engine.name)
        yield (
            f"scaling.target: {' and '.join(missing)} can't be followed, because no such histogram is known of "
            f"{engine.title if engine else spec.engine.name}; replicas follow the rest of target, or else the requests "
            "in flight."
        )


def _was_made_at_zero(predictor: Object, inference_service: Object) -> bool:
    """For this InferenceService: a predecessor's Deployment is deleted, and the next would start with one replica."""
    owners = {each["uid"] for each in owners_of(predictor)}
    return uid_of(inference_service) in owners and predictor["spec"].get("replicas") == 0


def _initial_replicas(spec: ScalingSpec) -> int:
    return spec.min_replicas if spec.initial_replicas is None else spec.initial_replicas
