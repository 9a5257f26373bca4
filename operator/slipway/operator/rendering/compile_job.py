"""The Job that compiles for an image: the pod that KServe makes for the model, which compiles, pushes and ends.

It is made from the template of KServe's own Deployment, so that it compiles exactly what a replica would: on the same
accelerator, with the same image, files, flags and variables. It isn't a replica: it has the owner label with another
value, none of the user's labels, no probes, and listens on the loopback address alone.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from typing import Any

from slipway.api import names
from slipway.api.llmdeployment import LLMDeployment
from slipway.contract.engines import ENGINES
from slipway.contract.pod import COMPILED_FOLDER, PUSH_FOLDER, TERMINATION_LOG
from slipway.objects.kinds import Object
from slipway.observing.cache_claim import VOLUME
from slipway.observing.image_push import LONGEST
from slipway.operator.rendering.compiled_store import without_store_options
from slipway.operator.rendering.desired import Child
from slipway.operator.rendering.job_parts import JobNames, job, metadata_of_pods
from slipway.operator.rendering.runtimes import CONTAINER

ENDS_ALONE_AFTER = LONGEST.seconds + 300  # if no operator has ended it
NAMES = JobNames("compile")
job_name, is_job_name = NAMES.of_try, NAMES.is_one
PUSH_VOLUME = "slipway-push"
SERVES, WARMS = "serve", "warm"
KSERVE = "serving.kserve.io/"
OF_KSERVE = f"{KSERVE}inferenceservice"  # the label by which KServe's webhook recognises pods whose model it fetches
IDENTITY_LABEL = "azure.workload.identity/use"  # by which a model may be fetched
ANNOTATIONS = re.compile(rf"(internal\.)?{re.escape(KSERVE)}.+")  # where the model comes from
OF_REPLICAS = ("livenessProbe", "readinessProbe", "startupProbe", "lifecycle", "ports")
OF_DEPLOYMENTS = ("restartPolicy", "terminationGracePeriodSeconds", "readinessGates")


def identity_of(deployment: LLMDeployment, pods: str) -> str:
    """What an image is for: `pods` is the digest of what pods are made of."""
    metadata, repository = deployment.metadata, deployment.spec.engine.compile_cache.repository
    what = json.dumps([metadata.namespace, metadata.uid, repository, pods])
    return hashlib.sha256(what.encode()).hexdigest()[:16]


def is_made_of(template: Object, inference_service: Object) -> bool:
    """Whether KServe has made the template from this InferenceService already, and not from an earlier one."""
    predictor = inference_service["spec"]["predictor"]
    wanted = without_store_options((predictor.get("model") or {}).get("args") or [])
    found = without_store_options(_engine(template).get("args") or [])
    notes = (template.get("metadata") or {}).get("annotations") or {}
    plan = (predictor.get("annotations") or {}).get(names.PLAN_ANNOTATION)
    return notes.get(names.PLAN_ANNOTATION) == plan and found[len(found) - len(wanted) :] == wanted


def compile_job(deployment: LLMDeployment, template: Object, *, name: str, identity: str) -> Child:
    """`template`: of the pods of KServe's Deployment."""
    return job(
        deployment,
        name=name,
        component=names.COMPILATION,
        ends_alone_after=ENDS_ALONE_AFTER,
        pods_metadata=_metadata(deployment, template),
        pod=_pod(deployment, template, identity),
    )


def _metadata(deployment: LLMDeployment, template: Object) -> Object:
    """With what KServe's webhook, and the sources of models, need."""
    metadata = template.get("metadata") or {}
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    kept = {label: labels[label] for label in (OF_KSERVE, IDENTITY_LABEL) if label in labels}
    notes = {name: value for name, value in annotations.items() if ANNOTATIONS.fullmatch(name)}
    ours = metadata_of_pods(names.label_of_compilation(deployment.metadata.name), names.COMPILATION)
    return {"labels": {**kept, **ours["labels"]}, "annotations": {**notes, **ours["annotations"]}}


def _pod(deployment: LLMDeployment, template: Object, identity: str) -> Object:
    spec: Object = template["spec"]
    secret = deployment.spec.engine.compile_cache.push_secret
    volumes = [*_but(spec.get("volumes"), VOLUME, PUSH_VOLUME), {"name": VOLUME, "emptyDir": {}}]
    if secret:
        volumes.append({"name": PUSH_VOLUME, "secret": {"secretName": secret}})
    return {
        **{name: value for name, value in spec.items() if name not in OF_DEPLOYMENTS},
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 5,
        "enableServiceLinks": False,
        "containers": [_container(deployment, _engine(template), identity)],
        "volumes": volumes,
    }


def _container(deployment: LLMDeployment, engine: Object, identity: str) -> Object:
    mounts = [*_but(engine.get("volumeMounts"), VOLUME, PUSH_VOLUME), {"name": VOLUME, "mountPath": COMPILED_FOLDER}]
    if deployment.spec.engine.compile_cache.push_secret:
        mounts.append({"name": PUSH_VOLUME, "mountPath": PUSH_FOLDER, "readOnly": True})
    return {
        **{name: value for name, value in engine.items() if name not in OF_REPLICAS},
        "args": _arguments(deployment, engine.get("args") or [], identity),
        "terminationMessagePath": TERMINATION_LOG,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts,
    }


def _arguments(deployment: LLMDeployment, found: list[str], identity: str) -> list[str]:
    """Ours come last before the engine's own flags, so that they count."""
    asked, option = deployment.spec.engine.compile_cache, ENGINES[deployment.spec.engine.name].compile_cache
    end = found.index("--") if "--" in found else len(found)
    ours = without_store_options(found[:end])
    command = [WARMS if number == ours.index(SERVES) else each for number, each in enumerate(ours)]
    target = f"{asked.repository}:{deployment.metadata.name}-{identity}"
    secret = [f"--push-secret={PUSH_FOLDER}"] if asked.push_secret else []
    return [*command, "--host=127.0.0.1", f"{option}={COMPILED_FOLDER}", f"--push={target}", *secret, *found[end:]]


def _engine(template: Object) -> Object:
    containers: list[Object] = template["spec"].get("containers") or []
    return next((each for each in containers if each.get("name") == CONTAINER), {})


def _but(found: Iterable[Any] | None, *others: str) -> list[Any]:
    return [each for each in found or () if each.get("name") not in others]
