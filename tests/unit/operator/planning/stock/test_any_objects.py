"""No object of the cluster makes the Supply raise, whatever its form."""

from __future__ import annotations

import random
from typing import Any

import pytest
from slipway.operator.planning.stock import Cluster, device_classes, facts_of, pool_of, supply_of
from support.builders.nodes import node, node_pool, requires
from support.builders.objects import Object
from support.builders.rendering import profile, shipped_profiles

ODD: list[Any] = [None, "", 0, -1, True, 1.5, "1e999999", "9" * 400, "-5", "{{", [], [None], {}, {"a": None}, "ü" * 70]
PROFILES = [*shipped_profiles(), profile("dra", deviceClass="gpu", nodeLabels={})]
NODE = node("a", {"gpu": "x", "nvidia.com/cuda.driver.major": "535", "amd.com/gpu.vram": "192G"}, gpu=4) | {
    "spec": {"taints": [{"key": "a", "value": "b", "effect": "NoSchedule"}], "unschedulable": True}
}
POOL = node_pool("p", requires("a", "b"), labels={"a": "b"}, limits={"cpu": "1"}, taints=[{"key": "a"}])
CLASS: Object = {"metadata": {"name": "gpu"}, "spec": {"selectors": [{"cel": {"expression": "device.driver == 'a'"}}]}}
SLICE: Object = {
    "spec": {
        "driver": "a",
        "nodeName": "a",
        "pool": {"name": "a", "generation": 1},
        "devices": [{"name": "d", "attributes": {"type": {"string": "gpu"}}}],
    }
}
CLAIM: Object = {"status": {"allocation": {"devices": {"results": [{"driver": "a", "pool": "a", "device": "d"}]}}}}


def mutated(value: Any, chance: random.Random) -> Any:
    """The same, with values of any kind in some of its places."""
    if chance.random() < 0.15:
        return chance.choice(ODD)
    if isinstance(value, dict):
        return {key: mutated(each, chance) for key, each in value.items() if chance.random() > 0.1}
    if isinstance(value, list):
        return [mutated(each, chance) for each in value]
    return value


def an_object(value: Object, chance: random.Random) -> Object:
    found = mutated(value, chance)
    return found if isinstance(found, dict) else {}


@pytest.mark.parametrize("seed", range(20))
def test_no_object_makes_it_raise(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(100):
        cluster = Cluster(
            nodes=[facts_of(an_object(NODE, chance)) for _ in range(3)],
            used={"a": {"nvidia.com/gpu": 2}},
            pools=[pool_of(an_object(POOL, chance)) for _ in range(3)],
            device_classes=device_classes(
                [an_object(CLASS, chance)], [an_object(SLICE, chance)], [an_object(CLAIM, chance)]
            ),
        )
        found = supply_of(PROFILES, cluster)
        assert found.profiles
        assert all((each.free or 0) <= each.devices for each in found.profiles.values())
