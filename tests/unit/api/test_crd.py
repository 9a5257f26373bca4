"""The CRDs are generated from the types, are structural as Kubernetes defines it, and explain every field."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from slipway.api import crd
from slipway.api.model import ModelCache
from support.repository import CRDS

Schema = dict[str, Any]
ROOT_FIELDS = {"apiVersion", "kind", "metadata"}


def schema_of(definition: Schema) -> Schema:
    schema: Schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def walk(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    """Yields every schema within a schema, with the path of its field."""
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from walk(inner, f"{path}.{name}".lstrip("."))
    for key, mark in (("items", "[]"), ("additionalProperties", "{}")):
        if isinstance(schema.get(key), dict):
            yield from walk(schema[key], path + mark)


SCHEMAS = [
    pytest.param(schema, id=f"{definition['spec']['names']['kind']}.{path}")
    for definition in crd.all_definitions()
    for path, schema in walk(schema_of(definition))
    if path
]
LISTS = [
    pytest.param(schema, id=f"{definition['spec']['names']['kind']}.{path}")
    for definition in crd.all_definitions()
    for path, schema in walk(schema_of(definition))
    if schema.get("type") == "array"
]
FIELDS = [
    pytest.param(name, inner, id=f"{definition['spec']['names']['kind']}.{path}.{name}")
    for definition in crd.all_definitions()
    for path, schema in walk(schema_of(definition))
    for name, inner in schema.get("properties", {}).items()
    if path or name not in ROOT_FIELDS
]
RULES = [
    pytest.param(rule, id=f"{definition['spec']['names']['kind']}.{path}-{index}")
    for definition in crd.all_definitions()
    for path, schema in walk(schema_of(definition))
    for index, rule in enumerate(schema.get("x-kubernetes-validations", []))
]


@pytest.mark.parametrize("definition", crd.all_definitions(), ids=lambda it: it["spec"]["names"]["kind"])
def test_the_committed_crds_are_generated_from_the_types(definition: Schema) -> None:
    file = CRDS / f"slipway.dev_{definition['spec']['names']['plural']}.yaml"
    assert yaml.safe_load(file.read_text()) == definition


@pytest.mark.parametrize("file", sorted(CRDS.glob("*.yaml")), ids=lambda file: file.stem)
def test_kubectl_apply_can_store_a_crd_in_its_annotation(file: Path) -> None:
    """Without --server-side it stores the object in an annotation, as JSON of Go; annotations have 256 KiB at most."""
    annotation = json.dumps(yaml.safe_load(file.read_text()), separators=(",", ":"), ensure_ascii=False)
    for letter in "<>&":
        annotation = annotation.replace(letter, f"\\u{ord(letter):04x}")
    assert len(annotation.encode()) < (256 << 10) * 3 / 4


@pytest.mark.parametrize(("name", "schema"), FIELDS)
def test_a_field_is_described_in_a_sentence(name: str, schema: Schema) -> None:
    assert re.fullmatch(r"[A-Z`a-z][^\n]{11,300}\.", schema["description"])


@pytest.mark.parametrize(("name", "schema"), FIELDS)
def test_a_description_says_more_than_the_name_does(name: str, schema: Schema) -> None:
    words = re.findall(r"[a-z]+", re.sub(r"([A-Z])", r" \1", name).lower())
    description_words = re.findall(r"[a-z]+", schema["description"].lower())
    assert set(description_words) - set(words) - {"the", "a", "an", "of", "is", "this"}


@pytest.mark.parametrize("schema", SCHEMAS)
def test_a_schema_is_structural(schema: Schema) -> None:
    assert not schema.keys() & {"$ref", "$defs", "anyOf", "oneOf", "allOf", "title", "const", "nullable"}
    assert ("type" in schema) != ("x-kubernetes-int-or-string" in schema)
    assert not ("properties" in schema and "additionalProperties" in schema)


@pytest.mark.parametrize("schema", LISTS)
def test_a_list_says_how_field_managers_share_it(schema: Schema) -> None:
    keys = schema.get("x-kubernetes-list-map-keys", [])
    assert (schema["x-kubernetes-list-type"] == "map") == bool(keys)
    assert "maxItems" in schema
    for key in keys:
        assert key in schema["items"].get("required", []) or "default" in schema["items"]["properties"][key]


@pytest.mark.parametrize("rule", RULES)
def test_the_message_of_a_validation_rule_is_a_sentence(rule: Schema) -> None:
    assert re.fullmatch(r"[A-Za-z-][^\n]{20,}[^.\n]", rule["message"])


@pytest.mark.parametrize("path", ["model.task", "model.cache", "engine.toolCalls", "engine.reasoning"])
def test_an_older_operator_finds_no_newer_field_in_an_object_that_does_not_set_it(path: str) -> None:
    """The API server fills in defaults when it reads, and that operator refuses fields that it doesn't know."""
    part, name = path.split(".")
    schema = schema_of(crd.llmdeployment())["properties"]["spec"]["properties"][part]
    assert name in schema["properties"]
    assert "default" not in schema["properties"][name]
    assert name not in schema.get("default", {})


def test_a_cache_of_which_only_the_size_is_set_has_no_kind_by_default() -> None:
    model = schema_of(crd.llmdeployment())["properties"]["spec"]["properties"]["model"]
    assert "default" not in model["properties"]["cache"]["properties"]["kind"]
    assert ModelCache(size="20Gi").kind == "Auto"


def test_the_status_is_a_subresource_and_scaling_is_not() -> None:
    assert crd.llmdeployment()["spec"]["versions"][0]["subresources"] == {"status": {}}


def test_deployments_are_namespaced_and_profiles_are_cluster_scoped() -> None:
    assert [it["spec"]["scope"] for it in crd.all_definitions()] == ["Namespaced", "Cluster"]
