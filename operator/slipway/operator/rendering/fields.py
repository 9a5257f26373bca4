"""Which fields of a live object Slipway has set: read from the managedFields that the API server stores. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from slipway.api.names import FIELD_MANAGER
from slipway.objects.kinds import Object


def set_by_us(live: Object) -> Object:
    """The object as we applied it last, without the fields that others have added or changed."""
    mine: Object = {}
    for entry in live["metadata"].get("managedFields") or []:
        if is_our_entry(entry):
            found = _picked(live, entry.get("fieldsV1") or {})
            mine = found if isinstance(found, dict) else {}
    return mine


def is_our_entry(entry: Mapping[str, Any]) -> bool:
    """Where a webhook changes a field of ours, the API server adds an entry of the same manager, not of an apply."""
    identity = entry.get("manager"), entry.get("operation"), entry.get("subresource", "")
    return identity == (FIELD_MANAGER, "Apply", "")


def _picked(live: Any, fields: Mapping[str, Any]) -> Any:
    """`fields`: the paths that are ours, as `f:NAME`, or as `k:KEYS` for items of a list; empty: the entire value."""
    below = {name: each for name, each in fields.items() if name != "."}
    if not below:
        return live
    if isinstance(live, dict):
        names = {name.removeprefix("f:"): each for name, each in below.items()}
        return {name: _picked(live[name], each) for name, each in names.items() if name in live}
    if isinstance(live, list):
        return [_picked(item, each) for item in live for key, each in below.items() if _is_item(item, key)]
    return live


def _is_item(item: Any, key: str) -> bool:
    what, _, text = key.partition(":")
    if what == "v":
        return bool(item == json.loads(text))
    keys = json.loads(text) if what == "k" else {}
    return isinstance(item, dict) and bool(keys) and all(item.get(name) == value for name, value in keys.items())
