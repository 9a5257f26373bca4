"""JSON Schema of what several values are: a comment in values.yaml names one in a single word."""

from __future__ import annotations

from typing import Any

STRING, COUNT = {"type": "string"}, {"type": "integer", "minimum": 0}
NAMED = {"type": "string", "minLength": 1}
NAMESPACE = "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"


def closed(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": [*required], "additionalProperties": False}


def each(items: dict[str, Any]) -> dict[str, Any]:
    return {"items": items}


REGISTRY = {"type": "string", "pattern": "^([^:]*(:[0-9]+(/[^:]*)?)?)?$"}
"""A host, perhaps with a port and a path: not an address with https:// before it."""

SHARED: dict[str, dict[str, Any]] = {
    "registry": REGISTRY,
    "image": closed(
        {
            "registry": REGISTRY,
            "repository": NAMED,
            "tag": STRING,
            "digest": {"type": "string", "pattern": "^(sha256:[0-9a-f]{64})?$"},
        },
        "repository",
    ),
    "pullSecrets": each(closed({"name": NAMED}, "name")),
    "namespace": {"pattern": f"^{NAMESPACE}$"},
    "namespaceOrNone": {"pattern": f"^({NAMESPACE})?$"},
    "objectNameOrEmpty": {"maxLength": 253, "pattern": "^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$"},
    "volumeSize": {"pattern": "^[0-9]+([.][0-9]+)?([MGTPE]i|[MGTPE])$"},
    "volumeSizeOrNone": {"pattern": "^([0-9]+([.][0-9]+)?([MGTPE]i|[MGTPE]))?$"},
    "folderOfNode": {"pattern": "^(/[A-Za-z0-9._-]*[A-Za-z0-9_-])+$"},
    "activators": {
        "minItems": 1,
        "uniqueItems": True,
        "items": {"type": "string", "pattern": "^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$"},
    },
    "namespaces": {"uniqueItems": True, "items": {"type": "string", "pattern": f"^({NAMESPACE})?$"}},
    "namespacesOrAll": {"uniqueItems": True, "items": {"type": "string", "pattern": f"^({NAMESPACE}|[*])?$"}},
    "networks": each({"type": "string", "pattern": "^([0-9a-fA-F.:]+(/[0-9]+)?)?$"}),
    "labels": {"additionalProperties": STRING},
    "env": each(closed({"name": NAMED, "value": STRING, "valueFrom": {"type": "object"}}, "name")),
    "tolerations": each(
        closed(
            {
                "key": STRING,
                "operator": NAMED,
                "value": STRING,
                "effect": {"enum": ["", "NoSchedule", "PreferNoSchedule", "NoExecute"]},
                "tolerationSeconds": {"type": "integer"},
            }
        )
    ),
    "affinity": {
        "additionalProperties": False,
        "properties": {kind: {"type": "object"} for kind in ("nodeAffinity", "podAffinity", "podAntiAffinity")},
    },
    "topologySpreadConstraints": each(
        closed(
            {
                "maxSkew": {"type": "integer", "minimum": 1},
                "topologyKey": NAMED,
                "whenUnsatisfiable": {"enum": ["DoNotSchedule", "ScheduleAnyway"]},
                "labelSelector": {"type": "object"},
                "matchLabelKeys": {"type": "array", "items": STRING},
                "minDomains": COUNT,
                "nodeAffinityPolicy": {"enum": ["Honor", "Ignore"]},
                "nodeTaintsPolicy": {"enum": ["Honor", "Ignore"]},
            },
            "maxSkew",
            "topologyKey",
            "whenUnsatisfiable",
        )
    ),
    "prices": {
        "additionalProperties": {
            "type": ["number", "string"],
            "minimum": 0,
            "pattern": "^([0-9]+([.][0-9]*)?|[.][0-9]+)$",
        }
    },
}
