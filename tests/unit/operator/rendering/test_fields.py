"""The fields of ours that are found in managedFields as the API server writes them."""

from __future__ import annotations

from typing import Any

import pytest
from slipway.operator.rendering.fields import set_by_us

OURS = {"manager": "slipway", "operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1"}


def live(fields: dict[str, Any], *others: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "x", "managedFields": [{**OURS, "fieldsV1": fields}, *others]}, "spec": spec}


def test_a_field_that_another_manager_added_is_not_ours() -> None:
    assert set_by_us(live({"f:spec": {"f:a": {}}}, a=1, b=2)) == {"spec": {"a": 1}}


def test_a_list_without_keys_is_a_unit() -> None:
    assert set_by_us(live({"f:spec": {"f:args": {}}}, args=["--a", "--b"])) == {"spec": {"args": ["--a", "--b"]}}


def test_only_our_items_and_fields_of_a_list_with_keys_are_ours() -> None:
    our_fields: dict[str, Any] = {'k:{"name":"A"}': {".": {}, "f:name": {}, "f:value": {}}}
    items = [{"name": "A", "value": "1", "added": "x"}, {"name": "B", "value": "2"}]
    assert set_by_us(live({"f:spec": {"f:env": our_fields}}, env=items)) == {
        "spec": {"env": [{"name": "A", "value": "1"}]}
    }


def test_an_item_may_have_several_keys() -> None:
    our_fields: dict[str, Any] = {'k:{"port":80,"protocol":"TCP"}': {".": {}, "f:port": {}, "f:protocol": {}}}
    items = [{"port": 80, "protocol": "UDP"}, {"port": 80, "protocol": "TCP"}]
    assert set_by_us(live({"f:spec": {"f:ports": our_fields}}, ports=items)) == {
        "spec": {"ports": [{"port": 80, "protocol": "TCP"}]}
    }


def test_only_our_values_of_a_set_are_ours() -> None:
    assert set_by_us(live({"f:spec": {"f:names": {'v:"a"': {}}}}, names=["a", "b"])) == {"spec": {"names": ["a"]}}


@pytest.mark.parametrize(
    "of_others",
    [
        {**OURS, "manager": "kubectl", "fieldsV1": {"f:spec": {"f:b": {}}}},
        {**OURS, "operation": "Update", "fieldsV1": {"f:spec": {"f:b": {}}}},
        {**OURS, "subresource": "status", "fieldsV1": {"f:spec": {"f:b": {}}}},
    ],
)
def test_fields_set_by_other_managers_or_webhooks_are_not_ours(of_others: dict[str, Any]) -> None:
    assert set_by_us(live({"f:spec": {"f:a": {}}}, of_others, a=1, b=2)) == {"spec": {"a": 1}}


def test_a_field_that_was_removed_since_then_is_absent() -> None:
    assert set_by_us(live({"f:spec": {"f:a": {}, "f:b": {}}}, a=1)) == {"spec": {"a": 1}}


@pytest.mark.parametrize("fields", [None, []])
def test_an_object_without_managed_fields_has_no_fields_of_ours(fields: Any) -> None:
    assert set_by_us({"metadata": {"managedFields": fields}}) == {}
