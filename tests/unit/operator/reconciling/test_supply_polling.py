"""What is read besides nodes, how often, and what is unknown without the rights."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from slipway.kube.errors import Call, KindMissingError, TooLargeError, UnavailableError
from slipway.objects.kinds import DEVICE_CLASS, NODE_POOL, POD, RESOURCE_CLAIM, RESOURCE_SLICE, Kind, Object
from slipway.operator.reconciling import supply_polling
from slipway.operator.reconciling.supply_polling import SupplyPolling
from support.builders.nodes import node_pool
from support.builders.objects import manifest

CALL = Call("list", "it", "")


def pod(node: str, gpus: int = 1, *, phase: str = "Running", name: str = "p", **spec: Any) -> Object:
    container = {"name": "c", "resources": {"requests": {"nvidia.com/gpu": str(gpus), "cpu": "500m"}}}
    return manifest(
        "v1", "Pod", name, spec={"nodeName": node, "containers": [container], **spec}, status={"phase": phase}
    )


class Client:
    """Objects by kind; what may be listed; what fails."""

    def __init__(self) -> None:
        self.there: dict[Kind, list[Object]] = {POD: [], NODE_POOL: []}
        self.allowed = {POD, NODE_POOL, DEVICE_CLASS, RESOURCE_SLICE, RESOURCE_CLAIM}
        self.fails: dict[str, Exception] = {}
        self.lists: list[str] = []
        self.reviews: list[Kind] = []

    async def may_list(self, kind: Kind) -> bool:
        self.reviews.append(kind)
        return kind in self.allowed

    async def serves(self, kind: Kind) -> bool:
        return kind in self.there

    async def list(self, kind: Kind, *, keep: Any, at_most: int, field_selector: str = "") -> list[Object]:
        where = field_selector.partition("=")[2]
        self.lists.append(where or kind.plural)
        if error := self.fails.get(where or kind.plural):
            raise error
        if kind not in self.there:
            raise KindMissingError(CALL, "no such kind")
        found = [each for each in self.there[kind] if not where or each["spec"]["nodeName"] == where]
        return [keep(each) for each in found]


class Polling:
    def __init__(self, *nodes: str, classes: bool = False) -> None:
        self.client, self.nodes, self.time, self.leads, self.polls = Client(), list(nodes), 0.0, True, 0
        client: Any = self.client
        self.it = SupplyPolling(
            client,
            nodes=lambda: self.nodes,
            wants_classes=lambda: classes,
            leads=lambda: self.leads,
            on_polled=self._polled,
            clock=lambda: self.time,
        )

    def _polled(self) -> None:
        self.polls += 1

    async def poll(self, *, after: float = 100.0) -> supply_polling.Polled:
        self.time += after
        self.client.lists.clear()
        await self.it.poll()
        return self.it.polled


async def test_pods_are_listed_on_nodes_with_devices_alone() -> None:
    polling = Polling("a", "b")
    polling.client.there[POD] = [pod("a", 2), pod("a", 1, name="q"), pod("c", 4)]
    found = await polling.poll()
    assert found.used == {"a": {"nvidia.com/gpu": 3, "cpu": 1000}, "b": {}}
    assert polling.client.lists == ["a", "b", "nodepools"]


async def test_a_pod_that_has_ended_keeps_nothing() -> None:
    polling = Polling("a")
    polling.client.there[POD] = [pod("a", phase="Succeeded"), pod("a", phase="Failed")]
    assert (await polling.poll()).used == {"a": {}}


async def test_between_two_full_polls_only_what_has_changed_is_read() -> None:
    polling = Polling("a", "b")
    await polling.poll()
    polling.nodes.append("c")
    polling.it.touch(["b", "unknown"])
    await polling.poll(after=1)
    assert polling.client.lists == ["b", "c"]


async def test_a_replica_that_does_not_lead_remembers_no_nodes() -> None:
    polling = Polling("a")
    await polling.poll()
    polling.leads = False
    polling.it.touch(f"node-{number}" for number in range(1000))
    assert not polling.it._touched
    polling.leads = True
    await polling.poll(after=1)
    assert polling.client.lists == ["a", "nodepools"], "what has changed meanwhile is read all the same"


async def test_a_node_that_is_gone_is_forgotten() -> None:
    polling = Polling("a", "b")
    await polling.poll()
    polling.nodes.remove("a")
    assert (await polling.poll(after=1)).used == {"b": {}}


async def test_without_the_right_to_list_pods_it_is_unknown_what_is_free_and_nothing_is_requested() -> None:
    polling = Polling("a")
    polling.client.allowed.remove(POD)
    found = await polling.poll()
    assert found.used == {}
    assert found.remarks == (supply_polling.NO_PODS,)
    assert "a" not in polling.client.lists


@pytest.mark.parametrize("error", [TooLargeError(CALL, "too large"), UnavailableError(CALL, "away")])
async def test_of_a_node_whose_pods_can_not_be_read_it_is_unknown(error: Exception) -> None:
    polling = Polling("a", "b")
    await polling.poll()
    polling.client.fails["a"] = error
    assert (await polling.poll()).used == {"b": {}}


async def test_node_pools_are_read_where_karpenter_is() -> None:
    polling = Polling()
    polling.client.there[NODE_POOL] = [node_pool("gpu")]
    assert [each.name for each in (await polling.poll()).pools] == ["gpu"]


async def test_a_cluster_without_karpenter_is_queried_again_after_ten_minutes() -> None:
    polling = Polling()
    del polling.client.there[NODE_POOL]
    assert (await polling.poll()).remarks == ()
    await polling.poll()
    assert polling.client.lists == []
    await polling.poll(after=supply_polling.REVIEW_EVERY)
    assert polling.client.lists == ["nodepools"]


async def test_it_is_said_that_node_pools_exist_and_may_not_be_read() -> None:
    polling = Polling()
    polling.client.allowed.remove(NODE_POOL)
    [remark] = (await polling.poll()).remarks
    assert remark == "Slipway may not list nodepools (accelerators.supply.nodePools in the values of its chart)."


async def test_a_list_that_fails_is_said_and_not_fatal() -> None:
    polling = Polling("a")
    polling.client.fails["nodepools"] = UnavailableError(CALL, "away")
    found = await polling.poll()
    assert found.used == {"a": {}}
    assert found.remarks[0].startswith("nodepools could not be listed:")


async def test_device_classes_are_read_if_a_profile_has_one() -> None:
    polling = Polling(classes=True)
    assert (await polling.poll()).device_classes is None
    polling.client.there |= {DEVICE_CLASS: [manifest("v1", "DeviceClass", "gpu")], RESOURCE_SLICE: []}
    found = (await polling.poll(after=supply_polling.REVIEW_EVERY)).device_classes
    assert found
    assert found.on_nodes == {"gpu": {}}
    assert found.free_on_nodes is None  # the claims can't be listed
    assert "deviceclasses" not in (await lists(Polling()))


async def lists(polling: Polling) -> list[str]:
    await polling.poll()
    return polling.client.lists


async def test_rights_are_reviewed_every_ten_minutes() -> None:
    polling = Polling("a")
    for _ in range(5):
        await polling.poll()
    assert polling.client.reviews.count(POD) == 1
    await polling.poll(after=supply_polling.REVIEW_EVERY)
    assert polling.client.reviews.count(POD) == 2


# --- when ------------------------------------------------------------------------------------------------------------


async def test_a_reconcile_waits_for_a_poll_and_not_for_a_second_one() -> None:
    polling = Polling("a")
    running = asyncio.create_task(polling.it.run())
    polling.time = 100.0
    try:
        async with asyncio.timeout(5):
            await asyncio.gather(*(polling.it.freshen() for _ in range(10)))
        assert 1 <= polling.polls <= 3
        assert polling.it.is_fresh
        await polling.it.freshen()  # at once
    finally:
        running.cancel()


async def test_it_does_not_wait_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supply_polling, "FRESH_WITHIN", 0.01)
    await Polling("a").it.freshen()  # nothing polls


async def test_what_is_outdated_is_read_again_but_no_sooner_than_a_reading_gets_old() -> None:
    polling = Polling("a")
    await polling.poll()
    polling.time += supply_polling.FRESH_FOR - 0.02
    for _ in range(3):
        polling.it.outdated()
    assert polling.it.is_fresh
    await asyncio.sleep(0.05)
    assert not polling.it.is_fresh
    await polling.poll(after=0)
    assert polling.client.lists == ["a", "nodepools"]


async def test_a_replica_that_does_not_lead_reads_nothing() -> None:
    polling = Polling("a")
    polling.leads = False
    running = asyncio.create_task(polling.it.run())
    await asyncio.sleep(0.02)
    running.cancel()
    assert polling.client.lists == []


async def test_a_bug_does_not_end_it() -> None:
    polling = Polling("a")
    polling.client.fails["a"] = RuntimeError("a bug")
    await polling.poll()
    assert polling.polls == 1
