"""What of a live object its applier has set: read from its managedFields, as the API server keeps them. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from slipway.api.names import FIELD_MANAGER
from slipway.operator.rendering.desired import Object


def set_by_us(live: Object) -> Object:
    """The object as we have applied it last; without what others have added, and without what they have changed."""
    mine: Object = {}
    for entry in live["metadata"].get("managedFields") or []:
        if is_our_entry(entry):
            found = _picked(live, entry.get("fieldsV1") or {})
            mine = found if isinstance(found, dict) else {}
    return mine


def is_our_entry(entry: Mapping[str, Any]) -> bool:
    """Where a webhook changes something of ours, the API server notes an entry of the same manager and another kind."""
    told = entry.get("manager"), entry.get("operation"), entry.get("subresource", "")
    return told == (FIELD_MANAGER, "Apply", "")


def _picked(live: Any, fields: Mapping[str, Any]) -> Any:
    """`fields`: what is ours of it, by `f:NAME`, or by `k:KEYS` for items of a list; nothing below: all of it."""
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
    what, _, told = key.partition(":")
    if what == "v":
        return bool(item == json.loads(told))
    keys = json.loads(told) if what == "k" else {}
    return isinstance(item, dict) and bool(keys) and all(item.get(name) == value for name, value in keys.items())
