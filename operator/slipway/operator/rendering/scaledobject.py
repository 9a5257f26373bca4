"""The ScaledObject by which KEDA asks the activator whether a model is wanted, and by how many requests.

One trigger and no other: a second one could be slow, and KEDA would answer a push only after it. No fallback: an
activator that can't be asked must not mean zero replicas. When nobody asks any more, the activator itself waits for
`idleAfter`, so that KEDA's own wait is short.
"""

from __future__ import annotations

from slipway.api import names
from slipway.api.llmdeployment import LLMDeployment, ScalingSpec
from slipway.operator.rendering.desired import SCALED_OBJECT, Object, ObjectReference, World
from slipway.operator.rendering.metadata import owned
from slipway.operator.rendering.scaling import EXTERNAL, SCALE_DOWN, predictor_deployment
from slipway.operator.rendering.schedule import Kept

API_VERSION, KIND = "keda.sh/v1alpha1", "ScaledObject"
POLLING_INTERVAL = 5  # seconds: a net below the pushes, and the pace at which "not wanted" is heard
COOLDOWN = 5
PAUSED = {"autoscaling.keda.sh/paused": "true"}


def scaled_object(
    deployment: LLMDeployment, kept: Kept, world: World, *, autoscaler: str
) -> Object | ObjectReference | None:
    """The object to apply, or the one to delete, or nothing where it has no place, or not yet."""
    whose, spec = deployment.metadata, deployment.spec.scaling
    if SCALED_OBJECT not in world.kinds or world.activator is None:
        return None
    if spec.autoscaler != "KEDA":
        return ObjectReference(API_VERSION, KIND, whose.namespace, whose.name)
    if autoscaler != EXTERNAL or world.deployment is None:
        return None  # KEDA would try to find it ever less often
    if world.autoscaler is not None:
        return None  # KEDA would refuse a Deployment that has an autoscaler; ours is about to go
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": owned(deployment, annotations=PAUSED if deployment.is_paused else {}),
        "spec": _spec(whose.name, spec, kept, f"{world.activator_service}.{world.slipway_namespace}"),
    }


def _spec(name: str, spec: ScalingSpec, kept: Kept, activator: str) -> Object:
    address = f"{activator}:{names.ACTIVATOR_GRPC_PORT}"
    return {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": predictor_deployment(name)},
        "minReplicaCount": kept.replicas,
        "maxReplicaCount": spec.max_replicas,
        "pollingInterval": POLLING_INTERVAL,
        "cooldownPeriod": COOLDOWN,
        "advanced": {"horizontalPodAutoscalerConfig": {"behavior": {"scaleDown": SCALE_DOWN}}},
        "triggers": [{"type": "external-push", "metadata": {"scalerAddress": address}}],
    }
