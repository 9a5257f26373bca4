"""The Job that makes an image of a model's files: it fetches them as the model's pods would, and pushes the volume.

Its init containers are those of the InferenceService, so that the image has exactly the folders that the pods look for.
It needs no accelerator, isn't a replica (the owner label has another value), and may do nothing in the cluster.
"""

from __future__ import annotations

import hashlib
import json
import re

from slipway.api import names
from slipway.api.llmdeployment import LLMDeployment, LLMDeploymentSpec
from slipway.contract.pod import PUSH_FOLDER
from slipway.objects.kinds import JOB, Object
from slipway.observing.fetching import VOLUME
from slipway.observing.image_push import LONGEST_OF_WEIGHTS
from slipway.operator.installation import Fetcher
from slipway.operator.rendering import inspection, weights
from slipway.operator.rendering.compile_job import PUSH_VOLUME
from slipway.operator.rendering.desired import Child
from slipway.operator.rendering.inferenceservice import QUEUE_LABEL
from slipway.operator.rendering.metadata import child
from slipway.operator.rendering.weights_store import fetchers_in, keys_in, without_weights_store

CONTAINER, CHECK = "push", "check-registry"
COMMAND = ["/usr/bin/env", "--block-signal=TERM,INT", "/opt/slipway/venv/bin/slipway-push"]
"""As the image starts slipway-fetch."""
ENDS_ALONE_AFTER = LONGEST_OF_WEIGHTS.seconds + 300  # if no operator has ended it
LONGEST_OF_NAME = 47  # characters of the model's name in that of a Job, whose pods get a label with 63
OWNER_OF_VOLUMES: Object = {"fsGroup": 65532, "fsGroupChangePolicy": "OnRootMismatch"}
"""The user of the fetcher's image: the file systems of most volumes belong to root."""


def identity_of(deployment: LLMDeployment, inference_service: Object) -> str:
    """What an image is for: the folders that the pods of this InferenceService look for. Empty: they fetch nothing."""
    folders = sorted(keys_in(inference_service))
    if not folders:
        return ""
    metadata = deployment.metadata
    what = json.dumps([metadata.namespace, metadata.uid, deployment.spec.model.cache.repository, folders])
    return hashlib.sha256(what.encode()).hexdigest()[:16]


def job_name(deployment: LLMDeployment, identity: str, attempt: int) -> str:
    """The same for the same try, as for inspections."""
    what = json.dumps([deployment.metadata.uid, identity, attempt])
    return _prefix(deployment.metadata.name) + hashlib.sha256(what.encode()).hexdigest()[:8]


def is_job_name(text: str, name: str) -> bool:
    """Whether a Job for the LLMDeployment `name` may have the name `text`."""
    return text.startswith(_prefix(name)) and bool(re.fullmatch("[0-9a-f]{8}", text.removeprefix(_prefix(name))))


def _prefix(name: str) -> str:
    return f"{name[:LONGEST_OF_NAME]}-image-"


def image_job(
    deployment: LLMDeployment, inference_service: Object, fetcher: Fetcher, *, name: str, identity: str
) -> Child:
    queue = deployment.spec.pod.queue_name
    return child(
        JOB,
        deployment,
        name=name,
        labels={names.COMPONENT_LABEL: names.IMAGING, **({QUEUE_LABEL: queue} if queue else {})},
        spec={
            "backoffLimit": 0,
            "podFailurePolicy": inspection.EVICTED_IS_NO_TRY,
            "activeDeadlineSeconds": ENDS_ALONE_AFTER,
            "ttlSecondsAfterFinished": inspection.STAYS_FOR,
            "template": {
                "metadata": _pods_metadata(deployment),
                "spec": _pod(deployment, inference_service, fetcher, identity),
            },
        },
    )


def account_of(spec: LLMDeploymentSpec) -> str:
    """The model's own where it has one, since its identity may be what a source accepts; its token isn't mounted."""
    return spec.pod.service_account_name or inspection.SERVICE_ACCOUNT_NAME


def _pods_metadata(deployment: LLMDeployment) -> Object:
    own = {
        names.OWNER_LABEL: names.label_of_imaging(deployment.metadata.name),
        names.MANAGED_BY_LABEL: names.MANAGED_BY,
        names.COMPONENT_LABEL: names.IMAGING,
    }
    no_sidecars = inspection.NO_SIDECARS
    return {"labels": {**no_sidecars, **own}, "annotations": {**no_sidecars, "linkerd.io/inject": "disabled"}}


def _pod(deployment: LLMDeployment, inference_service: Object, fetcher: Fetcher, identity: str) -> Object:
    spec, predictor = deployment.spec, without_weights_store(inference_service)["spec"]["predictor"]
    cache = spec.model.cache
    target = f"{cache.repository}:{deployment.metadata.name}-{identity}"
    volumes = [each for each in predictor["volumes"] if each["name"] == weights.CREDENTIALS_VOLUME]
    if cache.push_secret:
        volumes.append({"name": PUSH_VOLUME, "secret": {"secretName": cache.push_secret}})
    secrets = predictor.get("imagePullSecrets")
    return {
        "restartPolicy": "Never",
        "serviceAccountName": account_of(spec),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 5,
        "securityContext": {
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
            **(OWNER_OF_VOLUMES if cache.size else {}),
        },
        **({"imagePullSecrets": secrets} if secrets else {}),
        **_place(spec),
        "initContainers": [_pushing(CHECK, fetcher, spec, target), *fetchers_in(predictor)],
        "containers": [_pushing(CONTAINER, fetcher, spec, target, weights.FOLDER, "--volume")],
        "volumes": [{"name": VOLUME, **_room(spec)}, *volumes],
    }


def _pushing(name: str, fetcher: Fetcher, spec: LLMDeploymentSpec, target: str, *arguments: str) -> Object:
    """Without a folder, it finds out whether it may push, before anything is fetched."""
    mounts: list[Object] = [{"name": VOLUME, "mountPath": weights.FOLDER, "readOnly": True}]
    credentials = []
    if spec.model.cache.push_secret:
        mounts.append({"name": PUSH_VOLUME, "mountPath": PUSH_FOLDER, "readOnly": True})
        credentials.append(f"--credentials={PUSH_FOLDER}")
    return {
        "name": name,
        "image": fetcher.image,
        "imagePullPolicy": fetcher.pull_policy,
        "command": COMMAND,
        "args": [target, *arguments, *credentials],
        "resources": weights.RESOURCES,
        "securityContext": weights.RESTRICTED,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts,
    }


def _room(spec: LLMDeploymentSpec) -> Object:
    """For the files, until they are pushed: the node's own disk, or a volume that ends with the pod."""
    cache = spec.model.cache
    if not cache.size:
        return {"emptyDir": {}}
    of_class = {"storageClassName": cache.storage_class_name} if cache.storage_class_name else {}
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": cache.size}}, **of_class}
    return {"ephemeral": {"volumeClaimTemplate": {"spec": claim}}}


def _place(spec: LLMDeploymentSpec) -> Object:
    """Anywhere that the spec allows."""
    tolerations = [each.model_dump(by_alias=True, exclude_none=True) for each in spec.pod.tolerations]
    wanted = {"nodeSelector": dict(spec.pod.node_selector), "tolerations": tolerations}
    return {name: value for name, value in wanted.items() if value}
