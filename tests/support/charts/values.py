"""Values of the chart `slipway` that cover every branch of its templates, and the schemas of the rendered objects.

`tests/cluster/test_schemas.py` records the schemas from a devcluster.
"""

from __future__ import annotations

from typing import Any

import yaml

from support.builders.objects import Object
from support.charts.helm import rendered
from support.charts.openapi_schemas import GroupVersionKind, kind_of
from support.repository import CHARTS

SCHEMAS = CHARTS.parent / "tests/charts/schemas"
NOT_RECORDED = ("PodMonitor", "PrometheusRule", "ServiceMonitor")
"""Kinds that no devcluster has."""

DIGEST = "sha256:" + "0" * 64


def defaults(chart: str) -> Any:
    return yaml.safe_load((CHARTS / chart / "values.yaml").read_text())


VALUES = defaults("slipway")
BRANCHES: dict[str, Object] = {
    "as it is": {},
    "everything": {
        "activator": {"names": ["slipway-activator", "second"], "autoscaling": {"enabled": True, "memory": 80}},
        "commonLabels": {"team": "ml"},
        "commonAnnotations": {"contact": "ml@example.com"},
        "monitoring": {
            "podMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
            "rules": {"enabled": True},
        },
        "accelerators": {"costPerHour": {"l4": 0.5}},
        "planner": {"inspection": {"namespaces": ["*"]}},
        "extraObjects": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "extra"}}],
    },
    "nothing that can be left out": {
        "userRoles": False,
        "cliRoles": False,
        "networkPolicies": False,
        "operator": {"replicas": 1, "disruptionBudget": False},
        "activator": {"disruptionBudget": False},
        "runtimes": {name: {"enabled": False} for name in VALUES["runtimes"]},
        "accelerators": {
            "vendors": dict.fromkeys(VALUES["accelerators"]["vendors"], False),
            "readableByAll": False,
        },
        "monitoring": {
            "prometheusNamespaces": [],
            "serviceMonitor": {"enabled": True},
            "rules": {"enabled": True, "kind": "ConfigMap"},
        },
    },
    "every engine": {"runtimes": {name: {"enabled": True} for name in VALUES["runtimes"]}},
    "every engine, as the cluster's own users, from a mirror": {
        "fixedUserIds": False,
        "images": {"mirror": "mirror.example.com", "pullSecrets": [{"name": "mirror"}]},
        "runtimes": {name: {"enabled": True} for name in VALUES["runtimes"]},
    },
    "by digest, behind a gateway": {
        "images": {"operator": {"digest": DIGEST}},
        "runtimes": {name: {"enabled": True, "image": {"digest": DIGEST}} for name in VALUES["runtimes"]},
        "activator": {"trustedProxies": ["10.0.0.0/8", "fd00::/8"]},
    },
    "some namespaces": {
        "watchNamespaces": ["default"],
        "planner": {"inspection": {"namespaces": ["default"]}},
        "fixedUserIds": False,
    },
    "a place of its own": {
        "images": {"registry": "registry.example.com/llm", "pullSecrets": [{"name": "registry"}]},
        **{
            program: {
                "nodeSelector": {"pool": "system"},
                "tolerations": [{"operator": "Exists"}],
                "affinity": {"nodeAffinity": {}},
                "topologySpreadConstraints": [
                    {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {}}
                ],
                "priorityClassName": "system-cluster-critical",
                "resources": {"limits": {"cpu": "1", "memory": "1Gi"}},
                "env": [{"name": "SLIPWAY_LOG_LEVEL", "value": "debug"}],
                "podLabels": {"team": "ml"},
                "podAnnotations": {"contact": "ml@example.com"},
            }
            for program in ("operator", "activator")
        },
    },
}


def nested(path: str, value: Any) -> dict[str, Any]:
    """Returns nested maps for a path of keys with dots."""
    for key in reversed(path.split(".")):
        value = {key: value}
    return value  # type: ignore[no-any-return]


def kinds() -> set[GroupVersionKind]:
    """Returns all kinds that the charts render and whose schemas are recorded."""
    things = [
        *rendered("slipway-crds"),
        *(thing for values in BRANCHES.values() for thing in rendered("slipway", values)),
    ]
    return {kind_of(thing) for thing in things if thing["kind"] not in NOT_RECORDED}
