"""The Kubernetes objects that tests create, as small as possible."""

from __future__ import annotations

from typing import Any

from slipway.objects.kinds import Kind

Object = dict[str, Any]


PAUSE = "localhost/pause:1"


def manifest(api_version: str, kind: str, name: str, **fields: Any) -> Object:
    """Any object: `fields` are its other members; those of `metadata` are added to the name."""
    metadata = {"name": name, **fields.pop("metadata", {})}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **fields}


def pod(name: str, image: str, command: list[str], *, labels: dict[str, str] | None = None, **spec: Any) -> Object:
    """A pod that runs a command once, and exits immediately on SIGTERM."""
    container: Object = {"name": "main", "image": image, "imagePullPolicy": "IfNotPresent", "command": command}
    container.update(spec.pop("container", {}))
    runs_once: Object = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 0,
        "automountServiceAccountToken": False,
        "containers": [container],
    }
    return manifest("v1", "Pod", name, metadata={"labels": labels or {}}, spec={**runs_once, **spec})


def python(program: str) -> list[str]:
    """Returns the command that runs a Python program."""
    return ["python3", "-c", program]


WEB_SERVER = python(
    """
import http.server, os
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        text = os.uname().nodename.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
http.server.ThreadingHTTPServer(("", 8080), Answer).serve_forever()
"""
)
"""Responds on port 8080 with the name of its pod."""


def web_server(name: str, image: str, *, labels: dict[str, str]) -> Object:
    readiness = {"readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1}}
    return pod(name, image, WEB_SERVER, labels=labels, container=readiness)


def deployment(name: str, image: str, command: list[str], *, replicas: int) -> Object:
    """A Deployment of the pod above, with the label `app`."""
    spec = pod(name, image, command)["spec"]
    del spec["restartPolicy"]
    return deployment_of(spec, name=name, pod_labels={"app": name}, replicas=replicas)


def deployment_of(pod_spec: Object, *, name: str, pod_labels: dict[str, str], replicas: int, **metadata: Any) -> Object:
    """A Deployment whose pods have this spec and these labels; `metadata` is its own."""
    template = {"metadata": {"labels": pod_labels}, "spec": pod_spec}
    spec = {"replicas": replicas, "selector": {"matchLabels": pod_labels}, "template": template}
    return manifest("apps/v1", "Deployment", name, metadata=metadata, spec=spec)


def service(name: str, *, selector: dict[str, str], port: int = 80, target_port: int = 8080) -> Object:
    ports = [{"name": "http", "port": port, "targetPort": target_port}]
    return manifest("v1", "Service", name, spec={"selector": selector, "ports": ports})


def namespace(name: str, **metadata: Any) -> Object:
    return manifest("v1", "Namespace", name, metadata=metadata)


def claim(name: str, *, storage: str, **spec: Any) -> Object:
    """A PersistentVolumeClaim."""
    needs = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": storage}}}
    return manifest("v1", "PersistentVolumeClaim", name, spec={**needs, **spec})


def kubeconfig(server: str) -> Object:
    """The configuration of a client of an API server without TLS and authentication."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {"server": server}}],
        "users": [{"name": "test", "user": {}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "current-context": "test",
    }


def serving_runtime(name: str, container: Object, **spec: Any) -> Object:
    """A ServingRuntime of a namespace for GGUF models, with this container."""
    formats = [{"name": "gguf"}]
    runtime = {"supportedModelFormats": formats, "containers": [{"name": "kserve-container", **container}], **spec}
    return manifest("serving.kserve.io/v1alpha1", "ServingRuntime", name, spec=runtime)


def llamacpp_runtime(image: str) -> Object:
    """A ServingRuntime with this repository's image of llama.cpp."""
    container = {
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": ["serve", "llamacpp", "--model=/mnt/models", "--port=8080"],
        "ports": [{"containerPort": 8080, "protocol": "TCP"}],
        "readinessProbe": {"httpGet": {"path": "/health", "port": 8080}, "periodSeconds": 1, "failureThreshold": 60},
        "resources": {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"memory": "2Gi"}},
    }
    return serving_runtime("llamacpp", container)


def inference_service(name: str, *, autoscaler_class: str = "external", **predictor: Any) -> Object:
    """An InferenceService for the claim `gemma` and the runtime `llamacpp`, reachable inside the cluster only."""
    metadata = {
        "labels": {"networking.kserve.io/visibility": "cluster-local"},
        "annotations": {
            "serving.kserve.io/deploymentMode": "Standard",
            "serving.kserve.io/autoscalerClass": autoscaler_class,
        },
    }
    model = {
        "modelFormat": {"name": "gguf"},
        "runtime": "llamacpp",
        "storageUri": "pvc://gemma/",
        "resources": {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"memory": "2Gi"}},
    }
    spec = {"predictor": {"terminationGracePeriodSeconds": 5, "model": model, **predictor}}
    return manifest("serving.kserve.io/v1beta1", "InferenceService", name, metadata=metadata, spec=spec)


def scaled_object(
    name: str, *, target: str, scaler_address: str, max_replicas: int, polling_interval: int = 5
) -> Object:
    """Scales a Deployment between zero and `max_replicas` by an external push scaler, with hardly any cooldown."""
    spec = {
        "scaleTargetRef": {"name": target},
        "minReplicaCount": 0,
        "maxReplicaCount": max_replicas,
        "pollingInterval": polling_interval,
        "cooldownPeriod": 1,
        "triggers": [{"type": "external-push", "metadata": {"scalerAddress": scaler_address}}],
    }
    return manifest("keda.sh/v1alpha1", "ScaledObject", name, spec=spec)


def definition(kind: Kind) -> Object:
    """A CustomResourceDefinition whose objects may have any fields."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": kind.version, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    spec = {
        "group": kind.group,
        "names": {"kind": kind.name, "plural": kind.plural},
        "scope": "Namespaced",
        "versions": [version],
    }
    name = f"{kind.plural}.{kind.group}"
    return manifest("apiextensions.k8s.io/v1", "CustomResourceDefinition", name, spec=spec)
