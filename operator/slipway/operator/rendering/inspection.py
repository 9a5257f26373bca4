"""The Job that reads the headers of a model's files, where the planner doesn't know the model.

Its pod isn't a replica: it has the owner label with another value, so that no Service, policy or program takes it for
one. It can do nothing but read the model: no token, no rights, nothing to write to. How a source is mounted is in
`MOUNTS`; a scheme that isn't there can't be read by a Job.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from slipway.api import names
from slipway.api.llmdeployment import LLMDeployment, LLMDeploymentSpec
from slipway.contract.pod import MODEL_FOLDER, TERMINATION_LOG
from slipway.objects.kinds import JOB, Object
from slipway.observing.inspection import CONTAINER, LONGEST
from slipway.observing.inspection_record import Source
from slipway.operator.rendering.desired import Child
from slipway.operator.rendering.inferenceservice import QUEUE_LABEL
from slipway.operator.rendering.metadata import child
from slipway.operator.rendering.runtimes import engine_container
from slipway.operator.rendering.storage import image_pull_secrets

SERVICE_ACCOUNT_NAME = "slipway-inspect"  # without any rights
VOLUME = "model"
LONGEST_OF_NAME = 45  # characters of the model's name in that of a Job, whose pods get a label with 63
STAYS_FOR = 3600  # seconds after its end, for its log
ENDS_ALONE_AFTER = LONGEST.seconds + 300  # if no operator has ended it
OF_IMAGE = ("image", "imagePullPolicy")
OF_USER = ("runAsUser", "runAsGroup")
RESTRICTED: Object = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
RESOURCES: Object = {
    "requests": {"cpu": "50m", "memory": "128Mi"},
    "limits": {"cpu": "1", "memory": "512Mi"},
}
"""The headers of the largest models, and what a hostile one may take: tests/attacks/test_hostile_reports.py."""

NO_SIDECARS = {"sidecar.istio.io/inject": "false"}
"""A sidecar would keep the pod running after its end."""
EVICTED_IS_NO_TRY: Object = {
    "rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]
}


@dataclass(frozen=True)
class Mounted:
    """A source as the pod sees it."""

    volume: Object  # without its name
    path: str  # of the model, in the container


def _claim(rest: str) -> Mounted:
    """All of the volume, and the path as an argument: a subPath that doesn't exist would be created."""
    claim, _, path = rest.partition("/")
    return Mounted({"persistentVolumeClaim": {"claimName": claim}}, f"{MODEL_FOLDER}/{path}".rstrip("/"))


MOUNTS: Mapping[str, Callable[[str], Mounted]] = {"pvc": _claim}
"""How a source is mounted, by the scheme of its URI."""


def can_be_read(uri: str) -> bool:
    return uri.partition("://")[0] in MOUNTS


def claim_with_files(uri: str) -> str | None:
    """The PersistentVolumeClaim that has the files; None: they are elsewhere."""
    scheme, _, rest = uri.partition("://")
    return rest.partition("/")[0] if scheme == "pvc" else None


def job_name(deployment: LLMDeployment, source: Source, attempt: int) -> str:
    """The same for the same try: another operator finds the Job, and none is started twice."""
    what = json.dumps([deployment.metadata.name, deployment.metadata.uid, source.digest, source.sync, attempt])
    return _prefix(deployment.metadata.name) + hashlib.sha256(what.encode()).hexdigest()[:8]


def is_job_name(text: str, name: str) -> bool:
    """Whether a Job for the LLMDeployment `name` may have the name `text`."""
    return text.startswith(_prefix(name)) and bool(re.fullmatch("[0-9a-f]{8}", text.removeprefix(_prefix(name))))


def _prefix(name: str) -> str:
    return f"{name[:LONGEST_OF_NAME]}-inspect-"


def inspection_job(deployment: LLMDeployment, runtime: Object, *, name: str, node: str | None = None) -> Child:
    """`runtime`: with the image; `node`: where it must run, because the volume can be used on one node alone."""
    spec, queue = deployment.spec, deployment.spec.pod.queue_name
    return child(
        JOB,
        deployment,
        name=name,
        labels={names.COMPONENT_LABEL: names.INSPECTION, **({QUEUE_LABEL: queue} if queue else {})},
        spec={
            "backoffLimit": 0,
            "podFailurePolicy": EVICTED_IS_NO_TRY,
            "activeDeadlineSeconds": ENDS_ALONE_AFTER,
            "ttlSecondsAfterFinished": STAYS_FOR,
            "template": {"metadata": _pods_metadata(deployment), "spec": _pod(spec, runtime, node)},
        },
    )


def _pods_metadata(deployment: LLMDeployment) -> Object:
    """None of the spec's labels and annotations: others find replicas by them, or add containers to those."""
    own = {
        names.OWNER_LABEL: names.label_of_inspection(deployment.metadata.name),
        names.MANAGED_BY_LABEL: names.MANAGED_BY,
        names.COMPONENT_LABEL: names.INSPECTION,
    }
    return {"labels": {**NO_SIDECARS, **own}, "annotations": {**NO_SIDECARS, "linkerd.io/inject": "disabled"}}


def _pod(spec: LLMDeploymentSpec, runtime: Object, node: str | None) -> Object:
    mounted = MOUNTS[spec.model.uri.partition("://")[0]](spec.model.uri.partition("://")[2])
    secrets = [*(runtime["spec"].get("imagePullSecrets") or []), *image_pull_secrets(spec)]
    return {
        "restartPolicy": "Never",
        "serviceAccountName": SERVICE_ACCOUNT_NAME,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 5,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        **({"imagePullSecrets": secrets} if secrets else {}),
        **_place(spec, node),
        "containers": [_container(runtime, mounted.path)],
        "volumes": [{"name": VOLUME, **mounted.volume}],
    }


def _container(runtime: Object, path: str) -> Object:
    image = engine_container(runtime)
    user: Object = image.get("securityContext") or {}
    return {
        "name": CONTAINER,
        **{name: image[name] for name in OF_IMAGE if name in image},
        "args": ["inspect", path, f"--report={TERMINATION_LOG}"],
        "resources": RESOURCES,
        "terminationMessagePath": TERMINATION_LOG,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {**{name: user[name] for name in OF_USER if name in user}, **RESTRICTED},
        "volumeMounts": [{"name": VOLUME, "mountPath": MODEL_FOLDER, "readOnly": True}],
    }


def _place(spec: LLMDeploymentSpec, node: str | None) -> Object:
    """Anywhere that the spec allows, on CPUs; or next to a replica, whatever the taints of its node."""
    if node is None:
        tolerations = [each.model_dump(by_alias=True, exclude_none=True) for each in spec.pod.tolerations]
        wanted = {"nodeSelector": dict(spec.pod.node_selector), "tolerations": tolerations}
        return {name: value for name, value in wanted.items() if value}
    field = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [field]}}
    return {
        "affinity": {"nodeAffinity": required},
        "tolerations": [{"operator": "Exists", "effect": "NoSchedule"}],
    }
