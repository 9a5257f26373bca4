"""The objects that Slipway is compared with: the same pod in a plain Deployment, behind KEDA's HTTP add-on. Pure.

Routes and triggers are as the add-on's documentation and its own tests write them.
"""

from __future__ import annotations

from typing import Any

from slipway_devcluster import http_add_on

Object = dict[str, Any]
Labels = dict[str, str]

COOLDOWN = 10  # seconds, as Slipway's idleAfter here; KEDA's own default is 300
POLLING = 5  # seconds, as in Slipway's ScaledObject; KEDA's own default is 30. It has no part in a wake
OWN_LABELS = {"app": "plain"}
SET_BY_THE_CLUSTER = ("nodeName", "priority", "preemptionPolicy", "serviceAccount", "serviceAccountName", "tolerations")


def plain_deployment(name: str, namespace: str, pod: Object) -> Object:
    """A Deployment at zero whose pods are like `pod`: image, arguments, resources, probes and volumes."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": OWN_LABELS},
            "template": {"metadata": {"labels": OWN_LABELS}, "spec": _as_written(pod["spec"])},
        },
    }


def _as_written(spec: Object) -> Object:
    """The spec without the fields that admission and the scheduler have added."""
    kept = {name: value for name, value in spec.items() if name not in SET_BY_THE_CLUSTER}
    kept["volumes"] = [each for each in spec.get("volumes", []) if not _is_token(each)]
    for group in ("initContainers", "containers"):
        if group in spec:
            kept[group] = [_without_token(each) for each in spec[group]]
    return kept


def _without_token(container: Object) -> Object:
    return {**container, "volumeMounts": [each for each in container.get("volumeMounts", []) if not _is_token(each)]}


def _is_token(thing: Object) -> bool:
    return bool(thing["name"].startswith("kube-api-access-"))


def service(name: str, namespace: str, selector: Labels, *, port: int) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": selector, "ports": [{"name": "http", "port": 80, "targetPort": port}]},
    }


def route(name: str, namespace: str, *, host: str, at_once: int) -> Object:
    """A route to the Service of that name, whose replicas take `at_once` simultaneous requests each."""
    return {
        "apiVersion": "http.keda.sh/v1beta1",
        "kind": "InterceptorRoute",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "target": {"service": name, "port": 80},
            "rules": [{"hosts": [host]}],
            "scalingMetric": {"concurrency": {"targetValue": at_once}},
        },
    }


def scaled_object(name: str, namespace: str) -> Object:
    """Scales the Deployment of that name between 0 and 1 by the requests of the route of that name."""
    trigger = {"scalerAddress": http_add_on.SCALER, "interceptorRoute": name}
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "scaleTargetRef": {"name": name},
            "minReplicaCount": 0,
            "maxReplicaCount": 1,
            "cooldownPeriod": COOLDOWN,
            "pollingInterval": POLLING,
            "triggers": [{"type": "external-push", "metadata": trigger}],
        },
    }
