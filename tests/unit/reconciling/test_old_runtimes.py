"""When a ClusterServingRuntime of an older release goes, and when it stays."""

from __future__ import annotations

from typing import Any

import pytest
from kubernetes.aio.client import Configuration
from slipway.kube.kinds import CLUSTER_SERVING_RUNTIME, INFERENCE_SERVICE, Object
from slipway.reconciling.old_runtimes import OldRuntimes, runtimes_of
from slipway.reconciling.operator import Operator
from slipway.reconciling.options import parse
from support.turns import thing

CURRENT = "slipway-vllm-cuda-2.0.0-bbbbbbbb"


class Client:
    def __init__(self, *inference_services: Object) -> None:
        self.there, self.deleted = list(inference_services), list[str]()

    async def list(self, kind: Any, *, keep: Any) -> list[Object]:
        assert kind is INFERENCE_SERVICE
        return [keep(each) for each in self.there]

    async def delete(self, kind: Any, name: str, *, only: Object) -> None:
        assert (kind, only["metadata"]["name"]) == (CLUSTER_SERVING_RUNTIME, name)
        self.deleted.append(name)


class Store:
    def __init__(self, *runtimes: Object) -> None:
        self.there = list(runtimes)

    def all(self, _: Any) -> list[Object]:
        return self.there


def runtime(name: str, *, is_ours: bool = True, **metadata: Any) -> Object:
    labels = {"slipway.dev/runtime": "slipway-vllm-cuda"} if is_ours else {}
    return thing(CLUSTER_SERVING_RUNTIME, name, metadata={"labels": labels, **metadata})


def used(name: str) -> Object:
    return thing(INFERENCE_SERVICE, spec={"predictor": {"model": {"runtime": name}}})


def old_runtimes(
    client: Client, *there: Object, current: tuple[str, ...] = (CURRENT,), leads: bool = True
) -> OldRuntimes:
    store: Any = Store(*there)
    asked: Any = client
    return OldRuntimes(asked, store, current=current, keep=1.0, leads=lambda: leads)


async def test_where_some_namespaces_are_watched_alone_all_stay_since_who_else_uses_one_cannot_be_told() -> None:
    options = parse(["--runtimes=slipway-vllm-cuda=slipway-vllm-cuda-2.0.0-bbbbbbbb", "--watch-namespaces=chat"], {})
    assert not Operator(options, Configuration())._old_runtimes._current


async def test_one_that_nobody_uses_twice_in_a_row_goes() -> None:
    client = Client()
    old = old_runtimes(client, runtime("slipway-vllm-cuda-1.0.0-aaaaaaaa"), runtime(CURRENT))
    await old.look()
    assert client.deleted == []
    await old.look()
    assert client.deleted == ["slipway-vllm-cuda-1.0.0-aaaaaaaa"]


async def test_one_that_somebody_uses_stays() -> None:
    client = Client(used("slipway-vllm-cuda-1.0.0-aaaaaaaa"))
    old = old_runtimes(client, runtime("slipway-vllm-cuda-1.0.0-aaaaaaaa"))
    for _ in range(3):
        await old.look()
    assert client.deleted == []


async def test_one_that_was_used_in_between_is_given_as_long_again() -> None:
    client = Client()
    old = old_runtimes(client, runtime("slipway-vllm-cuda-1.0.0-aaaaaaaa"))
    await old.look()
    client.there = [used("slipway-vllm-cuda-1.0.0-aaaaaaaa")]
    await old.look()
    client.there = []
    await old.look()
    assert client.deleted == []


STAYS = [
    runtime(CURRENT),
    runtime("somebody-elses", is_ours=False),
    runtime("team-a-vllm-cuda-13"),
    runtime("slipway-vllm-cuda-1.0.0-aaaaaaaa", deletionTimestamp="2026-11-21T10:00:00Z"),
]


@pytest.mark.parametrize("it", STAYS, ids=["of this release", "of somebody else", "a copy of one", "on its way out"])
async def test_what_is_not_an_older_releases_is_left_alone(it: Object) -> None:
    client = Client()
    old = old_runtimes(client, it)
    for _ in range(3):
        await old.look()
    assert client.deleted == []


@pytest.mark.parametrize(("current", "leads"), [((), True), ((CURRENT,), False)])
async def test_nothing_goes_where_nobody_says_what_is_current_or_somebody_else_leads(
    current: tuple[str, ...], leads: bool
) -> None:
    client = Client()
    old = old_runtimes(client, runtime("slipway-vllm-cuda-1.0.0-aaaaaaaa"), current=current, leads=leads)
    for _ in range(3):
        await old.look()
    assert client.deleted == []


def test_a_runtime_is_used_by_any_part_and_where_kserve_has_chosen_it() -> None:
    spec = {"predictor": {"model": {"runtime": "a"}}, "transformer": {"model": {"runtime": "b"}}, "explainer": None}
    found = runtimes_of({"spec": spec, "status": {"clusterServingRuntimeName": "c"}})
    assert found == {"runtimes": ["a", "b", "c"]}
