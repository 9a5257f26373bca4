"""What a pod keeps from others, by the scheduler's rules."""

from __future__ import annotations

from typing import Any

import pytest
from slipway.operator.planning.stock.pods import requested_by, used_by


def container(gpus: int, **fields: Any) -> dict[str, Any]:
    return {"resources": {"requests": {"gpu": str(gpus)}}, **fields}


SIDECAR = {"restartPolicy": "Always"}


@pytest.mark.parametrize(
    ("spec", "gpus"),
    [
        ({"containers": [container(1), container(2)]}, 3),
        ({"containers": [container(1)], "initContainers": [container(4)]}, 4),
        ({"containers": [container(3)], "initContainers": [container(1), container(2)]}, 3),
        ({"containers": [container(1)], "initContainers": [container(1, **SIDECAR), container(3)]}, 4),
        ({"containers": [container(1)], "initContainers": [container(3), container(1, **SIDECAR)]}, 3),
        ({"containers": [container(1)], "overhead": {"gpu": "1"}}, 2),
        ({"containers": [{}]}, 0),
        ({}, 0),
    ],
)
def test_a_pod_keeps_what_its_containers_request(spec: dict[str, Any], gpus: int) -> None:
    assert requested_by({"spec": spec}).get("gpu", 0) == gpus


def test_a_pod_that_is_being_deleted_keeps_it() -> None:
    pod = {"metadata": {"deletionTimestamp": "now"}, "spec": {"containers": [container(1)]}}
    assert used_by([pod, pod]) == {"gpu": 2}


@pytest.mark.parametrize("odd", [None, 5, "x", [], [None], {"requests": 5}, {"requests": {"gpu": None}}])
def test_nothing_that_a_tenant_writes_makes_it_raise(odd: Any) -> None:
    pods: list[Any] = [{"spec": odd}, {"spec": {"containers": odd}}, {"spec": {"containers": [{"resources": odd}]}}]
    assert used_by(pods) == {}
