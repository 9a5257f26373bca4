"""What the status of a profile says about the cluster."""

from __future__ import annotations

from typing import Any

import pytest
from slipway.operator.planning.stock import status_of
from slipway.operator.planning.supply import ProfileSupply
from support.builders.rendering import cpu, profile

H100 = profile("h100", nodeLabels={"gpu": "h100"}, otherNodeLabels=[{"cloud": "h100", "zone": "a"}, {"old": "1"}])


def message(it: Any = H100, **supply: Any) -> str:
    return str(status_of(it.spec, ProfileSupply(**supply), generation=1)["message"])


@pytest.mark.parametrize(
    ("supply", "says"),
    [
        ({"nodes": 1, "devices": 1, "free": 0}, "1 node has it, with 1 device. None is free."),
        (
            {"nodes": 3, "devices": 24, "free": 11, "most_free_on_a_node": 8},
            "3 nodes have it, with 24 devices. 11 free, at most 8 on one node.",
        ),
        ({"nodes": 1, "devices": 8}, "1 node has it, with 8 devices. How many are free is unknown."),
        (
            {"nodes": 2, "devices": 2, "free": 0, "out_of_use": 1, "can_grow": True, "growth": "NodePool gpu"},
            "2 nodes have it, with 2 devices. None is free. 1 node is cordoned or not ready. "
            "More would come if pods needed them: NodePool gpu.",
        ),
        (
            {"can_grow": True, "growth": "NodePool gpu"},
            "No node has it now; a pod that needs it would bring one: NodePool gpu.",
        ),
        ({}, "No node has it: none has gpu=h100 or cloud=h100, zone=a or one of 1 other sets of labels."),
        (
            {"without_devices": 2, "tainted": 1, "taints": ("team=a:NoSchedule",), "remarks": ("And more.",)},
            "No node has it: none has gpu=h100 or cloud=h100, zone=a or one of 1 other sets of labels. "
            "2 nodes more have its labels and no nvidia.com/gpu: check the device plugin or driver there. "
            "1 node more has a taint that the profile doesn't tolerate (team=a:NoSchedule): add it to tolerations if "
            "models may run there. And more.",
        ),
    ],
)
def test_it_is_said_in_sentences(supply: dict[str, Any], says: str) -> None:
    assert message(**supply) == says


def test_without_any_labels_no_labels_are_missing() -> None:
    assert message(cpu()) == "No node has it."


def test_of_cpus_it_is_said_how_many_replicas_fit() -> None:
    says = "2 nodes have room for 4 such replicas, if nothing else runs there."
    assert message(cpu(), nodes=2, devices=4) == says
    now = "There is room for 3 more now, and for 2 on one node at most."
    assert message(cpu(), nodes=2, devices=4, free=3, most_free_on_a_node=2) == f"{says} {now}"


def test_numbers_that_are_unknown_are_left_out() -> None:
    status = status_of(H100.spec, ProfileSupply(nodes=1, devices=8, most_on_a_node=8), generation=3)
    assert status["devices"] == {"allocatable": 8, "mostOnANode": 8}
    assert status["observedGeneration"] == 3


def test_it_is_bounded() -> None:
    status = status_of(H100.spec, ProfileSupply(remarks=("x" * 10_000,), growth="y" * 1000), generation=1)
    assert len(status["message"]) == 2048
    assert len(status["growth"]) == 512
