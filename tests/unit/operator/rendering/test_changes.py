"""Which changes of the spec restart the pods, and which don't. Every field of the spec is in one of the tables.

KServe makes the pod template from the InferenceService's labels, its annotations and its predictor, except for the
four fields of the predictor that it uses elsewhere.
"""

from __future__ import annotations

from types import NoneType
from typing import Any, get_args

import pytest
from pydantic import BaseModel
from slipway.api.llmdeployment import LLMDeployment, LLMDeploymentSpec
from slipway.operator.installation import Fetcher
from slipway.operator.rendering import hash_of
from support.builders.rendering import desired, of_kind, on_h100

OUTSIDE_THE_TEMPLATE = {"minReplicas", "maxReplicas", "timeout", "deploymentStrategy"}

RESTARTS: dict[str, Any] = {
    "model.uri": "hf://org/other",
    "model.revision": "v2",
    "model.servedName": "other",
    "model.credentialsSecret": "token",
    "model.files": ["*.gguf"],
    "model.endpoint": "https://mirror.example.com",
    "model.task": "Embed",
    "engine.name": "sglang",
    "engine.mode": "Latency",
    "engine.contextLength": 1024,
    "engine.maxConcurrency": 8,
    "engine.maxBatchedTokens": 4096,
    "engine.toolCalls": "hermes",
    "engine.reasoning": "None",
    "engine.quantization": "FP8",
    "engine.kvCacheDtype": "FP8",
    "engine.prefixCaching": False,
    "engine.speculative": {"method": "ngram", "tokens": 2},
    "engine.adapters": [{"name": "sql", "uri": "hf://org/sql"}],
    "engine.parallelism": {"tensor": 2},
    "engine.extraArgs": ["-O3"],
    "engine.mediaDomains": ["images.example.com"],
    "accelerator.profiles": ["cpu"],
    "accelerator.spot": "Allowed",
    "rollout.drainTimeout": "1m",
    "access.apiKeysSecret": "keys",
    "access.rateLimit": {"requestsPerMinute": 1},
    "observability.tracing": {"endpoint": "http://otel:4318"},
    "pod.labels": {"team": "blue"},
    "pod.annotations": {"note": "x"},
    "pod.serviceAccountName": "other",
    "pod.priorityClassName": "high",
    "pod.queueName": "gpus",
    "pod.tolerations": [{"key": "mine", "operator": "Exists"}],
    "pod.nodeSelector": {"zone": "a"},
    "pod.resources": {"requests": {"cpu": "4"}},
    "pod.env": [{"name": "APP_A", "value": "1"}],
    "pod.volumes": [{"name": "scratch", "emptyDir": {}}],
    "pod.volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}],
    "pod.imagePullSecrets": [{"name": "pull"}],
    "pod.runtimeClassName": "kata",
    "pod.schedulerName": "other",
}

LEAVES_PODS_ALONE: dict[str, Any] = {
    "model.facts": {"parameters": 8_000_000_000},  # for the planner, which doesn't use them yet
    "model.cache": {"kind": "Node"},  # without an effect yet
    "engine.compileCache": {"kind": "None"},  # without an effect yet
    "accelerator.policy": "Fastest",
    "scaling.minReplicas": 1,
    "scaling.maxReplicas": 7,
    "scaling.initialReplicas": 0,
    "scaling.autoscaler": "HPA",
    "scaling.idleAfter": "1m",
    "scaling.target": {"inFlight": 4},
    "scaling.schedule": [{"cron": "0 8 * * *", "duration": "1h", "minReplicas": 1}],
    "scaling.hold": {"maxRequests": 1},
    "slo.ttftP95": "500ms",
    "slo.tpotP95": "40ms",
    "slo.e2eP99": "30s",
    "slo.availability": "99.9%",
    "slo.window": "168h",
    "rollout.strategy": "Surge",
    "rollout.canary": {"steps": [{"weight": 10}]},
    "rollout.qualityGate": "exam",
    "access.gateway": {"parentRef": {"name": "public"}},
    "access.allowFrom": [],
    "observability.monitor": False,
    "budget.perDay": 5.0,
    "budget.perMonth": 50.0,
    "budget.then": "Sleep",
}

SERVING = {
    "inference_service": {"metadata": {"annotations": {"serving.kserve.io/autoscalerClass": "external"}}},
    "deployment": {"spec": {"replicas": 1}},
}


def with_change(path: str, value: object) -> LLMDeployment:
    section, field = path.split(".")
    spec: dict[str, dict[str, object]] = {
        "model": {"uri": "hf://org/model"},
        "accelerator": {"profiles": ["h100"]},
    }
    spec[section] = spec.get(section, {}) | {field: value}
    return on_h100(**spec)


def template(deployment: LLMDeployment) -> str:
    """Returns everything from which KServe makes the pod template."""
    service = of_kind(desired(deployment, **SERVING, fetcher=Fetcher("fetcher")), "InferenceService")
    predictor = service["spec"]["predictor"]
    inside = {name: value for name, value in predictor.items() if name not in OUTSIDE_THE_TEMPLATE}
    return hash_of({"metadata": service["metadata"], "predictor": inside})


@pytest.mark.parametrize("path", RESTARTS)
def test_this_change_reaches_the_pods(path: str) -> None:
    assert template(with_change(path, RESTARTS[path])) != template(on_h100())


@pytest.mark.parametrize("path", LEAVES_PODS_ALONE)
def test_this_change_leaves_the_pods_alone(path: str) -> None:
    assert template(with_change(path, LEAVES_PODS_ALONE[path])) == template(on_h100())


def test_every_field_of_the_spec_is_in_one_table() -> None:
    tables = [set(RESTARTS), set(LEAVES_PODS_ALONE)]
    assert set().union(*tables) == fields_of_the_spec()
    assert sum(map(len, tables)) == len(fields_of_the_spec())


def fields_of_the_spec() -> set[str]:
    return {
        f"{section.alias}.{field.alias}"
        for section in LLMDeploymentSpec.model_fields.values()
        for field in _model(section.annotation).model_fields.values()
    }


def _model(annotation: object) -> type[BaseModel]:
    annotation = next((each for each in get_args(annotation) if each is not NoneType), annotation)
    assert isinstance(annotation, type)
    assert issubclass(annotation, BaseModel)
    return annotation


def test_labels_and_annotations_of_other_clients_reach_no_object() -> None:
    plain = on_h100()
    other_metadata = {"labels": {"team": "blue"}, "annotations": {"x": "y"}, "generation": 7, "resource_version": "9"}
    touched = plain.model_copy(update={"metadata": plain.metadata.model_copy(update=other_metadata)})
    assert desired(touched) == desired(plain)


def test_a_new_port_of_the_activator_leaves_the_pods_alone() -> None:
    with_port = of_kind(desired(on_h100(), **SERVING, activator_port=20001), "InferenceService")
    assert with_port == of_kind(desired(on_h100(), **SERVING), "InferenceService")
