"""KServe 0.21 knows each field that we write, according to the models of its SDK and of the Kubernetes client."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from slipway.objects.kinds import RESOURCE_CLAIM_TEMPLATE, Object
from slipway.operator.rendering import Desired
from support.builders.plans import KNOWN
from support.builders.rendering import desired as rendered
from support.builders.rendering import of_kind, on_h100, runtime
from support.builders.rendering import rendered as render_plan
from support.builders.sdk_fields import unknown_fields
from support.repository import RUNTIMES, documents

FOLDER = Path(__file__).parent
KSERVE: dict[str, dict[str, str]] = yaml.safe_load((FOLDER / "kserve-0.21.0.yaml").read_text())


def unknown(part: Any, type_: str) -> list[str]:
    return unknown_fields(part, type_, more=KSERVE)


GOLDEN: list[Object] = [
    part
    for file in sorted((FOLDER / "golden").glob("*.out.yaml"))
    for part in yaml.safe_load_all(file.read_text())
    if part["kind"] == "InferenceService"
]
WITH_ALL = on_h100(
    model={"uri": "s3://b/m", "credentialsSecret": "s3"},
    engine={
        "adapters": [{"name": "sql", "uri": "s3://b/sql"}],
        "speculative": {"method": "draft", "tokens": 2, "model": "s3://b/draft"},
        "mediaDomains": ["images.example.com"],
    },
    access={"apiKeysSecret": "keys"},
    observability={"tracing": {"endpoint": "http://otel:4318"}},
    pod={
        "annotations": {"note": "x"},
        "env": [
            {"name": "APP_B", "valueFrom": {"secretKeyRef": {"name": "a", "key": "b", "optional": True}}},
            {"name": "APP_C", "valueFrom": {"configMapKeyRef": {"name": "a", "key": "b"}}},
            {"name": "APP_D", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}},
        ],
        "volumes": [
            {
                "name": "a",
                "configMap": {"name": "a", "items": [{"key": "a", "path": "b", "mode": 292}], "defaultMode": 292},
            },
            {"name": "b", "secret": {"secretName": "a", "optional": True}},
            {"name": "c", "persistentVolumeClaim": {"claimName": "a", "readOnly": True}},
            {"name": "d", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}},
        ],
        "volumeMounts": [{"name": "a", "mountPath": "/data", "subPath": "b", "readOnly": True}],
        "imagePullSecrets": [{"name": "pull"}],
        "serviceAccountName": "a",
        "priorityClassName": "b",
        "runtimeClassName": "c",
        "schedulerName": "d",
        "queueName": "e",
        "tolerations": [{"key": "k", "effect": "NoExecute", "tolerationSeconds": 3}],
    },
)


def planned() -> Object:
    """With everything that a plan may set, on a runtime with less."""
    wanted = on_h100()
    terms = ({"a": "b"}, {"c": "d"})
    made = replace(KNOWN, node_terms=terms, device_class="gpu", shared_memory=1 << 34, start_limit=9000.0)
    probe, mounts = {"periodSeconds": 1}, [{"name": "slipway-shm", "mountPath": "/dev/shm"}]  # noqa: S108
    theirs = runtime(made.runtime, startupProbe=probe, volumeMounts=mounts)
    theirs["spec"]["volumes"] = [{"name": "slipway-shm", "emptyDir": {"medium": "Memory", "sizeLimit": "8Gi"}}]
    answer = render_plan(wanted, made, serving_runtime=theirs, kinds=frozenset({RESOURCE_CLAIM_TEMPLATE}))
    assert isinstance(answer, Desired), answer
    return of_kind(answer, "InferenceService")


SERVICES = [*GOLDEN, of_kind(rendered(WITH_ALL), "InferenceService"), planned()]


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service["metadata"]["name"])
def test_kserve_knows_every_field_of_an_inference_service(service: Object) -> None:
    assert unknown(service, "V1beta1InferenceService") == []


@pytest.mark.parametrize("runtime", documents(RUNTIMES), ids=lambda runtime: runtime["metadata"]["name"])
def test_kserve_knows_every_field_of_a_runtime(runtime: Object) -> None:
    assert unknown(runtime, "V1alpha1ClusterServingRuntime") == []


def test_a_template_of_claims_has_the_fields_that_kubernetes_knows() -> None:
    wanted, made = on_h100(), replace(KNOWN, device_class="gpu")
    answer = render_plan(
        wanted, made, serving_runtime=runtime(made.runtime), kinds=frozenset({RESOURCE_CLAIM_TEMPLATE})
    )
    assert isinstance(answer, Desired)
    assert unknown(of_kind(answer, "ResourceClaimTemplate"), "V1ResourceClaimTemplate") == []


def test_an_unknown_field_is_found() -> None:
    predictor = {"model": {"args": [1], "arguments": []}, "terminationGracePeriodSeconds": "1"}
    assert unknown({"spec": {"predictor": predictor}}, "V1beta1InferenceService") == [
        ".spec.predictor.model.args[0]: 1 is no str",
        ".spec.predictor.model.arguments",
        ".spec.predictor.terminationGracePeriodSeconds: '1' is no int",
    ]
