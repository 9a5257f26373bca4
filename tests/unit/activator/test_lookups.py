"""Who has an address: asked seldom, remembered for a moment, and never guessed."""

from __future__ import annotations

import asyncio

import pytest
from slipway.activator.lookups import BURST, FRESH, MOST_LABELS, Lookups
from slipway.activator.rates import Bucket
from support.neighbours import Neighbours


@pytest.fixture
def neighbours() -> Neighbours:
    neighbours = Neighbours()
    neighbours.pod("10.0.0.1", namespace="shop", labels={"app": "web"})
    return neighbours


def lookups(neighbours: Neighbours) -> Lookups:
    return Lookups(neighbours.client, clock=neighbours.clock, look_again=())


async def names(lookups: Lookups, address: str) -> list[str] | None:
    found = await lookups.pods_at(address)
    return None if found is None else [pod["metadata"]["name"] for pod in found]


async def test_the_pod_of_an_address_is_found_with_the_labels_of_its_namespace(neighbours: Neighbours) -> None:
    found = lookups(neighbours)
    [pod] = await found.pods_at("10.0.0.1") or ()
    assert pod["metadata"]["labels"] == {"app": "web"}
    assert await found.labels_of("shop") == {"kubernetes.io/metadata.name": "shop"}


async def test_of_a_pod_what_is_asked_of_it_is_kept_and_no_more(neighbours: Neighbours) -> None:
    neighbours.pods[0]["metadata"]["annotations"] = {"large": "x" * 200_000}
    neighbours.pods[0]["spec"]["containers"] = [{"env": ["x"] * 10_000}]
    [pod] = await lookups(neighbours).pods_at("10.0.0.1") or ()
    metadata = {"name": "pod-0", "namespace": "shop", "labels": {"app": "web"}}
    assert pod == {"metadata": metadata, "spec": {"hostNetwork": False}}


async def test_a_pod_with_more_labels_than_are_kept_is_not_taken_for_one_without_a_label(
    neighbours: Neighbours,
) -> None:
    neighbours.pods[0]["metadata"]["labels"] = {f"l{each}": "" for each in range(MOST_LABELS + 1)}
    [pod] = await lookups(neighbours).pods_at("10.0.0.1") or ()
    assert pod["spec"]["hostNetwork"]  # whose address is shared, so that it is let in nowhere
    assert pod["metadata"]["labels"] == {}


async def test_pods_that_have_ended_have_no_address_any_more(neighbours: Neighbours) -> None:
    neighbours.pods[0]["status"]["phase"] = "Failed"
    assert await names(lookups(neighbours), "10.0.0.1") == []


@pytest.mark.parametrize("address", ["10.0.0.1", "10.0.0.2"])
async def test_an_answer_holds_for_a_moment_a_bad_one_too(neighbours: Neighbours, address: str) -> None:
    found = lookups(neighbours)
    for _ in range(3):
        await found.pods_at(address)
    assert len(neighbours.asked) == 1
    neighbours.clock.now += FRESH
    await found.pods_at(address)
    assert len(neighbours.asked) == 2


async def test_a_pod_that_changed_is_seen_after_that_moment(neighbours: Neighbours) -> None:
    found = lookups(neighbours)
    assert await names(found, "10.0.0.1") == ["pod-0"]
    neighbours.pods.clear()
    neighbours.clock.now += FRESH
    assert await names(found, "10.0.0.1") == []


async def test_a_pod_that_has_just_begun_is_looked_for_again_before_it_is_called_nobody(neighbours: Neighbours) -> None:
    patient = Lookups(neighbours.client, clock=neighbours.clock, look_again=(0, 0))
    neighbours.then = lambda: neighbours.pod("10.0.0.7")
    assert await names(patient, "10.0.0.7") == ["pod-1"]
    assert len(neighbours.asked) == 2


async def test_and_not_for_ever(neighbours: Neighbours) -> None:
    patient = Lookups(neighbours.client, clock=neighbours.clock, look_again=(0, 0))
    assert await names(patient, "10.0.0.7") == []
    assert len(neighbours.asked) == 3


async def test_many_who_ask_at_once_ask_once(neighbours: Neighbours) -> None:
    neighbours.answers.clear()
    found = lookups(neighbours)
    waiting = [asyncio.create_task(names(found, "10.0.0.1")) for _ in range(50)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    neighbours.answers.set()
    assert await asyncio.gather(*waiting[1:]) == [["pod-0"]] * 49
    assert len(neighbours.asked) == 1


async def test_without_an_answer_it_cannot_be_told(neighbours: Neighbours) -> None:
    neighbours.is_away = True
    found = lookups(neighbours)
    assert await names(found, "10.0.0.1") is None
    assert await found.labels_of("shop") is None


async def test_a_namespace_that_is_gone_has_no_labels(neighbours: Neighbours) -> None:
    assert await lookups(neighbours).labels_of("gone") == {}


async def test_a_flood_of_addresses_asks_a_bounded_number_of_times(neighbours: Neighbours) -> None:
    found = lookups(neighbours)
    answers = [await names(found, f"10.1.{number // 256}.{number % 256}") for number in range(BURST * 4)]
    assert len(neighbours.asked) == BURST
    assert answers == [[]] * BURST + [None] * BURST * 3


async def test_a_flood_does_not_shut_out_who_has_been_seen(neighbours: Neighbours) -> None:
    found = lookups(neighbours)
    await names(found, "10.0.0.1")
    neighbours.clock.now += FRESH
    for number in range(BURST * 4):
        await names(found, f"10.1.{number // 256}.{number % 256}")
    assert await names(found, "10.0.0.1") == ["pod-0"]


def test_a_bucket_gives_a_burst_and_then_at_its_rate() -> None:
    bucket = Bucket(2.0, 3)
    assert [bucket.take(0.0) for _ in range(4)] == [True, True, True, False]
    assert bucket.wait(0.25) == 0.25
    assert [bucket.take(0.5), bucket.take(0.5)] == [True, False]
    assert [bucket.take(100.0) for _ in range(4)] == [True, True, True, False]


def test_a_clock_that_goes_back_gives_nothing() -> None:
    bucket = Bucket(1.0, 1)
    assert bucket.take(100.0)
    assert not bucket.take(50.0)
    assert not bucket.take(50.5)
