"""Schemas made from an API server's OpenAPI document: everything that a kind refers to, and no unknown field."""

from __future__ import annotations

from typing import Any

from support.charts.openapi_schemas import GroupVersionKind, kind_of, schema_of

POD = GroupVersionKind("", "v1", "Pod")
DOCUMENT: Any = {
    "components": {
        "schemas": {
            "v1.Pod": {
                "description": "A pod.",
                "type": "object",
                "properties": {
                    "spec": {"allOf": [{"$ref": "#/components/schemas/v1.PodSpec"}], "default": {}},
                    "labels": {"type": "object", "additionalProperties": {"type": "string", "default": ""}},
                    "description": {"type": "string"},
                    "left": {"type": "string", "nullable": True},
                },
                "x-kubernetes-group-version-kind": [{"group": "", "kind": "Pod", "version": "v1"}],
            },
            "v1.PodSpec": {
                "type": "object",
                "required": ["containers"],
                "properties": {
                    "containers": {"type": "array", "items": {"$ref": "#/components/schemas/v1.Container"}},
                    "again": {"$ref": "#/components/schemas/v1.PodSpec"},
                },
            },
            "v1.Container": {
                "type": "object",
                "properties": {"name": {"type": "string"}},
                "x-kubernetes-preserve-unknown-fields": True,
            },
            "v1.Node": {"type": "object"},
        }
    }
}
SCHEMA = schema_of(POD, DOCUMENT)


def test_a_schema_includes_all_that_it_refers_to_and_no_more() -> None:
    assert set(SCHEMA["definitions"]) == {"v1.PodSpec", "v1.Container"}
    assert SCHEMA["properties"]["spec"] == {"allOf": [{"$ref": "#/definitions/v1.PodSpec"}]}


def test_an_unknown_field_is_an_error_where_the_api_server_refuses_it() -> None:
    definitions = SCHEMA["definitions"]
    assert SCHEMA["additionalProperties"] is False
    assert definitions["v1.PodSpec"]["additionalProperties"] is False
    assert "additionalProperties" not in definitions["v1.Container"]
    assert SCHEMA["properties"]["labels"]["additionalProperties"] == {"type": "string"}


def test_descriptions_are_left_out_and_a_field_of_that_name_is_kept() -> None:
    assert "description" not in SCHEMA
    assert SCHEMA["properties"]["description"] == {"type": "string"}


def test_nullable_fields_may_be_null() -> None:
    assert SCHEMA["properties"]["left"] == {"anyOf": [{"type": "string"}, {"type": "null"}]}


def test_a_schema_has_the_file_name_that_kubeconform_looks_for() -> None:
    deployment = kind_of({"apiVersion": "apps/v1", "kind": "Deployment"})
    assert (deployment.document, deployment.file) == ("/openapi/v3/apis/apps/v1", "apps_deployment_v1.json")
    assert (POD.document, POD.file) == ("/openapi/v3/api/v1", "v1_pod_v1.json")
