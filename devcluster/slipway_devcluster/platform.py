"""KServe, KEDA and DNS as upstream's manifests describe them, and the few changes that a devcluster makes to them.

`rendered` reads the manifests once per version and keeps them as JSON in the cache; `adapt` is pure; `install` applies.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import time
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from slipway_devcluster.builds import Build
from slipway_devcluster.errors import Refusal
from slipway_devcluster.paths import Cache
from slipway_devcluster.pki import Authority, Certificate

Object = dict[str, Any]
MANIFESTS = Path(__file__).parent / "manifests"
RENDERING = "1"  # raised when `rendered` renders differently
KEDA_TAG = "2.21.0"

# How a devcluster configures KServe: no Knative, no Istio, no ingress controller.
KSERVE_VALUES = (
    "kserve.controller.deploymentMode=Standard",
    "kserve.controller.gateway.disableIstioVirtualHost=true",
    "kserve.controller.gateway.disableIngressCreation=true",
)
# Parts of KServe's CRDs that belong to controllers which do not run here.
KSERVE_CRDS_LEFT_OUT = ("llmisvc", "localmodel")


@dataclass(frozen=True)
class WebhookCertificates:
    """The certificates that cert-manager, or KEDA's own rotation, would otherwise create."""

    authority: bytes
    kserve: Certificate
    keda: Certificate


def issue_certificates(authority: Authority) -> WebhookCertificates:
    keda_services = ("keda-operator", "keda-metrics-apiserver", "keda-admission-webhooks")
    keda_hosts = [f"{name}.keda.svc{suffix}" for name in keda_services for suffix in ("", ".cluster.local")]
    return WebhookCertificates(
        authority=authority.own.certificate,
        kserve=authority.issue("kserve-webhook-server-service", hosts=["kserve-webhook-server-service.kserve.svc"]),
        keda=authority.issue("keda", hosts=keda_hosts),
    )


# --- reading upstream's manifests ------------------------------------------------------------------------------------


def rendered(builds: Mapping[str, Build], cache: Cache) -> list[Object]:
    """Every object of KServe and KEDA, unchanged; their 5 MB of YAML are parsed only once."""
    kserve, keda = builds["kserve"], builds["keda"]
    stamp = hashlib.sha256(f"{RENDERING} {kserve.folder.name} {keda.folder.name} {KSERVE_VALUES}".encode()).hexdigest()
    kept = cache.root / "manifests" / f"platform-{stamp[:12]}.json"
    if not kept.exists():
        kubectl, helm = builds["kubernetes"].binary("kubectl"), builds["helm"].binary("helm")
        kept.parent.mkdir(parents=True, exist_ok=True)
        partial = kept.with_name(f"{kept.name}.{os.getpid()}")
        partial.write_text(json.dumps([*kserve_objects(kserve, helm), *keda_objects(keda, kubectl)]))
        partial.replace(kept)
    objects: list[Object] = json.loads(kept.read_text())
    return objects


def dns() -> list[Object]:
    return documents((MANIFESTS / "coredns.yaml").read_text())


def kserve_objects(build: Build, helm: Path) -> list[Object]:
    """Of KServe alone, unchanged."""
    chart = build.source / "charts/kserve-resources"
    values = [argument for value in KSERVE_VALUES for argument in ("--set", value)]
    objects = documents(_output([helm, "template", "kserve", chart, "--namespace", "kserve", *values]))
    crds = (path for path in (build.source / "config/crd/full").rglob("*.yaml") if path.name != "kustomization.yaml")
    wanted = (path for path in crds if path.parent.name not in KSERVE_CRDS_LEFT_OUT)
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kserve"}}
    return [namespace, *(crd for path in sorted(wanted) for crd in documents(path.read_text())), *objects]


def keda_objects(build: Build, kubectl: Path) -> list[Object]:
    """Of KEDA alone, unchanged."""
    return documents(_output([kubectl, "kustomize", build.source / "config/default"]))


def documents(text: str) -> list[Object]:
    """The objects in a string of YAML."""
    return [document for document in yaml.load_all(text, Loader=yaml.CSafeLoader) if document]


def _output(command: list[str | Path]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Refusal(f"`{' '.join(map(str, command))}` failed: {done.stderr.strip()}")
    return done.stdout


# --- what a devcluster changes ---------------------------------------------------------------------------------------


def adapt(objects: Iterable[Object], certificates: WebhookCertificates) -> list[Object]:
    """Upstream's objects with our certificates in place of cert-manager's, and quick probes. Changes its argument."""
    kept = [thing for thing in objects if thing["apiVersion"].split("/")[0] != "cert-manager.io"]
    for thing in kept:
        if change := _CHANGES.get(thing["kind"]):
            change(thing, certificates)
    return [
        *_certificate_secrets(certificates),
        *kept,
    ]  # first, because a pod that waits for its Secret retries only after seconds


def _trust_webhooks(thing: Object, certificates: WebhookCertificates) -> None:
    for webhook in thing["webhooks"]:
        webhook["clientConfig"]["caBundle"] = b64encode(certificates.authority).decode()


def _trust_api_service(thing: Object, certificates: WebhookCertificates) -> None:
    thing["spec"]["caBundle"] = b64encode(certificates.authority).decode()


def adjust_deployment(thing: Object) -> None:
    """Adapt a Deployment that upstream wrote for larger machines to two cores. Changes its argument."""
    pod = thing["spec"]["template"]["spec"]
    # It authenticates clients of /metrics: one more program to build, which nothing here needs.
    pod["containers"] = [container for container in pod["containers"] if container["name"] != "kube-rbac-proxy"]
    for container in pod["containers"]:
        _use_fixed_image(container)
        container["args"] = [_ARGUMENTS.get(argument, argument) for argument in container.get("args", [])]
        container["args"] += _ADDED_ARGUMENTS.get(container["name"], [])
        # With upstream's CPU limits, a start on two cores is throttled and takes half a minute.
        container.get("resources", {}).get("limits", {}).pop("cpu", None)
        container.get("resources", {}).get("requests", {}).pop("cpu", None)
        if "readinessProbe" in container:
            container["readinessProbe"] |= {"initialDelaySeconds": 0, "periodSeconds": 1}


# KEDA's certificates come from devcluster, so it must neither rotate them nor wait for the rotation.
_ARGUMENTS = {"--enable-cert-rotation=true": "--enable-cert-rotation=false"}
_ADDED_ARGUMENTS = {"keda-operator": ["--enable-webhook-patching=false", "--enable-apiservice-patching=false"]}
_CHANGES: Mapping[str, Callable[[Object, WebhookCertificates], None]] = {
    "Deployment": lambda thing, _: adjust_deployment(thing),
    "APIService": _trust_api_service,
    "MutatingWebhookConfiguration": _trust_webhooks,
    "ValidatingWebhookConfiguration": _trust_webhooks,
}


def _use_fixed_image(container: Object) -> None:
    """Use the image in the node, and the built version: KEDA's manifests name the image of its main branch."""
    container["imagePullPolicy"] = "IfNotPresent"
    if container["image"].startswith("ghcr.io/kedacore/"):
        container["image"] = container["image"].rpartition(":")[0] + f":{KEDA_TAG}"


def _certificate_secrets(certificates: WebhookCertificates) -> list[Object]:
    return [
        _secret("kserve", "kserve-webhook-server-cert", certificates.kserve, certificates.authority),
        _secret("keda", "kedaorg-certs", certificates.keda, certificates.authority),
    ]


def _secret(namespace: str, name: str, certificate: Certificate, authority: bytes) -> Object:
    files = {"tls.crt": certificate.certificate, "tls.key": certificate.key, "ca.crt": authority}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "type": "kubernetes.io/tls",
        "data": {file: b64encode(content).decode() for file, content in files.items()},
    }


# --- applying --------------------------------------------------------------------------------------------------------

Kubectl = Callable[[list[str], bytes | None], str]
"""Runs kubectl on the cluster, with the given standard input."""
FOUNDATIONS = ("Namespace", "CustomResourceDefinition")
ROLLOUTS = {
    "kserve": ["kserve-controller-manager"],
    "keda": ["keda-operator", "keda-metrics-apiserver", "keda-admission"],
}


def install(objects: list[Object], kubectl: Kubectl) -> None:
    """Apply everything; safe to repeat. CRDs are first: a controller that starts without its CRDs exits."""
    foundations = [thing for thing in objects if thing["kind"] in FOUNDATIONS]
    _apply(foundations, kubectl)
    wait_until_served([thing["metadata"]["name"] for thing in foundations if thing["kind"] != "Namespace"], kubectl)
    _apply([thing for thing in objects if thing["kind"] not in FOUNDATIONS], kubectl)


def wait_until_available(kubectl: Kubectl, *, timeout: int) -> None:
    """Wait until every controller is ready, its API responds, and the API server reaches KServe's webhooks."""
    for namespace, names in ROLLOUTS.items():
        deployments = [f"deployment/{name}" for name in names]
        kubectl(["wait", "-n", namespace, "--for=condition=Available", f"--timeout={timeout}s", *deployments], None)
    external_metrics = "apiservice/v1beta1.external.metrics.k8s.io"
    kubectl(["wait", "--for=condition=Available", f"--timeout={timeout}s", external_metrics], None)
    _wait_for_webhooks(kubectl, timeout=timeout)


def _wait_for_webhooks(kubectl: Kubectl, *, timeout: int) -> None:
    """Retry until a webhook responds: kube-proxy adds a pod to its Service a moment after the pod is ready."""
    model = {"modelFormat": {"name": "probe"}, "storageUri": "pvc://probe/"}
    probe = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "probe", "namespace": "default"},
        "spec": {"predictor": {"model": model}},
    }
    deadline = time.monotonic() + timeout
    while True:
        try:
            kubectl(["create", "--dry-run=server", "--validate=false", "-f", "-"], json.dumps(probe).encode())
            return
        except Refusal as refusal:
            if "failed calling webhook" not in str(refusal) or time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def wait_until_served(definitions: list[str], kubectl: Kubectl, *, timeout: float = 60.0) -> None:
    # Not `kubectl wait`, which fails on a definition that has no conditions yet.
    deadline = time.monotonic() + timeout
    while unserved := _unserved(json.loads(kubectl(["get", "crd", *definitions, "-o", "json"], None))["items"]):
        if time.monotonic() > deadline:
            raise Refusal(f"the API server does not serve {', '.join(unserved)} after {timeout:.0f} s")
        time.sleep(0.1)


def _unserved(definitions: list[Object]) -> list[str]:
    def conditions(definition: Object) -> list[Object]:
        return definition.get("status", {}).get("conditions") or []

    established = {"type": "Established", "status": "True"}
    return [
        definition["metadata"]["name"]
        for definition in definitions
        if not any(established.items() <= condition.items() for condition in conditions(definition))
    ]


def _apply(objects: list[Object], kubectl: Kubectl) -> None:
    # kubectl's own schema check would fetch megabytes for every call, and the API server validates anyway.
    command = ["apply", "--server-side", "--force-conflicts", "--validate=false", "-f", "-"]
    listed = {"apiVersion": "v1", "kind": "List", "items": objects}
    kubectl(command, json.dumps(listed).encode())
