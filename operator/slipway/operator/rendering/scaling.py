"""How many replicas, as far as rendering has a say in it.

KServe's autoscaler class is always `external`: KServe leaves the number of replicas alone. With class `none` KServe
would force `minReplicas` at every turn, and the way from there to an autoscaler would start every pod anew, because
KServe copies the annotation to the pods' template. Where no ScaledObject is rendered, Slipway keeps the replicas within
bounds itself (`ReplicaBounds`).

One exception, right after the creation: under `external` a new Deployment begins with one replica, which is the API
server's default. Where it should begin with none, the InferenceService begins with class `none` and no replicas, and
becomes `external` as soon as its Deployment is there. No pod runs then that the new annotation could start anew.
"""

from __future__ import annotations

from slipway.api.llmdeployment import LLMDeployment, ScalingSpec
from slipway.operator.rendering.desired import Object, ReplicaBounds, World
from slipway.operator.rendering.schedule import Kept

CLASS_ANNOTATION = "serving.kserve.io/autoscalerClass"
FIXED, EXTERNAL = "none", "external"
SCALE_DOWN: Object = {
    "stabilizationWindowSeconds": 300,
    "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}],
}


def predictor_deployment(name: str) -> str:
    """The Deployment that KServe makes for an InferenceService."""
    return f"{name}-predictor"


def autoscaler_class(spec: ScalingSpec, world: World) -> str:
    """`external`, once that can't start a pod which nobody asked for. Never back: KServe would then scale to zero."""
    begun = world.inference_service
    if _initial_replicas(spec) > 0 or (begun and _class_of(begun) == EXTERNAL):
        return EXTERNAL
    return EXTERNAL if begun and world.deployment and _is_made_at_zero(world.deployment, begun) else FIXED


def replicas(spec: ScalingSpec, autoscaler: str) -> Object:
    return {"minReplicas": 0 if autoscaler == FIXED else spec.min_replicas, "maxReplicas": spec.max_replicas}


def replica_bounds(deployment: LLMDeployment, kept: Kept, autoscaler: str) -> ReplicaBounds | None:
    """Above what is kept, only those who know how many requests there are may take replicas away; Slipway doesn't yet.

    Without an autoscaler there are as many as are kept, no more and no less.
    """
    if autoscaler == FIXED or deployment.is_paused:
        return None
    spec = deployment.spec.scaling
    at_most = kept.replicas if spec.autoscaler == "None" else spec.max_replicas
    return ReplicaBounds(predictor_deployment(deployment.metadata.name), kept.replicas, at_most)


def has_too_few(world: World, kept: Kept) -> bool:
    """A HorizontalPodAutoscaler does nothing at zero, and takes its time below its minimum."""
    return world.deployment is not None and int(world.deployment["spec"].get("replicas", 1)) < kept.replicas


def _is_made_at_zero(deployment: Object, inference_service: Object) -> bool:
    """For this very InferenceService: one that a predecessor left goes, and the next would begin with a replica."""
    owners = {each["uid"] for each in deployment["metadata"].get("ownerReferences") or []}
    return inference_service["metadata"]["uid"] in owners and deployment["spec"].get("replicas") == 0


def _initial_replicas(spec: ScalingSpec) -> int:
    return spec.min_replicas if spec.initial_replicas is None else spec.initial_replicas


def _class_of(inference_service: Object) -> str | None:
    annotations = inference_service["metadata"].get("annotations") or {}
    return annotations.get(CLASS_ANNOTATION)
