"""Values of the chart `slipway` by which every branch of its templates is taken, and the schemas of what they make.

The schemas are recorded from a devcluster by `tests/cluster/test_schemas.py`.
"""

from __future__ import annotations

import yaml

from support.charts import CHARTS, rendered
from support.kube import Object
from support.openapi_schemas import GroupVersionKind, kind_of

SCHEMAS = CHARTS.parent / "tests/charts/schemas"
NOT_RECORDED = ("PodMonitor", "ServiceMonitor")
"""Kinds that no devcluster has."""

VALUES = yaml.safe_load((CHARTS / "slipway/values.yaml").read_text())
BRANCHES: dict[str, Object] = {
    "as it is": {},
    "everything": {
        "activator": {"names": ["slipway-activator", "second"], "autoscaling": {"enabled": True, "memory": 80}},
        "commonLabels": {"team": "ml"},
        "commonAnnotations": {"contact": "ml@example.com"},
        "monitoring": {"podMonitor": {"enabled": True, "labels": {"release": "prometheus"}}},
        "accelerators": {"costPerHour": {"l4": 0.5}},
        "extraObjects": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "extra"}}],
    },
    "nothing that can be left out": {
        "userRoles": False,
        "networkPolicies": False,
        "operator": {"replicas": 1, "disruptionBudget": False},
        "activator": {"disruptionBudget": False},
        "runtimes": {name: {"enabled": False} for name in VALUES["runtimes"]},
        "accelerators": {
            "vendors": dict.fromkeys(VALUES["accelerators"]["vendors"], False),
            "readableByAll": False,
        },
        "monitoring": {"prometheusNamespaces": [], "serviceMonitor": {"enabled": True}},
    },
    "some namespaces": {"watchNamespaces": ["default"], "fixedUserIds": False},
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


def kinds() -> set[GroupVersionKind]:
    """All that the charts make, and whose schemas are recorded."""
    things = [
        *rendered("slipway-crds"),
        *(thing for values in BRANCHES.values() for thing in rendered("slipway", values)),
    ]
    return {kind_of(thing) for thing in things if thing["kind"] not in NOT_RECORDED}
