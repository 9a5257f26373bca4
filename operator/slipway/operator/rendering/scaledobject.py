"""The ScaledObject by which KEDA queries the activator: is the model wanted, and by how many requests?

It has one trigger: with a second, slower one, KEDA would react to a push only after polling that. It has no fallback:
an unreachable activator must not mean zero replicas. KEDA's own cooldown is short, because the activator itself waits
for `idleAfter` before it reports that the model is not wanted.
"""

from __future__ import annotations

from slipway.api import names
from slipway.api.llmdeployment import LLMDeployment
from slipway.api.scaling import ScalingSpec
from slipway.objects.kinds import DEPLOYMENT, SCALED_OBJECT, Object, ObjectKey
from slipway.observing.snapshot import Snapshot
from slipway.operator.installation import Installation
from slipway.operator.rendering.activator import activator_for
from slipway.operator.rendering.desired import Child
from slipway.operator.rendering.metadata import child, key_of_child
from slipway.operator.rendering.scaling import EXTERNAL, SCALE_DOWN, predictor_deployment
from slipway.operator.rendering.schedule import Kept

POLLING_INTERVAL = 5  # seconds: a safety net for lost pushes, and how fast "not wanted" is noticed
COOLDOWN = 5
PAUSED = {"autoscaling.keda.sh/paused": "true"}


def scaled_object(
    deployment: LLMDeployment, kept: Kept, snapshot: Snapshot, installation: Installation, *, autoscaler: str
) -> Child | ObjectKey | None:
    """The object to apply, or the key of the one to delete, or None where it is not needed, or not yet."""
    activator, spec = activator_for(snapshot), deployment.spec.scaling
    target = predictor_deployment(deployment.metadata.name)
    if SCALED_OBJECT not in snapshot.kinds or not activator.is_installed:
        return None
    if spec.autoscaler != "KEDA":
        return key_of_child(SCALED_OBJECT, deployment)
    if autoscaler != EXTERNAL or snapshot.deployment_named(target) is None:
        return None  # KEDA would retry with a growing backoff until it finds the Deployment
    if snapshot.autoscaler is not None:
        return None  # KEDA rejects a Deployment that another autoscaler scales; ours is about to be deleted
    return child(
        SCALED_OBJECT,
        deployment,
        annotations=PAUSED if deployment.is_paused else {},
        spec=_spec(target, spec, kept, f"{activator.service}.{installation.namespace}"),
    )


def _spec(target: str, spec: ScalingSpec, kept: Kept, activator: str) -> Object:
    address = f"{activator}:{names.ACTIVATOR_GRPC_PORT}"
    return {
        "scaleTargetRef": {"apiVersion": DEPLOYMENT.api_version, "kind": DEPLOYMENT.name, "name": target},
        "minReplicaCount": kept.replicas,
        "maxReplicaCount": spec.max_replicas,
        "pollingInterval": POLLING_INTERVAL,
        "cooldownPeriod": COOLDOWN,
        "advanced": {"horizontalPodAutoscalerConfig": {"behavior": {"scaleDown": SCALE_DOWN}}},
        "triggers": [{"type": "external-push", "metadata": {"scalerAddress": address}}],
    }
