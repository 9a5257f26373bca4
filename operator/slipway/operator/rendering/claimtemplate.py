"""The ResourceClaimTemplate, from which Kubernetes makes a claim of devices for each pod (dynamic allocation)."""

from __future__ import annotations

from slipway.api.llmdeployment import LLMDeployment
from slipway.objects.kinds import RESOURCE_CLAIM_TEMPLATE, Object
from slipway.operator.planning import Plan
from slipway.operator.rendering.desired import Child
from slipway.operator.rendering.metadata import child, our_labels
from slipway.operator.rendering.placement import CLAIM, template_name, template_of


def claim_template(deployment: LLMDeployment, plan: Plan, inference_service: Object) -> Child | None:
    """None: the pods of the InferenceService claim nothing, or are kept as an earlier plan made them."""
    name = template_name(plan, deployment.metadata.name) if plan.device_class else ""
    if not name or name != template_of(inference_service["spec"]["predictor"]):
        return None
    exactly = {"deviceClassName": plan.device_class, "allocationMode": "ExactCount", "count": plan.gpus_per_replica}
    of_claims = {
        "metadata": {"labels": our_labels(deployment.metadata.name)},
        "spec": {"devices": {"requests": [{"name": CLAIM, "exactly": exactly}]}},
    }
    return child(RESOURCE_CLAIM_TEMPLATE, deployment, name=name, spec=of_claims)
