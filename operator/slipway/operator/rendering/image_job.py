"""The Job that makes an image of a model's files: it fetches them as the model's pods would, and pushes the volume.

Its init containers are those of the InferenceService, so that the image has exactly the folders that the pods look for.
It needs no accelerator, isn't a replica (the owner label has another value), and may do nothing in the cluster.
"""

from __future__ import annotations

import hashlib
import json

from slipway.api import names
from slipway.api.llmdeployment import LLMDeployment, LLMDeploymentSpec
from slipway.contract.pod import PUSH_FOLDER
from slipway.objects.kinds import Object
from slipway.observing.fetching import VOLUME
from slipway.observing.image_push import LONGEST_OF_WEIGHTS
from slipway.operator.installation import Fetcher
from slipway.operator.rendering import weights
from slipway.operator.rendering.compile_job import PUSH_VOLUME
from slipway.operator.rendering.desired import Child
from slipway.operator.rendering.inspection import SERVICE_ACCOUNT_NAME
from slipway.operator.rendering.job_parts import JobNames, anywhere, job, metadata_of_pods
from slipway.operator.rendering.weights_store import fetchers_in, keys_in, without_weights_store

CONTAINER, CHECK = "push", "check-registry"
COMMAND = ["/usr/bin/env", "--block-signal=TERM,INT", "/opt/slipway/venv/bin/slipway-push"]
"""As the image starts slipway-fetch."""
ENDS_ALONE_AFTER = LONGEST_OF_WEIGHTS.seconds + 300  # if no operator has ended it
NAMES = JobNames("image")
job_name, is_job_name = NAMES.of_try, NAMES.is_one
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


def image_job(
    deployment: LLMDeployment, inference_service: Object, fetcher: Fetcher, *, name: str, identity: str
) -> Child:
    return job(
        deployment,
        name=name,
        component=names.IMAGING,
        ends_alone_after=ENDS_ALONE_AFTER,
        pods_metadata=metadata_of_pods(names.label_of_imaging(deployment.metadata.name), names.IMAGING),
        pod=_pod(deployment, inference_service, fetcher, identity),
    )


def account_of(spec: LLMDeploymentSpec) -> str:
    """The model's own where it has one, since its identity may be what a source accepts; its token isn't mounted."""
    return spec.pod.service_account_name or SERVICE_ACCOUNT_NAME


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
        **anywhere(spec),
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
