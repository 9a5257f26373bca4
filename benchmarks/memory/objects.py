"""All objects of one LLMDeployment at zero as the API server returns them, including their status.

What Slipway applies is rendered by Slipway itself. The rest has the fields that KServe 0.20.0, KEDA 2.21.0 and
Kubernetes 1.34 set, with strings of about their length.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator
from typing import Any

from slipway.objects.kinds import (
    DEPLOYMENT,
    ENDPOINT_SLICE,
    HORIZONTAL_POD_AUTOSCALER,
    INFERENCE_SERVICE,
    LLM_DEPLOYMENT,
    NETWORK_POLICY,
    PERSISTENT_VOLUME_CLAIM,
    POD,
    REPLICA_SET,
    SCALED_OBJECT,
    SERVICE,
    Kind,
    Object,
)

WHEN = "2026-11-21T10:00:00Z"
LONG_AGO = "2026-11-20T10:00:00Z"
versions = itertools.count(1000)


def spec(name: str) -> Object:
    return {
        "model": {"uri": f"pvc://{name}/models/llama-3.1-8b"},
        "engine": {"name": "llamacpp", "contextLength": 4096, "maxConcurrency": 2},
        "scaling": {"minReplicas": 0, "maxReplicas": 3, "idleAfter": "10m"},
        "pod": {"resources": {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"memory": "2Gi"}}},
    }


def metadata(kind: Kind, name: str, namespace: str, **more: Any) -> Object:
    fields: Object = {
        f"f:{field}": {f"f:{part}": {} for part in ("a", "b", "c", "d")} for field in ("spec", "status", "labels")
    }
    managed = [
        {
            "manager": manager,
            "operation": "Apply",
            "apiVersion": kind.api_version,
            "time": WHEN,
            "fieldsType": "FieldsV1",
            "fieldsV1": fields,
        }
        for manager in ("slipway", "manager")
    ]
    return {
        "name": name,
        **({"namespace": namespace} if kind.namespaced else {}),
        "uid": str(uuid.uuid4()),
        "resourceVersion": str(next(versions)),
        "generation": 1,
        "creationTimestamp": LONG_AGO,
        **more,
        "managedFields": managed,
    }


def thing(kind: Kind, name: str, namespace: str, *, meta: Object | None = None, **fields: Any) -> Object:
    return {
        "apiVersion": kind.api_version,
        "kind": kind.name,
        "metadata": metadata(kind, name, namespace, **(meta or {})),
        **fields,
    }


def condition(kind: str, status: str = "True", reason: str = "MinimumReplicasAvailable") -> Object:
    message = "Deployment has minimum availability, as a controller says in a sentence."
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": WHEN,
        "lastUpdateTime": WHEN,
    }


def llmdeployment(name: str, namespace: str) -> Object:
    last_applied = {"kubectl.kubernetes.io/last-applied-configuration": str(spec(name))}
    return thing(LLM_DEPLOYMENT, name, namespace, meta={"annotations": last_applied}, spec=spec(name))


def kept(rendered: Object, namespace: str, *, status: Object | None = None, more: Object | None = None) -> Object:
    """An object of ours, as the API server has it."""
    kind, name = rendered["kind"], rendered["metadata"]["name"]
    known = metadata(Kind(*_group(rendered), kind, ""), name, namespace)
    full = {**rendered, **(more or {}), "metadata": {**known, **rendered["metadata"]}}
    return {
        **full,
        "spec": {**rendered.get("spec", {}), **(more or {}).get("spec", {})},
        **({"status": status} if status else {}),
    }


def _group(rendered: Object) -> tuple[str, str]:
    group, _, version = rendered["apiVersion"].rpartition("/")
    return group, version


INFERENCE_STATUS: Object = {
    "address": {"url": "http://model-000-predictor.models.svc.cluster.local"},
    "url": "http://model-000-predictor.models.svc.cluster.local",
    "clusterServingRuntimeName": "slipway-llamacpp",
    "deploymentMode": "Standard",
    "observedGeneration": 1,
    "components": {"predictor": {"url": "http://model-000-predictor.models.svc.cluster.local"}},
    "conditions": [
        {"type": each, "status": "True", "lastTransitionTime": WHEN}
        for each in ("IngressReady", "PredictorReady", "Ready", "Stopped")
    ],
    "modelStatus": {
        "copies": {"failedCopies": 0, "totalCopies": 0},
        "states": {"activeModelState": "", "targetModelState": "Pending"},
        "transitionStatus": "InProgress",
    },
}
SCALED_STATUS: Object = {
    "conditions": [
        {"type": each, "status": "True", "reason": "ScaledObjectReady", "message": "ScaledObject is defined correctly"}
        for each in ("Ready", "Active", "Fallback", "Paused")
    ],
    "externalMetricNames": ["s0-external-push"],
    "hpaName": "keda-hpa-model-000",
    "originalReplicaCount": 0,
    "scaleTargetGVKR": {"group": "apps", "kind": "Deployment", "resource": "deployments", "version": "v1"},
    "scaleTargetKind": "apps/v1.Deployment",
    "authenticationsTypes": "",
    "triggersTypes": "external-push",
}


def made_by_others(name: str, namespace: str, inference_service: Object) -> Iterator[Object]:
    """By KServe, KEDA and Kubernetes."""
    made = _metadata_of_kserve(name, inference_service)
    yield from _deployment_and_replica_set(name, namespace, made, inference_service)
    slice_labels = {**inference_service["metadata"]["labels"], "kubernetes.io/service-name": name}
    of_slice = {"labels": slice_labels, "ownerReferences": made["ownerReferences"]}
    yield {
        **thing(ENDPOINT_SLICE, f"{name}-7k2qx", namespace, meta=of_slice),
        "addressType": "IPv4",
        "endpoints": [],
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
    }
    yield thing(
        HORIZONTAL_POD_AUTOSCALER,
        f"keda-hpa-{name}",
        namespace,
        meta=made,
        spec={"minReplicas": 1, "maxReplicas": 3, "metrics": [{"type": "External", "external": {"a": {"b": "c"}}}]},
        status={"conditions": [condition("AbleToScale"), condition("ScalingActive")]},
    )
    yield thing(
        PERSISTENT_VOLUME_CLAIM,
        name,
        namespace,
        meta={
            "annotations": {"pv.kubernetes.io/bind-completed": "yes"},
            "finalizers": ["kubernetes.io/pvc-protection"],
        },
        spec={"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "20Gi"}}, "volumeName": "pvc-1"},
        status={"phase": "Bound", "capacity": {"storage": "20Gi"}, "accessModes": ["ReadWriteOnce"]},
    )


def _metadata_of_kserve(name: str, inference_service: Object) -> Object:
    """What KServe copies from an InferenceService to the objects that it makes."""
    labels = {
        **inference_service["metadata"]["labels"],
        "app": f"isvc.{name}-predictor",
        "component": "predictor",
        "serving.kserve.io/inferenceservice": name,
    }
    annotations = {**inference_service["metadata"]["annotations"], "deployment.kubernetes.io/revision": "1"}
    owner = [
        {
            "apiVersion": inference_service["apiVersion"],
            "kind": inference_service["kind"],
            "name": name,
            "uid": inference_service["metadata"]["uid"],
            "controller": True,
            "blockOwnerDeletion": True,
        }
    ]
    return {"labels": labels, "annotations": annotations, "ownerReferences": owner}


def _deployment_and_replica_set(name: str, namespace: str, made: Object, inference_service: Object) -> Iterator[Object]:
    labels = made["labels"]
    containers = [{"name": "kserve-container", **inference_service["spec"]["predictor"]["model"]}]
    template = {
        "metadata": {"labels": labels, "annotations": made["annotations"]},
        "spec": {"containers": containers},
    }
    deployed = {
        "replicas": 0,
        "selector": {"matchLabels": {"app": labels["app"]}},
        "template": template,
        "strategy": {"type": "Recreate"},
        "revisionHistoryLimit": 10,
        "progressDeadlineSeconds": 600,
    }
    state = {"observedGeneration": 2, "conditions": [condition("Available"), condition("Progressing")]}
    yield thing(DEPLOYMENT, f"{name}-predictor", namespace, meta=made, spec=deployed, status=state)
    hashed = {**made, "labels": {**labels, "pod-template-hash": "5d9c6bd9f4"}}
    of_set = {"replicas": 0, "selector": {"matchLabels": hashed["labels"]}, "template": template}
    counted = {"replicas": 0, "observedGeneration": 2}
    yield thing(REPLICA_SET, f"{name}-predictor-5d9c6bd9f4", namespace, meta=hashed, spec=of_set, status=counted)


def pod(name: str, namespace: str, deployment: Object) -> Object:
    """A replica that is ready, with the files of its model fetched before."""
    template = deployment["spec"]["template"]
    labels = {**template["metadata"]["labels"], "pod-template-hash": "5d9c6bd9f4"}
    [container] = template["spec"]["containers"]
    mounts = [{"name": each, "mountPath": f"/mnt/{each}", "readOnly": True} for each in ("models", "token", "shm")]
    env = [{"name": f"SLIPWAY_{number}", "value": "something that is set"} for number in range(12)]
    probe = {"httpGet": {"path": "/readyz", "port": 8081, "scheme": "HTTP"}, "periodSeconds": 5, "timeoutSeconds": 1}
    engine = {**container, "env": env, "volumeMounts": mounts, "readinessProbe": probe, "livenessProbe": probe}
    spec = {
        "nodeName": "node-1",
        "containers": [engine],
        "volumes": [{"name": each, "emptyDir": {}} for each in ("models", "token", "shm")],
        "tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"}] * 2,
    }
    return thing(
        POD,
        f"{name}-predictor-5d9c6bd9f4-x7k2q",
        namespace,
        meta={"labels": labels, "generateName": "a"},
        spec=spec,
        status=_status_when_ready(mounts),
    )


def _status_when_ready(mounts: list[Object]) -> Object:
    return {
        "phase": "Running",
        "podIP": "10.1.2.3",
        "podIPs": [{"ip": "10.1.2.3"}],
        "hostIP": "10.0.0.1",
        "startTime": WHEN,
        "qosClass": "Burstable",
        "conditions": [
            {"type": each, "status": "True", "lastTransitionTime": WHEN, "lastProbeTime": None}
            for each in ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
        ],
        "containerStatuses": [
            {
                "name": "kserve-container",
                "ready": True,
                "started": True,
                "restartCount": 0,
                "state": {"running": {"startedAt": WHEN}},
                "lastState": {},
                "image": "ghcr.io/slipway/llamacpp:0.1.0",
                "imageID": f"ghcr.io/slipway/llamacpp@sha256:{'0a' * 32}",
                "containerID": f"containerd://{'1b' * 32}",
                "volumeMounts": mounts,
            }
        ],
    }


STATUSES: dict[str, Object] = {
    INFERENCE_SERVICE.name: INFERENCE_STATUS,
    SCALED_OBJECT.name: SCALED_STATUS,
    SERVICE.name: {"loadBalancer": {}},
    NETWORK_POLICY.name: {},
}
