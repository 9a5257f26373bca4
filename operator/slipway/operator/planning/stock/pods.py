"""What the pods of a node have requested of it, by the scheduler's own rules. Pure.

Any tenant writes pods: what can't be read counts as nothing, and of many containers only the first count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from slipway.objects.kinds import Object
from slipway.operator.planning.stock.nodes import listed, mapping, quantities

MOST_CONTAINERS = 100
OVER = ("Succeeded", "Failed")


def used_by(pods: Iterable[Object]) -> dict[str, int]:
    """By resource; cpu in thousandths."""
    used: Counter[str] = Counter()
    for pod in pods:
        used.update(requested_by(pod))
    return dict(used)


def requested_by(pod: Object) -> dict[str, int]:
    """What it keeps from others: the sum of its containers, or more while an init container runs. A pod that has ended
    keeps nothing, one that is being deleted keeps it until it is gone."""
    spec, status = mapping(pod.get("spec")), mapping(pod.get("status"))
    if status.get("phase") in OVER:
        return {}
    together: Counter[str] = Counter()
    largest: Counter[str] = Counter()
    for each in _containers(spec, "initContainers"):
        own = _requests(each)
        if each.get("restartPolicy") == "Always":  # a sidecar: it stays
            together.update(own)
        else:
            largest |= together + own
    for each in _containers(spec, "containers"):
        together.update(_requests(each))
    largest |= together
    return dict(largest + Counter(quantities(spec.get("overhead"))))


def _containers(spec: Mapping[str, Any], which: str) -> Iterable[Mapping[str, Any]]:
    return map(mapping, listed(spec.get(which))[:MOST_CONTAINERS])


def _requests(container: Mapping[str, Any]) -> Counter[str]:
    return Counter(quantities(mapping(container.get("resources")).get("requests")))
