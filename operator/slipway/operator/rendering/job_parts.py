"""What all Jobs of ours have in common: their names, their frame, their pods' metadata, and where these run. Pure.

Their pods aren't replicas: they have the owner label with another value, and none of the spec's labels and annotations,
by which others find replicas or add containers to them.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass

from slipway.api import names
from slipway.api.llmdeployment import LLMDeployment, LLMDeploymentSpec
from slipway.objects.kinds import JOB, Object
from slipway.operator.rendering.desired import Child
from slipway.operator.rendering.inferenceservice import QUEUE_LABEL
from slipway.operator.rendering.metadata import child

STAYS_FOR = 3600  # seconds after its end, for its log
LONGEST, DIGITS = 62, 8  # characters of a Job's name, which is also a label of its pods, and of the digest at its end
NO_SIDECARS = {"sidecar.istio.io/inject": "false"}
"""A sidecar would keep the pod running after its end."""
EVICTED_IS_NO_TRY: Object = {
    "rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]
}


@dataclass(frozen=True)
class JobNames:
    """Of the Jobs that do one thing for models: `purpose`, in a word."""

    purpose: str

    @property
    def longest_of_model(self) -> int:
        """Characters of the model's name."""
        return LONGEST - len(f"-{self.purpose}-") - DIGITS

    def name(self, model: str, what: list[object]) -> str:
        """The same for the same `what`: another operator finds the Job, and none is started twice."""
        return self._prefix(model) + hashlib.sha256(json.dumps(what).encode()).hexdigest()[:DIGITS]

    def of_try(self, deployment: LLMDeployment, identity: str, attempt: int) -> str:
        """Of a Job that pushes an image, for what has this identity."""
        return self.name(deployment.metadata.name, [deployment.metadata.uid, identity, attempt])

    def is_one(self, text: str, model: str) -> bool:
        """Whether a Job for the LLMDeployment `model` may have the name `text`."""
        prefix = self._prefix(model)
        return text.startswith(prefix) and bool(re.fullmatch(f"[0-9a-f]{{{DIGITS}}}", text.removeprefix(prefix)))

    def _prefix(self, model: str) -> str:
        return f"{model[: self.longest_of_model]}-{self.purpose}-"


def job(
    deployment: LLMDeployment, *, name: str, component: str, ends_alone_after: int, pods_metadata: Object, pod: Object
) -> Child:
    """`ends_alone_after`: seconds, if no operator has ended it."""
    queue = deployment.spec.pod.queue_name
    return child(
        JOB,
        deployment,
        name=name,
        labels={names.COMPONENT_LABEL: component, **({QUEUE_LABEL: queue} if queue else {})},
        spec={
            "backoffLimit": 0,
            "podFailurePolicy": EVICTED_IS_NO_TRY,
            "activeDeadlineSeconds": ends_alone_after,
            "ttlSecondsAfterFinished": STAYS_FOR,
            "template": {"metadata": pods_metadata, "spec": pod},
        },
    )


def metadata_of_pods(owner: str, component: str) -> Object:
    """`owner`: the value of the owner label."""
    own = {names.OWNER_LABEL: owner, names.MANAGED_BY_LABEL: names.MANAGED_BY, names.COMPONENT_LABEL: component}
    return {"labels": {**NO_SIDECARS, **own}, "annotations": {**NO_SIDECARS, "linkerd.io/inject": "disabled"}}


def anywhere(spec: LLMDeploymentSpec) -> Object:
    """Where the spec allows it, on CPUs."""
    tolerations = [each.model_dump(by_alias=True, exclude_none=True) for each in spec.pod.tolerations]
    wanted = {"nodeSelector": dict(spec.pod.node_selector), "tolerations": tolerations}
    return {name: value for name, value in wanted.items() if value}
