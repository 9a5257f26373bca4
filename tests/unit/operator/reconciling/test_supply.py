"""When the Supply is computed again, and whom a change of it concerns."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime
from typing import Any

import pytest
from slipway.api.acceleratorprofile import AcceleratorProfile
from slipway.objects.kinds import Object
from slipway.operator.planning.stock import supply_of
from slipway.operator.planning.supply import ProfileSupply
from slipway.operator.reconciling import supply as module
from slipway.operator.reconciling.supply import MOST_OF_CPUS, SupplyCache
from slipway.operator.reconciling.supply_polling import Polled
from support.builders.nodes import labelled, node
from support.builders.rendering import cpu, profile

LABELS = {"gpu": "h100"}
GPU = profile("gpu", nodeLabels=LABELS, tolerations=[])


class Cluster:
    """Nodes and profiles as the caches would show them, and the changes that were reported."""

    def __init__(self, *nodes: Object) -> None:
        self.nodes = {each["metadata"]["name"]: each for each in nodes}
        self.profiles: list[AcceleratorProfile] = [GPU, cpu()]
        self.time, self.is_filled = 0.0, True
        self.changes: list[str] = []
        self.cache = SupplyCache(
            node=self.nodes.get,
            profiles=lambda: self.profiles,
            on_change=lambda is_more: self.changes.append("more" if is_more else "free"),
            is_filled=lambda: self.is_filled,
            clock=lambda: self.time,
        )
        for name in self.nodes:
            self.cache.node_changed(name)

    def put(self, it: Object) -> bool:
        self.nodes[it["metadata"]["name"]] = it
        return self.cache.node_changed(it["metadata"]["name"])

    def remove(self, name: str) -> bool:
        del self.nodes[name]
        return self.cache.node_changed(name)

    def now(self, *, after: float = 10.0, name: str = "gpu") -> ProfileSupply:
        self.time += after
        found = self.cache.supply().of(name)
        assert found
        return found


async def test_until_the_caches_are_filled_nothing_is_known_and_then_all_is() -> None:
    """A node that wasn't listed yet would count as missing, and every model would be refused for a moment."""
    cluster = Cluster()
    cluster.is_filled = False
    cluster.cache.profiles_changed()
    assert cluster.cache.supply().of("gpu") is None
    cluster.put(node("a", LABELS, gpu=4))
    cluster.is_filled = True
    assert cluster.now(after=0).devices == 4


async def test_nodes_that_come_and_go_change_the_supply() -> None:
    cluster = Cluster(node("a", LABELS, gpu=4))
    assert cluster.now().devices == 4
    assert cluster.put(node("b", LABELS, gpu=8))
    assert cluster.now().devices == 12
    assert cluster.remove("a")
    assert cluster.now().devices == 8


async def test_a_heartbeat_changes_nothing() -> None:
    cluster = Cluster(node("a", LABELS, gpu=4))
    cluster.now()
    beat = node("a", LABELS, gpu=4)
    beat["status"]["conditions"] = [{"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-11-30T00:00:00Z"}]
    before = cluster.cache.supply()
    assert not cluster.put(beat)
    cluster.time += 100
    assert cluster.cache.supply() is before


async def test_many_changes_cost_one_computation() -> None:
    cluster = Cluster(node("a", LABELS, gpu=4))
    cluster.now()
    before = cluster.cache.supply()
    for number in range(100):
        cluster.put(node(f"n{number}", LABELS, gpu=1))
        assert cluster.cache.supply() is before
    assert cluster.now(after=module.PAUSE).nodes == 101


async def test_what_was_put_off_is_computed_without_a_question() -> None:
    cluster = Cluster(node("a", LABELS, gpu=4))
    await asyncio.sleep(0)
    await asyncio.sleep(0.01)
    assert cluster.changes == ["more"]


async def test_a_first_node_concerns_all_and_one_more_of_the_same_none() -> None:
    cluster = Cluster()
    cluster.now()
    cluster.changes.clear()
    cluster.put(node("a", LABELS, gpu=4))
    cluster.now()
    assert cluster.changes == ["more"]
    cluster.put(node("b", LABELS, gpu=4))
    cluster.now()
    assert cluster.changes == ["more"]


async def test_what_pods_take_concerns_only_those_that_wait() -> None:
    cluster = Cluster(node("a", LABELS, gpu=4))
    cluster.profiles = [GPU]
    cluster.cache.polled(Polled(used={"a": {}}))
    assert cluster.now().free == 4
    cluster.changes.clear()
    cluster.cache.polled(Polled(used={"a": {"nvidia.com/gpu": 3}}))
    assert cluster.now().free == 1
    cluster.cache.polled(Polled(used={"a": {"nvidia.com/gpu": 3, "memory": 5}}))
    cluster.now()
    assert cluster.changes == ["free"]


async def test_slightly_less_host_memory_concerns_nobody() -> None:
    cluster = Cluster(node("a", LABELS, gpu=4, memory="64Gi"))
    cluster.now()
    cluster.changes.clear()
    cluster.put(node("b", LABELS, gpu=4, memory=str((64 << 30) + 4096)))
    cluster.remove("a")
    cluster.now()
    assert cluster.changes == []


async def test_whether_free_devices_are_known_concerns_only_those_that_wait() -> None:
    cluster = Cluster(node("a", LABELS, gpu=4))
    cluster.profiles = [GPU]
    cluster.now()
    cluster.changes.clear()
    cluster.cache.polled(Polled(used={"a": {}}))
    cluster.now()
    assert cluster.changes == ["free"]


async def test_the_supply_says_when_it_was_read_and_is_the_same_without_that() -> None:
    cluster = Cluster(node("a", LABELS, gpu=4))
    cluster.cache.polled(Polled(used={"a": {}}, read_at=datetime(2026, 11, 30, tzinfo=UTC)))
    cluster.now()
    before = cluster.cache.supply()
    cluster.cache.polled(Polled(used={"a": {}}, read_at=datetime(2026, 12, 1, tzinfo=UTC)))
    after = cluster.cache.supply()
    assert before.read_at == datetime(2026, 11, 30, tzinfo=UTC).timestamp()
    assert after.read_at == datetime(2026, 12, 1, tzinfo=UTC).timestamp()
    assert after == before


async def test_a_profile_that_is_added_is_counted() -> None:
    cluster = Cluster(node("a", LABELS | {"other": "yes"}, gpu=4))
    cluster.now()
    cluster.profiles.append(profile("other", nodeLabels={"other": "yes"}, tolerations=[]))
    cluster.cache.profiles_changed()
    assert cluster.now(name="other").nodes == 1


async def test_a_failure_leaves_the_last_supply() -> None:
    cluster = Cluster(node("a", LABELS, gpu=4))
    before = cluster.now()
    cluster.profiles.append(GPU.model_copy(update={"spec": None}))
    cluster.put(node("b", LABELS, gpu=4))
    assert cluster.now() == before


async def test_without_profiles_of_cpus_only_nodes_with_devices_are_polled() -> None:
    cluster = Cluster(node("a", LABELS, gpu=4), node("b"), node("c", gpu=1), labelled(node("d"), gpu="h100"))
    cluster.profiles[:] = [GPU]
    assert sorted(cluster.cache.nodes_to_read()) == ["a", "c"]


async def test_nodes_of_cpus_are_polled_as_long_as_they_are_few() -> None:
    amx = {"amx": "true"}
    cluster = Cluster(node("a", gpu=4), node("b", amx), node("c"))
    cluster.profiles[:] = [GPU, cpu("cpu-amx", nodeLabels=amx)]
    cluster.cache.profiles_changed()
    assert sorted(cluster.cache.nodes_to_read()) == ["a", "b"]
    for number in range(MOST_OF_CPUS):
        cluster.put(node(f"cpu-{number}", amx))
    assert sorted(cluster.cache.nodes_to_read()) == ["a"]


@pytest.mark.parametrize(("more", "free"), [(0, 1), (MOST_OF_CPUS, None)])
async def test_what_is_free_of_cpus_is_unknown_where_they_are_not_polled(more: int, free: int | None) -> None:
    """8 CPUs and 32 GiB hold two replicas of the profile."""
    cluster = Cluster(node("a"), *(node(f"other-{number}", LABELS) for number in range(more)))
    cluster.cache.polled(Polled(used={"a": {"memory": 16 << 30}}))
    assert cluster.now(name="cpu").free == free


async def test_whether_claims_are_of_interest_depends_on_the_profiles() -> None:
    cluster = Cluster()
    assert not cluster.cache.has_claims
    cluster.profiles.append(profile("claimed", deviceClass="gpu.nvidia.com"))
    cluster.cache.profiles_changed()
    assert cluster.cache.has_claims  # at once, because the poll that follows the change asks


# --- with many nodes -------------------------------------------------------------------------------------------------


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """All numbers of nodes count as large; for each computation, whether it is done outside of the event loop."""
    seen: list[bool] = []
    loop, count = threading.get_ident(), supply_of

    def counted(profiles: Any, cluster: Any) -> Any:
        seen.append(threading.get_ident() != loop)
        return count(profiles, cluster)

    monkeypatch.setattr(module, "supply_of", counted)
    monkeypatch.setattr(module, "LARGE", 0)
    return seen


async def test_many_nodes_are_counted_outside_of_the_event_loop(threads: list[bool]) -> None:
    cluster = Cluster(node("a", LABELS, gpu=4))
    assert cluster.cache.supply().of("gpu") is None
    await cluster.cache.settle()
    assert cluster.now(after=0).devices == 4
    assert threads == [True]


async def test_what_changes_while_many_nodes_are_counted_is_counted_after_it(
    threads: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAUSE", 0.0)
    cluster = Cluster(node("a", LABELS, gpu=4))
    cluster.cache.supply()
    for number in range(5):
        cluster.put(node(f"n{number}", LABELS, gpu=1))
        cluster.cache.supply()
    await cluster.cache.settle()
    assert cluster.now(after=0).devices == 9
    assert threads == [True, True]


async def test_a_failure_outside_of_the_event_loop_leaves_the_last_supply(threads: list[bool]) -> None:
    cluster = Cluster(node("a", LABELS, gpu=4))
    await cluster.cache.settle()
    cluster.profiles.append(GPU.model_copy(update={"spec": None}))
    cluster.cache._changed()
    cluster.time += 10
    await cluster.cache.settle()
    assert cluster.now(after=0).devices == 4


async def test_a_reconcile_does_not_wait_for_caches_that_are_not_filled() -> None:
    cluster = Cluster(node("a", LABELS, gpu=4))
    cluster.is_filled = False
    await cluster.cache.settle()
    assert cluster.cache.supply().of("gpu") is None


async def test_a_reconcile_does_not_wait_long_for_the_count(
    threads: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster(node("a", LABELS, gpu=4))
    monkeypatch.setattr(module, "SETTLES_WITHIN", 0.01)
    cluster.cache.supply()
    await cluster.cache.settle()
    cluster.time += 1e6
    cluster.cache._took = 1e9  # it is computed again only after many times as long as it takes
    cluster.put(node("b", LABELS, gpu=4))
    await cluster.cache.settle()
    assert len(threads) <= 1
