"""The Job that reads the headers of a model's files, where the planner doesn't know the model.

Its pod isn't a replica: it has the owner label with another value, so that no Service, policy or program takes it for
one. It can do nothing but read the model: no token, no rights, nothing to write to. How a source is mounted is in
`MOUNTS`; a scheme that isn't there can't be read by a Job.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from slipway.api import names
from slipway.api.llmdeployment import LLMDeployment, LLMDeploymentSpec
from slipway.contract.pod import MODEL_FOLDER, TERMINATION_LOG
from slipway.objects.kinds import Object
from slipway.observing.inspection import CONTAINER, LONGEST
from slipway.observing.inspection_record import Source
from slipway.operator.rendering.desired import Child
from slipway.operator.rendering.job_parts import JobNames, anywhere, job, metadata_of_pods
from slipway.operator.rendering.runtimes import engine_container
from slipway.operator.rendering.storage import image_pull_secrets

SERVICE_ACCOUNT_NAME = "slipway-inspect"  # without any rights
VOLUME = "model"
NAMES = JobNames("inspect")
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
    metadata = deployment.metadata
    return NAMES.name(metadata.name, [metadata.name, metadata.uid, source.digest, source.sync, attempt])


is_job_name = NAMES.is_one


def inspection_job(deployment: LLMDeployment, runtime: Object, *, name: str, node: str | None = None) -> Child:
    """`runtime`: with the image; `node`: where it must run, because the volume can be used on one node alone."""
    owner = names.label_of_inspection(deployment.metadata.name)
    return job(
        deployment,
        name=name,
        component=names.INSPECTION,
        ends_alone_after=ENDS_ALONE_AFTER,
        pods_metadata=metadata_of_pods(owner, names.INSPECTION),
        pod=_pod(deployment.spec, runtime, node),
    )


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
        return anywhere(spec)
    field = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [field]}}
    return {
        "affinity": {"nodeAffinity": required},
        "tolerations": [{"operator": "Exists", "effect": "NoSchedule"}],
    }
