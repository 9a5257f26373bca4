"""Which fields of an object the models of the Kubernetes client know."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from kubernetes.client import models

PLAIN: dict[str, type | tuple[type, ...]] = {"str": str, "int": int, "bool": bool, "float": (int, float)}
Types = Mapping[str, Mapping[str, str]]
NOTHING: Types = {}


def unknown_fields(part: Any, type_: str, path: str = "", *, more: Types = NOTHING) -> list[str]:
    """Returns the paths of values that the type doesn't have. `more`: types besides those of Kubernetes."""
    if type_ in ("object", "datetime"):
        return []
    if inner := re.fullmatch(r"[lL]ist\[(.+)\]", type_):
        assert isinstance(part, list), path
        return [
            each
            for index, item in enumerate(part)
            for each in unknown_fields(item, inner[1], f"{path}[{index}]", more=more)
        ]
    if inner := re.fullmatch(r"[dD]ict[(\[]str, (.+)[)\]]", type_):
        assert isinstance(part, dict), path
        return [
            each for key, item in part.items() for each in unknown_fields(item, inner[1], f"{path}.{key}", more=more)
        ]
    if type_ in PLAIN:
        return [] if isinstance(part, PLAIN[type_]) else [f"{path}: {part!r} is no {type_}"]
    return _unknown_members(part, _fields_of(type_, more), path, more)


def _unknown_members(part: Mapping[str, Any], fields: Mapping[str, str], path: str, more: Types) -> list[str]:
    return [
        each
        for name, value in part.items()
        for each in (
            unknown_fields(value, fields[name], f"{path}.{name}", more=more) if name in fields else [f"{path}.{name}"]
        )
    ]


def _fields_of(model: str, more: Types) -> Mapping[str, str]:
    """The fields under their names in manifests, with their types."""
    if model in more:
        return more[model]
    of_kubernetes = getattr(models, {"V1beta1PodSpec": "V1PodSpec"}.get(model, model))
    return {written: of_kubernetes.openapi_types[name] for name, written in of_kubernetes.attribute_map.items()}
