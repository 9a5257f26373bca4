"""The HorizontalPodAutoscaler of `autoscaler: HPA`, for clusters without KEDA. It scales replicas by one metric:

| metric | when | source |
|---|---|---|
| CPU usage of the engine's container | llama.cpp, where the spec sets no target | metrics-server |
| requests in flight | any other engine, and with `target.inFlight` | an adapter for Prometheus metrics |

It never scales from zero: while there are fewer replicas than its minimum, Slipway adds them (`replica_bounds`).
"""

from __future__ import annotations

from slipway.api.engine import ANY_CONCURRENCY
from slipway.api.llmdeployment import LLMDeployment
from slipway.api.scaling import ScalingSpec
from slipway.contract.engines import LLAMACPP
from slipway.contract.pod import IN_FLIGHT_METRIC
from slipway.objects.kinds import DEPLOYMENT, HORIZONTAL_POD_AUTOSCALER, Object, ObjectKey
from slipway.observing.snapshot import Snapshot
from slipway.operator.planning import Plan
from slipway.operator.rendering.desired import Child
from slipway.operator.rendering.metadata import child, key_of_child
from slipway.operator.rendering.runtimes import CONTAINER
from slipway.operator.rendering.scaling import EXTERNAL, SCALE_DOWN, predictor_deployment
from slipway.operator.rendering.schedule import Kept

BUSY = 80  # percent of a replica's CPU request


def autoscaler(
    deployment: LLMDeployment, plan: Plan, kept: Kept, snapshot: Snapshot, *, autoscaler_class: str
) -> Child | ObjectKey | None:
    """The object to apply, or the key of the one to delete, or None while there is nothing to scale."""
    spec, target = deployment.spec.scaling, predictor_deployment(deployment.metadata.name)
    if not is_wanted(spec) or deployment.is_paused:
        return key_of_child(HORIZONTAL_POD_AUTOSCALER, deployment)
    if autoscaler_class != EXTERNAL or snapshot.deployment_named(target) is None or snapshot.scaled_object is not None:
        return None
    return child(
        HORIZONTAL_POD_AUTOSCALER,
        deployment,
        spec={
            "scaleTargetRef": {"apiVersion": DEPLOYMENT.api_version, "kind": DEPLOYMENT.name, "name": target},
            "minReplicas": kept.replicas,
            "maxReplicas": spec.max_replicas,
            "metrics": [_cpu() if _goes_by_cpu(plan, spec) else _in_flight(plan, spec)],
            "behavior": {"scaleDown": SCALE_DOWN},
        },
    )


def is_wanted(spec: ScalingSpec) -> bool:
    """With equal bounds there is nothing to choose."""
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
