"""The Kubernetes objects that tests create, as small as possible."""

from __future__ import annotations

from typing import Any

from slipway.objects.kinds import Kind

Object = dict[str, Any]


PAUSE = "localhost/pause:1"


def pod(name: str, image: str, command: list[str], *, labels: dict[str, str] | None = None, **spec: Any) -> Object:
    """A pod that runs a command once, and exits immediately when it is told to."""
    container: Object = {"name": "main", "image": image, "imagePullPolicy": "IfNotPresent", "command": command}
    container.update(spec.pop("container", {}))
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels or {}},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "containers": [container],
            **spec,
        },
    }


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
    template = pod(name, image, command, labels={"app": name})
    del template["spec"]["restartPolicy"]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": template["spec"]},
        },
    }


def service(name: str, *, selector: dict[str, str], port: int = 80, target_port: int = 8080) -> Object:
    ports = [{"name": "http", "port": port, "targetPort": target_port}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": selector, "ports": ports},
    }


def serving_runtime(image: str) -> Object:
    """A ServingRuntime for GGUF models, with this repository's image of llama.cpp."""
    container = {
        "name": "kserve-container",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": ["serve", "llamacpp", "--model=/mnt/models", "--port=8080"],
        "ports": [{"containerPort": 8080, "protocol": "TCP"}],
        "readinessProbe": {"httpGet": {"path": "/health", "port": 8080}, "periodSeconds": 1, "failureThreshold": 60},
        "resources": {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"memory": "2Gi"}},
    }
    return {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "ServingRuntime",
        "metadata": {"name": "llamacpp"},
        "spec": {"supportedModelFormats": [{"name": "gguf"}], "containers": [container]},
    }


def inference_service(name: str, *, autoscaler_class: str = "external", **predictor: Any) -> Object:
    """An InferenceService for the claim `gemma` and the runtime `llamacpp`, reachable inside the cluster only."""
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            "name": name,
            "labels": {"networking.kserve.io/visibility": "cluster-local"},
            "annotations": {
                "serving.kserve.io/deploymentMode": "Standard",
                "serving.kserve.io/autoscalerClass": autoscaler_class,
            },
        },
        "spec": {
            "predictor": {
                "terminationGracePeriodSeconds": 5,
                "model": {
                    "modelFormat": {"name": "gguf"},
                    "runtime": "llamacpp",
                    "storageUri": "pvc://gemma/",
                    "resources": {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"memory": "2Gi"}},
                },
                **predictor,
            }
        },
    }


def scaled_object(
    name: str, *, target: str, scaler_address: str, max_replicas: int, polling_interval: int = 5
) -> Object:
    """Scales a Deployment between zero and `max_replicas` by an external push scaler; it scales down without a
    cooldown."""
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": name},
        "spec": {
            "scaleTargetRef": {"name": target},
            "minReplicaCount": 0,
            "maxReplicaCount": max_replicas,
            "pollingInterval": polling_interval,
            "cooldownPeriod": 1,
            "triggers": [{"type": "external-push", "metadata": {"scalerAddress": scaler_address}}],
        },
    }


def definition(kind: Kind) -> Object:
    """A CustomResourceDefinition whose objects may have any fields."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{kind.group}"},
        "spec": {
            "group": kind.group,
            "names": {"kind": kind.name, "plural": kind.plural},
            "scope": "Namespaced",
            "versions": [
                {"name": kind.version, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
            ],
        },
    }
