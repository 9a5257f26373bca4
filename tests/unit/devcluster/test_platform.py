"""Upstream's manifests are unchanged except for certificates, probes and programs that are not built here."""

import json
import re
from base64 import b64decode
from collections.abc import Iterator
from typing import Any

import pytest
from slipway_devcluster import pki, platform
from slipway_devcluster.errors import Refusal
from slipway_devcluster.programs import UPSTREAMS


@pytest.fixture(scope="module")
def certificates() -> platform.WebhookCertificates:
    return platform.issue_certificates(pki.Authority("test"))


def deployment(*containers: dict[str, Any]) -> dict[str, Any]:
    spec = {"template": {"spec": {"containers": list(containers)}}}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": spec}


def container(name: str = "manager", image: str = "kserve/kserve-controller:v0.20.0", **more: Any) -> dict[str, Any]:
    return {"name": name, "image": image, **more}


def adapted_container(certificates: platform.WebhookCertificates, before: dict[str, Any]) -> dict[str, Any]:
    *_, after = platform.adapt([deployment(before)], certificates)
    found: dict[str, Any] = after["spec"]["template"]["spec"]["containers"][0]
    return found


def test_cert_manager_s_objects_are_replaced_by_secrets(certificates: platform.WebhookCertificates) -> None:
    issuer = {"apiVersion": "cert-manager.io/v1", "kind": "Issuer", "metadata": {"name": "i"}}

    kinds = [obj["kind"] for obj in platform.adapt([issuer], certificates)]

    assert kinds == ["Secret", "Secret"]


@pytest.mark.parametrize("kind", ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"])
def test_webhooks_are_trusted_by_our_authority(certificates: platform.WebhookCertificates, kind: str) -> None:
    hooks: list[dict[str, Any]] = [{"clientConfig": {"service": {}}}, {"clientConfig": {"service": {}}}]
    obj = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": "w"},
        "webhooks": hooks,
    }

    platform.adapt([obj], certificates)

    assert all(b64decode(hook["clientConfig"]["caBundle"]) == certificates.authority for hook in hooks)


def test_the_external_metrics_api_is_trusted_by_our_authority(certificates: platform.WebhookCertificates) -> None:
    api: dict[str, Any] = {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": "a"},
        "spec": {},
    }

    platform.adapt([api], certificates)

    assert b64decode(api["spec"]["caBundle"]) == certificates.authority


def test_keda_does_not_rotate_the_certificates_that_we_issue(certificates: platform.WebhookCertificates) -> None:
    keda = container(
        "keda-operator", "ghcr.io/kedacore/keda:main", args=["--leader-elect", "--enable-cert-rotation=true"]
    )

    arguments = adapted_container(certificates, keda)["args"]

    assert "--enable-cert-rotation=false" in arguments
    assert "--enable-cert-rotation=true" not in arguments
    assert "--leader-elect" in arguments


def test_images_have_a_fixed_version_and_are_pulled_only_if_missing(
    certificates: platform.WebhookCertificates,
) -> None:
    after = adapted_container(certificates, container("keda-operator", "ghcr.io/kedacore/keda:main"))

    assert after["image"] == "ghcr.io/kedacore/keda:2.21.0"
    assert after["imagePullPolicy"] == "IfNotPresent"


def test_a_readiness_probe_has_no_initial_delay(certificates: platform.WebhookCertificates) -> None:
    probe = {"httpGet": {"path": "/readyz"}, "initialDelaySeconds": 30, "failureThreshold": 5}

    after = adapted_container(certificates, container(readinessProbe=probe))["readinessProbe"]

    assert after["initialDelaySeconds"] == 0
    assert after["failureThreshold"] == 5


def test_memory_limits_are_kept_and_cpu_limits_removed(certificates: platform.WebhookCertificates) -> None:
    resources = {"limits": {"cpu": "100m", "memory": "300Mi"}, "requests": {"cpu": "100m", "memory": "300Mi"}}

    after = adapted_container(certificates, container(resources=resources))["resources"]

    assert after == {"limits": {"memory": "300Mi"}, "requests": {"memory": "300Mi"}}


def test_the_proxy_for_the_metrics_of_kserve_is_removed(certificates: platform.WebhookCertificates) -> None:
    *_, after = platform.adapt([deployment(container(), container("kube-rbac-proxy", "quay.io/x"))], certificates)

    assert [each["name"] for each in after["spec"]["template"]["spec"]["containers"]] == ["manager"]


def test_crds_are_served_before_anything_that_needs_them_is_applied() -> None:
    established = {"type": "Established", "status": "True"}
    definition = {"kind": "CustomResourceDefinition", "metadata": {"name": "things"}}
    answers: Iterator[dict[str, Any]] = iter(
        [{}, {"status": {"conditions": None}}, {"status": {"conditions": [established]}}]
    )
    calls: list[str] = []

    def kubectl(arguments: list[str], _: bytes | None) -> str:
        calls.append(arguments[0])
        status = next(answers) if arguments[0] == "get" else {}
        return json.dumps({"items": [{"metadata": {"name": "things"}, **status}]})

    platform.install([{"kind": "Deployment", "metadata": {"name": "d"}}, definition], kubectl)

    assert calls == ["apply", "get", "get", "get", "apply"]


def test_a_crd_that_is_never_served_is_named() -> None:
    def kubectl(_: list[str], __: bytes | None) -> str:
        return '{"items": [{"metadata": {"name": "things.example"}}]}'

    with pytest.raises(Refusal, match=r"does not serve things\.example"):
        platform.wait_until_served(["things.example"], kubectl, timeout=0)


def test_the_dns_of_the_cluster_has_the_address_that_the_kubelet_gives_to_pods() -> None:
    service = next(obj for obj in platform.dns() if obj["kind"] == "Service")

    assert service["spec"]["clusterIP"] == "198.19.0.10"


def test_coredns_is_built_with_the_plugins_that_its_corefile_names() -> None:
    corefile = next(obj for obj in platform.dns() if obj["kind"] == "ConfigMap")["data"]["Corefile"]
    named = set(
        re.findall(r"^ {4}([a-z]+)", corefile, re.MULTILINE)
    )  # plugins are indented by one level in a server block
    source = (UPSTREAMS["coredns"].go_folder / "main.go").read_text()
    assert named == set(re.findall(r'_ "github.com/coredns/coredns/plugin/([a-z]+)"', source))
