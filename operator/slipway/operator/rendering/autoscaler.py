"""The HorizontalPodAutoscaler of `autoscaler: HPA`, for clusters without KEDA. It adds and takes away replicas by

| what | where | who tells it |
|---|---|---|
| the CPU of the engine's container | llama.cpp, where the spec names no target | metrics-server |
| requests in flight | any other engine, and with `target.inFlight` | an adapter of Prometheus's metrics |

It never scales from zero: as long as there are fewer replicas than its minimum, Slipway brings them (`replica_bounds`).
"""

from __future__ import annotations

from slipway.api.engine import ANY_CONCURRENCY
from slipway.api.llmdeployment import LLMDeployment, ScalingSpec
from slipway.contract.engines import LLAMACPP
from slipway.contract.pod import IN_FLIGHT_METRIC
from slipway.operator.planning import Plan
from slipway.operator.rendering.desired import Object, ObjectReference, World
from slipway.operator.rendering.metadata import owned
from slipway.operator.rendering.runtimes import CONTAINER
from slipway.operator.rendering.scaling import EXTERNAL, SCALE_DOWN, predictor_deployment
from slipway.operator.rendering.schedule import Kept

API_VERSION, KIND = "autoscaling/v2", "HorizontalPodAutoscaler"
BUSY = 80  # percent of the CPU that a replica asks for


def autoscaler(
    deployment: LLMDeployment, plan: Plan, kept: Kept, world: World, *, autoscaler_class: str
) -> Object | ObjectReference | None:
    """The object to apply, or the one to delete, or nothing as long as there is nothing to scale."""
    whose, spec = deployment.metadata, deployment.spec.scaling
    if not is_wanted(spec) or deployment.is_paused:
        return ObjectReference(API_VERSION, KIND, whose.namespace, whose.name)
    if autoscaler_class != EXTERNAL or world.deployment is None or world.scaled_object is not None:
        return None
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": owned(deployment),
        "spec": {
            "scaleTargetRef": {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "name": predictor_deployment(whose.name),
            },
            "minReplicas": kept.replicas,
            "maxReplicas": spec.max_replicas,
            "metrics": [_cpu() if _goes_by_cpu(plan, spec) else _in_flight(plan, spec)],
            "behavior": {"scaleDown": SCALE_DOWN},
        },
    }


def is_wanted(spec: ScalingSpec) -> bool:
    """Between two bounds that are the same there is nothing to choose."""
    return spec.autoscaler == "HPA" and spec.min_replicas < spec.max_replicas


def _goes_by_cpu(plan: Plan, spec: ScalingSpec) -> bool:
    return plan.engine == LLAMACPP.name and not (spec.target and spec.target.in_flight)


def _cpu() -> Object:
    target = {"type": "Utilization", "averageUtilization": BUSY}
    return {
        "type": "ContainerResource",
        "containerResource": {"name": "cpu", "container": CONTAINER, "target": target},
    }


def _in_flight(plan: Plan, spec: ScalingSpec) -> Object:
    wanted = spec.target.in_flight if spec.target else None
    each = wanted if isinstance(wanted, int) else plan.max_concurrency or ANY_CONCURRENCY
    target = {"type": "AverageValue", "averageValue": str(each)}
    return {"type": "Pods", "pods": {"metric": {"name": IN_FLIGHT_METRIC}, "target": target}}
