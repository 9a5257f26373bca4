"""How much of an object is stored: the fields that a program reads, bounded in size. Pure.

Any tenant that may create pods, Services or EndpointSlices in its namespace may make them as large as the API server
accepts (1.5 MB), and label them as ours.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from slipway.api.engine_notes import OF_METRICS
from slipway.api.names import KIND, MANAGED_BY_LABEL, OWNER_LABEL, PLAN_ANNOTATION, SERVICE_LABEL
from slipway.contract.pod import READY_PATH, RUNTIME_PORT
from slipway.objects.kinds import Object
from slipway.observing.versions import TEMPLATE_HASH

LONGEST_TEXT = 4096  # the kubelet's own limit of a termination message
MOST_ENTRIES = 32  # of each list and each map
MOST_PODS = 1000  # of one deployment, which can't have more replicas; ready ones first, then the newest

FOUND_BY = (OWNER_LABEL, SERVICE_LABEL)  # labels by which caches find what belongs to a model, or to a Service
WHICH = ("name", "namespace", "uid", "resourceVersion")
OF_METADATA = (*WHICH, "creationTimestamp", "deletionTimestamp")
OF_LABELS = (OWNER_LABEL, MANAGED_BY_LABEL, SERVICE_LABEL, TEMPLATE_HASH)
OF_PODS = ("nodeName", "nodeSelector", "affinity", "resourceClaims", "hostNetwork")
OF_ANNOTATIONS = (*OF_METRICS, PLAN_ANNOTATION)  # of pods
OF_CONTAINERS = ("name", "restartPolicy")
OF_POD_STATUS = ("phase", "reason", "message", "podIP", "nominatedNodeName")
OF_CONTAINER_STATUS = ("name", "ready", "started", "restartCount", "containerID", "state", "lastState")
OUR_PROBE = {"httpGet": {"path": READY_PATH, "port": RUNTIME_PORT}}
POD_CONDITIONS = ("PodScheduled", "PodReadyToStartContainers", "Initialized", "Ready", "DisruptionTarget")


def bounded(value: Any) -> Any:
    """The same, with long strings, lists and maps cut."""
    if isinstance(value, str):
        return value[:LONGEST_TEXT]
    if isinstance(value, dict):
        return {name: bounded(each) for name, each in _first(value.items()) if len(name) <= LONGEST_TEXT}
    if isinstance(value, list):
        return [bounded(each) for each in _first(value)]
    return value


def picked(raw: Object, names: Iterable[str]) -> Object:
    """These of its fields that it has."""
    return {name: bounded(raw[name]) for name in names if name in raw}


def named(raw: Object, *more: str) -> Object:
    """Its kind, and the metadata that identify it and its owner, with `more` fields of the metadata."""
    metadata = picked(raw["metadata"], (*OF_METADATA, *more))
    metadata["labels"] = picked(raw["metadata"].get("labels") or {}, OF_LABELS)
    if "ownerReferences" in more:
        metadata["ownerReferences"] = owners(raw)
    return {**picked(raw, ("apiVersion", "kind")), "metadata": metadata}


def owners(raw: Object) -> list[Object]:
    """Its owner references, with its controller and LLMDeployments first."""
    there = raw["metadata"].get("ownerReferences") or []
    in_order = sorted(there, key=lambda each: not (each.get("controller") or each.get("kind") == KIND))
    return [bounded(each) for each in _first(in_order)]


def pod_shown(pod: Object) -> Object:
    """Its status, and little of its spec: what its containers run is KServe's, and larger than everything else."""
    spec = picked(pod["spec"], OF_PODS)
    for which in ("initContainers", "containers"):
        if which in pod["spec"]:
            spec[which] = [_container(each) for each in _first(pod["spec"][which] or [])]
    reported = pod.get("status") or {}
    status = picked(reported, OF_POD_STATUS)
    if "conditions" in reported:
        found = (each for each in reported["conditions"] or [] if each["type"] in POD_CONDITIONS)
        status["conditions"] = [bounded(each) for each in _first(found)]
    for which in ("initContainerStatuses", "containerStatuses"):
        if which in reported:
            status[which] = [picked(each, OF_CONTAINER_STATUS) for each in _first(reported[which] or [])]
    shown = named(pod, "finalizers")
    if notes := picked(pod["metadata"].get("annotations") or {}, OF_ANNOTATIONS):
        shown["metadata"]["annotations"] = notes
    return {**shown, "spec": spec, "status": status}


def _container(container: Object) -> Object:
    limits = (container.get("resources") or {}).get("limits") or {}
    resources = {"resources": {"limits": picked(limits, ["memory"])}} if "memory" in limits else {}
    return {**picked(container, OF_CONTAINERS), **resources, **_readiness(container)}


def _readiness(container: Object) -> Object:
    """The readiness probe, where it isn't our runtime's, with the number of its port; empty if only the kubelet can run
    it."""
    probe = container.get("readinessProbe")
    if not probe:
        return {}
    asked = probe.get("httpGet") or {}
    numbers = {each.get("name"): each.get("containerPort") for each in container.get("ports") or []}
    port = numbers.get(asked.get("port"), asked.get("port"))
    is_special = asked.get("scheme", "HTTP") != "HTTP" or "host" in asked or "httpHeaders" in asked
    is_plain = isinstance(port, int) and not is_special
    kept = {"httpGet": bounded({"path": asked.get("path", "/"), "port": port})} if is_plain else {}
    return {} if kept == OUR_PROBE else {"readinessProbe": kept}


def _first(them: Iterable[Any]) -> Iterable[Any]:
    return (each for _, each in zip(range(MOST_ENTRIES), them, strict=False))
