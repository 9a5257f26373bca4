"""LLMDeployments as Argo CD sees them, one for each health message, with the status that the operator writes.

`make generate` writes them to manifests/argocd/resource_customizations, as the test data of its Lua scripts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from slipway.api.llmdeployment import LLMDeployment
from slipway.api.names import (
    API_VERSION,
    KIND,
    PAUSED_ANNOTATION,
    PROFILE_KIND,
    RESTART_ANNOTATION,
    SLEEP_ANNOTATION,
    SYNC_ANNOTATION,
    WAKE_ANNOTATION,
)
from slipway.api.reasons import Reason
from slipway.api.spending import BudgetSpec
from slipway.objects.kinds import Object
from slipway.observing.budget import Budget, Period
from slipway.observing.observation import observe
from slipway.observing.snapshot import PlatformPart, Snapshot
from slipway.observing.status import status_of
from slipway.operator.planning import Plan, Unplannable

from support.builders.observed import NOW, condition, container, deployment, ended, pod, snapshot, unscheduled

LONG_AGO = "0001-01-01T00:00:00Z"
"""Replaces the timestamps of a test, as Argo CD's own tests do."""
PLAN = Plan(
    profile="l4",
    gpus_per_replica=1,
    runtime="slipway-vllm-cuda",
    engine="vllm",
    max_concurrency=16,
    why=("l4 is the cheapest that fits.",),
)
MADE = {"version": "0.1.0", "spec": "3b6c29d1", "pods": "9a41f07e", "sync": ""}
UPDATE = {"version": "0.2.0", "changes": ["the image of the engine"]}
FULL = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
GONE = "There is no model acme/assistant-8b at https://huggingface.co: correct model.uri"
FIT = Unplannable(Reason.NO_ACCELERATOR_FITS, "The model needs 140 GiB, and the largest profile has 80 GiB")


@dataclass(frozen=True)
class HealthCase:
    """An LLMDeployment, and the snapshots that the operator observed one after the other; the last snapshot is the
    present."""

    snapshots: tuple[Snapshot, ...] = ()
    generation: int = 1
    observed_generation: int | None = None  # the same as `generation`, if None
    annotations: Mapping[str, str] = field(default_factory=dict)
    scaling: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    plan: Plan | Unplannable = PLAN
    update: Mapping[str, Any] | None = None  # the update that a newer Slipway has for it

    def object(self) -> Object:
        thing, status = self._asked_for(), self._status()
        return thing if status is None else {**thing, "status": status}

    def after(self, annotation: str, value: str) -> Object:
        """Returns the object as an action of Argo CD leaves it: the operator has not reconciled it since."""
        thing = self.object()
        annotations = thing["metadata"].get("annotations") or {}
        return {**thing, "metadata": {**thing["metadata"], "annotations": {**annotations, annotation: value}}}

    def _status(self) -> Object | None:
        status: Object | None = None
        for seen in self.snapshots:
            deployment = LLMDeployment.model_validate(self._asked_for())
            made = {"made": MADE, "update": self.update}
            status = status_of(self._observed, self.plan, observe(deployment, seen), status, seen.now, made=made)
        return status

    @property
    def _observed(self) -> int:
        return self.generation if self.observed_generation is None else self.observed_generation

    def _asked_for(self) -> Object:
        metadata = {
            "name": "assistant",
            "namespace": "chat",
            "uid": "5d1f8b0e-5a2c-4c8e-9f63-2b1d7f0c4a11",
            "resourceVersion": "4711",
            "generation": self.generation,
            "creationTimestamp": "2026-11-21T09:59:58Z",
            **({"annotations": dict(self.annotations)} if self.annotations else {}),
            **self.metadata,
        }
        scaling = {"minReplicas": 0, "maxReplicas": 2, "autoscaler": "KEDA", "idleAfter": "10m", **self.scaling}
        spec = {"model": {"uri": "hf://acme/assistant-8b", "revision": "0e9e39f249a1"}, "scaling": scaling}
        return {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": spec}


def later(seen: Snapshot, minutes: float) -> Snapshot:
    return replace(seen, now=seen.now + timedelta(minutes=minutes))


def held(*pods: Object, **more: Any) -> Snapshot:
    """Returns a snapshot in which the activator holds requests while no replica is ready."""
    return snapshot(*pods, activator_answers=True, **more)


def fails() -> Object:
    """Returns a pod whose process 1 has reported a failure."""
    state = ended(json.dumps({"reason": "ModelNotFound", "message": GONE}))
    return pod(containerStatuses=[container(state=state, lastState=state, restartCount=1)])


def keda_down() -> PlatformPart:
    since = f"{NOW - timedelta(minutes=5):%Y-%m-%dT%H:%M:%SZ}"
    template = {"spec": {"containers": [{"image": "ghcr.io/kedacore/keda:2.21.0"}]}}
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "keda-operator"}}, "template": template}
    available = condition("Available", False, since)
    return PlatformPart(
        namespace="keda",
        controller={"metadata": {"name": "keda-operator"}, "spec": spec, "status": {"conditions": [available]}},
    )


PAUSED = {PAUSED_ANNOTATION: "true"}
SCALED_OBJECT: Object = {"metadata": {"name": "assistant", "creationTimestamp": "2026-11-21T09:59:59Z"}}
SPENT = Budget(
    BudgetSpec(per_day=50.0, then="Refuse"), (Period("day", 50.0, 50.0, datetime(2026, 11, 22, tzinfo=UTC)),)
)
NOT_MADE = snapshot(deployments=(), service=None)
ASLEEP, WAKES, SERVES = held(), held(pod()), held(pod(ready=True))
HAS_SERVED = (WAKES, later(SERVES, 1), later(ASLEEP, 20))
SERVES_TWO_OF_WHICH_ONE_IS_STUCK = held(pod(ready=True), unscheduled(FULL, "model-2"))
ROLLS_OUT = held(pod(ready=True), pod("model-2"), deployments=(deployment(1, pods=2, updated=1),))

HEALTH_CASES: Mapping[str, HealthCase] = {
    "new": HealthCase(),
    "making": HealthCase((NOT_MADE,)),
    "waking-first": HealthCase((ASLEEP, WAKES)),
    "waking-first-unschedulable": HealthCase((ASLEEP, held(unscheduled(FULL)))),
    "serving": HealthCase((WAKES, later(SERVES, 1))),
    "scaling-up": HealthCase((WAKES, SERVES, later(held(pod(ready=True), pod("model-2")), 5))),
    "idle": HealthCase((ASLEEP,)),
    "idle-again": HealthCase(HAS_SERVED),
    "idle-nobody-holds": HealthCase((*HAS_SERVED, later(snapshot(activator_answers=False), 30))),
    "waking-again": HealthCase((*HAS_SERVED, later(WAKES, 60))),
    "waking-again-unschedulable": HealthCase((*HAS_SERVED, later(held(unscheduled(FULL)), 5))),
    "changed": HealthCase((WAKES, SERVES), generation=2, observed_generation=1),
    "updating": HealthCase((WAKES, SERVES, later(ROLLS_OUT, 5)), generation=2),
    "degraded": HealthCase((WAKES, SERVES, SERVES_TWO_OF_WHICH_ONE_IS_STUCK)),
    "failed": HealthCase((ASLEEP, held(fails()))),
    "failed-no-plan": HealthCase((ASLEEP,), plan=FIT),
    "failed-keda-down": HealthCase(
        (*HAS_SERVED, later(replace(ASLEEP, keda=keda_down(), scaled_object=SCALED_OBJECT), 30))
    ),
    "paused": HealthCase((WAKES, SERVES), annotations=PAUSED),
    "paused-at-zero": HealthCase((ASLEEP,), annotations=PAUSED),
    "paused-failed": HealthCase((ASLEEP, held(fails())), annotations=PAUSED),
    "budget-spent": HealthCase((*HAS_SERVED, later(replace(ASLEEP, budget=SPENT), 30))),
    "terminating": HealthCase(
        (WAKES, SERVES),
        metadata={
            "deletionTimestamp": "2026-11-21T10:30:00Z",
            "deletionGracePeriodSeconds": 0,
            "finalizers": ["foregroundDeletion"],
        },
    ),
    "serving-to-update": HealthCase((WAKES, SERVES), update=UPDATE),
    "never-sleeps": HealthCase((WAKES, SERVES), scaling={"minReplicas": 1, "autoscaler": "HPA"}),
}

AFTER_ACTIONS: Mapping[str, Object] = {
    "idle-woken": HEALTH_CASES["idle"].after(WAKE_ANNOTATION, LONG_AGO),
    "serving-restarted": HEALTH_CASES["serving"].after(RESTART_ANNOTATION, LONG_AGO),
    "serving-sent-to-sleep": HEALTH_CASES["serving"].after(SLEEP_ANNOTATION, LONG_AGO),
    "serving-paused": HEALTH_CASES["serving"].after(PAUSED_ANNOTATION, "true"),
    "paused-resumed": HEALTH_CASES["paused"].after(PAUSED_ANNOTATION, "false"),
    "serving-updates": HEALTH_CASES["serving-to-update"].after(SYNC_ANNOTATION, LONG_AGO),
}

PROFILE: Object = {
    "apiVersion": API_VERSION,
    "kind": PROFILE_KIND,
    "metadata": {"name": "l4", "uid": "0f2e9a54-6c1b-4f7e-8b0a-7a3d9be3f4d2", "generation": 1},
    "spec": {
        "vendor": "NVIDIA",
        "resource": {"name": "nvidia.com/gpu", "count": 1},
        "devicesPerNode": 1,
        "memory": "24Gi",
        "bandwidth": "300G",
        "nodeLabels": {"nvidia.com/gpu.product": "NVIDIA-L4"},
    },
}
