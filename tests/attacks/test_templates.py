"""Whatever a user writes in any field: KServe, which executes the container spec as a Go template, never gets `{{`.

All string fields of the spec are tried, found by walking its schema, so a field that is added later is tried as well.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pydantic import ValidationError
from slipway.api import crd
from slipway.api.acceleratorprofile import AcceleratorProfile
from slipway.api.llmdeployment import LLMDeployment
from slipway.operator.installation import Fetcher
from slipway.operator.planning import Unplannable, make_plan
from slipway.operator.rendering import Desired, Unrenderable
from slipway.operator.rendering.refusing import without_templates
from support.builders.rendering import PROFILES, deployment, of_kind, on_h100, plan, rendered, runtime

Object = dict[str, Any]
Path = tuple[str | int, ...]

URI = "hf://org/model"
FETCHER = Fetcher("registry.example.com/slipway-fetcher:1")
SELECTOR = {"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}
EVERYTHING: Object = {
    "model": {
        "uri": URI,
        "revision": "main",
        "servedName": "llama",
        "credentialsSecret": "token",
        "files": ["*.safetensors"],
        "endpoint": "https://hub.example.com",
        "task": "Generate",
        "facts": {"task": "Generate", "dtype": "int8", "weights": "16Gi"},
        "cache": {
            "kind": "PVC",
            "size": "20Gi",
            "storageClassName": "fast",
            "accessMode": "ReadWriteMany",
            "repository": "registry.example.com/models",
            "pushSecret": "push",
        },
    },
    "engine": {
        "name": "vllm",
        "mode": "Latency",
        "quantization": "FP8",
        "kvCacheDtype": "FP8",
        "toolCalls": "hermes",
        "reasoning": "qwen3",
        "speculative": {"method": "draft", "tokens": 2, "model": URI},
        "adapters": [{"name": "sql", "uri": URI}],
        "parallelism": {"tensor": "Auto"},
        "mediaDomains": ["images.example.com"],
        "compileCache": {
            "kind": "PVC",
            "size": "8Gi",
            "storageClassName": "fast",
            "accessMode": "ReadWriteMany",
            "image": f"registry.example.com/caches@sha256:{'0' * 64}",
            "repository": "registry.example.com/caches",
            "pushSecret": "push",
        },
        "extraArgs": ["--seed=1"],
    },
    "accelerator": {"profiles": ["h100"], "policy": "InOrder", "spot": "Allowed"},
    "scaling": {
        "autoscaler": "KEDA",
        "idleAfter": "10m",
        "target": {"inFlight": "Auto", "ttftP95": "1s", "tpotP95": "1s"},
        "schedule": [{"cron": "0 8 * * *", "duration": "1h", "minReplicas": 1, "timeZone": "UTC"}],
        "hold": {"maxBytes": "64Mi", "timeout": "1m", "heartbeat": "1s", "wakeOn": ["POST /v1/*"]},
    },
    "rollout": {
        "strategy": "Canary",
        "canary": {"steps": [{"weight": 1, "pause": "1s"}], "analysis": {"ttftP95": "1s", "tpotP95": "1s"}},
        "drainTimeout": "1m",
        "qualityGate": "exam",
    },
    "access": {
        "apiKeysSecret": "keys",
        "gateway": {"parentRef": {"name": "a", "namespace": "b", "sectionName": "c"}, "hostname": "a.example.com"},
        "allowFrom": [
            {"namespaceSelector": SELECTOR, "podSelector": SELECTOR},
            {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}},
        ],
    },
    "observability": {"tracing": {"endpoint": "http://otel:4318/v1/traces"}},
    "slo": {"ttftP95": "1s", "tpotP95": "1s", "e2eP99": "1m", "availability": "99%", "window": "24h"},
    "budget": {"perDay": 1, "then": "Sleep"},
    "pod": {
        "labels": {"team": "blue"},
        "annotations": {"note": "x"},
        "serviceAccountName": "a",
        "priorityClassName": "b",
        "queueName": "c",
        "tolerations": [{"key": "a", "operator": "Equal", "value": "b", "effect": "NoSchedule"}],
        "nodeSelector": {"zone": "a"},
        "resources": {"requests": {"cpu": "1"}, "limits": {"memory": "2Gi"}},
        "env": [
            {"name": "APP_A", "value": "b"},
            {"name": "APP_B", "valueFrom": {"secretKeyRef": {"name": "a", "key": "b"}}},
            {"name": "APP_C", "valueFrom": {"configMapKeyRef": {"name": "a", "key": "b"}}},
            {"name": "APP_D", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}},
        ],
        "volumes": [
            {"name": "a", "configMap": {"name": "a", "items": [{"key": "a", "path": "b"}]}},
            {"name": "b", "secret": {"secretName": "a", "items": [{"key": "a", "path": "b"}]}},
            {"name": "c", "persistentVolumeClaim": {"claimName": "a"}},
            {"name": "d", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}},
        ],
        "volumeMounts": [{"name": "a", "mountPath": "/data", "subPath": "b"}],
        "imagePullSecrets": [{"name": "a"}],
        "runtimeClassName": "a",
        "schedulerName": "b",
    },
}


def places(node: object, path: Path = ()) -> Iterator[Path]:
    """The paths of all strings."""
    if isinstance(node, str):
        yield path
    elif isinstance(node, dict):
        for key, value in node.items():
            yield from places(value, (*path, key))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from places(value, (*path, index))


def maps(schema: Object, path: str = "") -> Iterator[str]:
    """Fields whose keys the user writes."""
    if isinstance(schema.get("additionalProperties"), dict):
        yield path
    for name, inner in schema.get("properties", {}).items():
        yield from maps(inner, f"{path}.{name}")
    if "items" in schema:
        yield from maps(schema["items"], f"{path}[]")


def texts(schema: Object, path: str = "") -> Iterator[tuple[str, Object]]:
    """String fields, with their schemas."""
    if schema.get("type") == "string" or "x-kubernetes-int-or-string" in schema:
        yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from texts(inner, f"{path}.{name}")
    for kind, mark in (("items", "[]"), ("additionalProperties", "{}")):
        if isinstance(schema.get(kind), dict):
            yield from texts(schema[kind], path + mark)


SPEC: Object = crd.llmdeployment()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
PLACES = list(places(EVERYTHING))
MAPS = list(maps(SPEC))


def named(path: Path) -> str:
    """The path of the field as the schema names it."""
    text = "".join("[]" if isinstance(step, int) else f".{step}" for step in path)
    for each in MAPS:
        text = re.sub(rf"^{re.escape(each)}\.[^.\[]+$", f"{each}{{}}", text)
    return text


def changed(path: Path, how: Callable[[str], str]) -> Object:
    spec = copy.deepcopy(EVERYTHING)
    inner: Any = spec
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = how(inner[path[-1]])
    return spec


def inference_service_of(spec: Object, profiles: list[AcceleratorProfile] | None = None) -> Object | None:
    """The InferenceService that KServe would get; None if none is rendered."""
    metadata = {"name": "llama", "namespace": "chat", "uid": "4711"}
    try:
        wanted = LLMDeployment.model_validate({"metadata": metadata, "spec": spec})
    except ValidationError:
        return None
    planned = make_plan(wanted.spec, profiles or PROFILES, name="llama")
    if isinstance(planned, Unplannable):
        return None
    answer = rendered(wanted, planned, serving_runtime=runtime(planned.runtime), fetcher=FETCHER)
    return of_kind(answer, "InferenceService") if isinstance(answer, Desired) else None


def test_every_string_of_the_spec_is_tried() -> None:
    assert {path for path, _ in texts(SPEC)} == {named(path) for path in PLACES}


def test_a_spec_with_every_field_set_is_rendered() -> None:
    service = inference_service_of(EVERYTHING)
    assert service
    assert "/data" in json.dumps(service)


@pytest.mark.parametrize("how", ["{{{{.Name}}}}", "{0}{{{{", "{{{{{0}", "{0}{{{{`x`}}}}", "{0}/{{{{printf `%c` 34}}}}"])
@pytest.mark.parametrize("path", PLACES, ids=lambda path: ".".join(map(str, path)))
def test_no_template_reaches_kserve(path: Path, how: str) -> None:
    service = inference_service_of(changed(path, how.format))
    assert service is None or "{{" not in json.dumps(service)


@pytest.mark.parametrize("path", MAPS)
def test_no_template_reaches_kserve_as_a_key(path: str) -> None:
    spec = copy.deepcopy(EVERYTHING)
    inner: Any = spec
    for step in path.strip(".").split("."):
        inner = inner[step.removesuffix("[]")]
        inner = inner[0] if step.endswith("[]") else inner
    inner["{{.Name}}"] = "1"
    service = inference_service_of(spec)
    assert service is None or "{{" not in json.dumps(service)


@pytest.mark.parametrize(("path", "schema"), list(texts(SPEC)), ids=lambda it: it if isinstance(it, str) else "")
def test_the_api_server_refuses_templates_as_well(path: str, schema: Object) -> None:
    rules = [rule["rule"] for rule in schema.get("x-kubernetes-validations", [])]
    assert "enum" in schema or any(keeps_out(rule) for rule in rules)


def keeps_out(rule: str) -> bool:
    """Whether the rule refuses `{{`: it forbids it, or requires a form that can't contain it."""
    if rule == "!self.contains('{{')" or "[{][{]" in rule:
        return True
    if rule.startswith(("isQuantity(", "type(self) == int")):
        return True
    forms = [json.loads(f'"{form}"') for form in re.findall(r'self\.matches\("((?:[^"\\]|\\.)*)"\)', rule)]
    return bool(forms) and all(is_narrow(form) for form in forms)


def is_narrow(form: str) -> bool:
    """Whether the pattern is anchored and lists its characters, with `{` only in quantifiers."""
    listed = re.sub(r"\{\d+(,\d*)?\}|\[\^[^\]]*\{[^\]]*\]|\\\.", "", form)
    return form.startswith("^") and form.endswith("$") and not re.search(r"[{.](?![^\[]*\])|\[\^", listed)


@pytest.mark.parametrize("path", MAPS)
def test_the_api_server_refuses_keys_as_well(path: str) -> None:
    schema: Object = SPEC
    for step in path.strip(".").split("."):
        schema = schema["properties"][step.removesuffix("[]")]
        schema = schema["items"] if step.endswith("[]") else schema
    rules = [rule["rule"] for rule in schema["x-kubernetes-validations"]]
    assert any("!key.contains('{{')" in rule or rule.startswith("self.all(name, name in [") for rule in rules)


# --- the check of the rendered object --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "facts",
    [
        {"nodeLabels": {"{{.Name}}": "x"}},
        {"tolerations": [{"key": "{{.Name}}"}]},
    ],
    ids=["label", "toleration"],
)
def test_a_profile_with_a_template_is_refused(facts: Object) -> None:
    with pytest.raises(ValidationError, match="which KServe would read as a template"):
        AcceleratorProfile.model_validate(
            {
                "metadata": {"name": "h100"},
                "spec": {"vendor": "CPU", "resource": {"name": "cpu"}, "memory": "1Gi", **facts},
            }
        )


def test_the_rendered_object_is_checked_again_and_the_field_is_named() -> None:
    wanted = on_h100(
        model={"uri": "https://example.com/{{.Name}}"}
    )  # only the API server checks the form of this field
    answer = rendered(wanted, plan(wanted), serving_runtime=runtime("slipway-vllm-cuda"))
    assert isinstance(answer, Unrenderable)
    assert answer.message == (
        "spec.model.uri contains '{{', which KServe would read as a template: write it differently."
    )


@pytest.mark.parametrize("component", ["env", "labels", "key"])
def test_a_template_that_is_not_from_the_spec_is_found_too(component: str) -> None:
    bad: dict[str, Object] = {
        "env": {"spec": {"predictor": {"model": {"env": [{"name": "APP_A", "value": "{{.Name}}"}]}}}},
        "labels": {"spec": {"predictor": {"labels": {"a": "{{.Name}}"}}}},
        "key": {"spec": {"predictor": {"nodeSelector": {"{{.Name}}": "x"}}}},
    }
    wanted = deployment(engine={"name": "llamacpp"})
    with pytest.raises(Exception, match=r"^InferenceService\.spec\.predictor.* contains '\{\{'"):
        without_templates(bad[component], wanted, plan(wanted))


def test_adjacent_strings_do_not_form_a_template() -> None:
    spec = copy.deepcopy(EVERYTHING)
    spec["engine"]["extraArgs"] = ["--chat-template={", "--response-role={", '--hf-overrides={"a":{"b":{}}}']
    spec["pod"]["env"] = [{"name": "APP_A", "value": "{"}, {"name": "APP_B", "value": "{"}]
    spec["pod"]["volumeMounts"] = [{"name": "a", "mountPath": "/data/{", "subPath": "{"}]
    service = inference_service_of(spec)
    assert service
    assert "{{" not in json.dumps(service, separators=(",", ":"))


def test_text_that_only_json_would_decode_to_a_template_is_not_one_to_kserve() -> None:
    spec = copy.deepcopy(EVERYTHING)
    spec["pod"]["env"] = [{"name": "APP_A", "value": "\\u007b\\u007b.Name}}"}]
    service = inference_service_of(spec)
    assert service
    assert "\\\\u007b" in json.dumps(service), "the backslash belongs to the string and must stay escaped"
