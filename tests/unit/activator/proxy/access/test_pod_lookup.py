"""Which pod has an address: looked up seldom, cached for a moment, and never guessed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest
from slipway.activator.proxy.access.pod_lookup import (
    BURST,
    FRESH,
    HOLDS,
    LARGEST,
    MOST_LABELS,
    PER_SECOND,
    UNKNOWN_POD,
    WAIT,
    PodLookup,
)
from slipway.activator.proxy.access.query_limiter import WAITING
from slipway.activator.proxy.access.token_bucket import TokenBucket
from support.fakes import virtual_time
from support.fakes.access_api import AccessApi
from support.fakes.virtual_time import now


@pytest.fixture
def api() -> AccessApi:
    api = AccessApi()
    api.pod("10.0.0.1", namespace="shop", labels={"app": "web"})
    return api


def lookups(api: AccessApi) -> PodLookup:
    return PodLookup(api.client, clock=api.clock, again_after=())


async def names(lookups: PodLookup, address: str) -> list[str] | None:
    found = await lookups.pods_at(address)
    return None if found is None else [pod["metadata"]["name"] for pod in found]


async def test_the_pod_of_an_address_is_found_with_the_labels_of_its_namespace(api: AccessApi) -> None:
    found = lookups(api)
    [pod] = await found.pods_at("10.0.0.1") or ()
    assert pod["metadata"]["labels"] == {"app": "web"}
    assert await found.labels_of("shop") == {"kubernetes.io/metadata.name": "shop"}


async def test_of_a_pod_only_the_labels_that_are_needed_are_stored(api: AccessApi) -> None:
    api.pods[0]["metadata"]["annotations"] = {"large": "x" * 200_000}
    api.pods[0]["spec"]["containers"] = [{"env": ["x"] * 10_000}]
    [pod] = await lookups(api).pods_at("10.0.0.1") or ()
    metadata = {"name": "pod-0", "namespace": "shop", "labels": {"app": "web"}}
    assert pod == {"metadata": metadata, "spec": {"hostNetwork": False}}


async def test_a_pod_with_more_labels_than_are_stored_is_not_mistaken_for_one_without_a_label(
    api: AccessApi,
) -> None:
    api.pods[0]["metadata"]["labels"] = {f"l{each}": "" for each in range(MOST_LABELS + 1)}
    [pod] = await lookups(api).pods_at("10.0.0.1") or ()
    assert pod["spec"]["hostNetwork"]  # its address is shared, so that it is admitted nowhere
    assert pod["metadata"]["labels"] == {}


async def test_a_pod_that_is_too_large_to_be_read_is_admitted_nowhere_whatever_pod_had_the_address_before(
    api: AccessApi,
) -> None:
    found = lookups(api)
    assert await names(found, "10.0.0.1") == ["pod-0"]
    api.pods[0]["spec"]["containers"] = [{"env": ["x" * LARGEST]}]
    api.clock.now += FRESH
    assert await found.pods_at("10.0.0.1") == (UNKNOWN_POD,)


async def test_pods_that_have_ended_have_no_address_any_more(api: AccessApi) -> None:
    api.pods[0]["status"]["phase"] = "Failed"
    assert await names(lookups(api), "10.0.0.1") == []


@pytest.mark.parametrize("address", ["10.0.0.1", "10.0.0.2"])
async def test_a_result_holds_for_a_moment_and_a_failure_too(api: AccessApi, address: str) -> None:
    found = lookups(api)
    for _ in range(3):
        await found.pods_at(address)
    assert len(api.requests) == 1
    api.clock.now += FRESH
    await found.pods_at(address)
    assert len(api.requests) == 2


async def test_a_changed_pod_is_seen_after_that_moment(api: AccessApi) -> None:
    found = lookups(api)
    assert await names(found, "10.0.0.1") == ["pod-0"]
    api.pods.clear()
    api.clock.now += FRESH
    assert await names(found, "10.0.0.1") == []


async def test_a_pod_that_has_just_started_is_looked_up_again_before_it_counts_as_unknown(
    api: AccessApi,
) -> None:
    lookup = PodLookup(api.client, clock=api.clock, again_after=(0, 0))
    api.after_pods = lambda: api.pod("10.0.0.7")
    assert await names(lookup, "10.0.0.7") == ["pod-1"]
    assert len(api.requests) == 2


async def test_an_unknown_address_is_not_looked_up_for_ever(api: AccessApi) -> None:
    lookup = PodLookup(api.client, clock=api.clock, again_after=(0, 0))
    assert await names(lookup, "10.0.0.7") == []
    assert len(api.requests) == 3


async def test_concurrent_lookups_of_an_address_share_one_request(api: AccessApi) -> None:
    api.answers.clear()
    found = lookups(api)
    waiting = [asyncio.create_task(names(found, "10.0.0.1")) for _ in range(50)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    api.answers.set()
    assert await asyncio.gather(*waiting[1:]) == [["pod-0"]] * 49
    assert len(api.requests) == 1


async def test_without_a_response_the_lookup_is_undecided(api: AccessApi) -> None:
    api.is_away = True
    found = lookups(api)
    assert await names(found, "10.0.0.1") is None
    assert await found.labels_of("shop") is None


async def test_a_deleted_namespace_has_no_labels(api: AccessApi) -> None:
    assert await lookups(api).labels_of("gone") == {}


async def test_while_the_api_server_is_away_a_seen_pod_is_known_for_a_while(api: AccessApi) -> None:
    found = lookups(api)
    await names(found, "10.0.0.1")
    await names(found, "10.0.0.2")
    api.is_away = True
    api.clock.now += FRESH
    assert await names(found, "10.0.0.1") == ["pod-0"]
    assert await names(found, "10.0.0.2") is None
    api.clock.now += HOLDS - FRESH
    assert await names(found, "10.0.0.1") is None


async def test_an_outage_does_not_cause_more_lookups(api: AccessApi) -> None:
    found = lookups(api)
    await names(found, "10.0.0.1")
    api.is_away = True
    api.clock.now += FRESH
    await names(found, "10.0.0.1")
    queries = len(api.requests)
    for _ in range(5):
        await names(found, "10.0.0.1")
    assert len(api.requests) == queries


# --- in some namespaces alone ----------------------------------------------------------------------------------------


def in_chat_and_shop(api: AccessApi) -> PodLookup:
    return PodLookup(api.client, clock=api.clock, again_after=(), namespaces=("chat", "shop"))


async def test_where_namespaces_are_named_pods_are_looked_up_only_there(api: AccessApi) -> None:
    api.pod("10.0.0.2", namespace="elsewhere")
    found = in_chat_and_shop(api)
    assert await names(found, "10.0.0.1") == ["pod-0"]
    assert await names(found, "10.0.0.2") == []
    assert {path.partition("?")[0] for path in api.requests} == {
        "/api/v1/namespaces/chat/pods",
        "/api/v1/namespaces/shop/pods",
    }


async def test_a_namespace_without_permission_does_not_prevent_lookups_in_the_others(
    api: AccessApi,
) -> None:
    api.closed.add("chat")
    assert await names(in_chat_and_shop(api), "10.0.0.1") == ["pod-0"]


async def test_while_the_api_server_is_away_lookups_by_namespace_are_undecided_too(api: AccessApi) -> None:
    api.is_away = True
    assert await names(in_chat_and_shop(api), "10.0.0.1") is None


# --- many concurrent lookups -----------------------------------------------------------------------------------------


@dataclass
class Crowd:
    """Pods that send requests, once or steadily; the API server takes 20 ms for a response."""

    api: AccessApi = field(default_factory=lambda: AccessApi(seconds_per_answer=0.02))
    counted: dict[str, Counter[bool]] = field(default_factory=dict)  # whether they were identified, by their namespace
    waits: list[float] = field(default_factory=lambda: [0.0])

    def __post_init__(self) -> None:
        self.lookups = PodLookup(self.api.client, clock=now, again_after=())

    def pods(self, namespace: str, count: int) -> list[str]:
        second = 1 + len(self.api.namespaces)
        addresses = [f"10.{second}.{number // 256}.{number % 256}" for number in range(count)]
        for address in addresses:
            self.api.pod(address, namespace=namespace)
        return addresses

    async def ask(self, address: str, *, client_namespace: str, model_namespace: str = "chat") -> None:
        started = now()
        pods = await self.lookups.pods_at(address, for_namespace=model_namespace)
        self.counted.setdefault(client_namespace, Counter())[bool(pods)] += 1
        self.waits.append(now() - started)

    async def ask_steadily(self, address: str, *, client_namespace: str, interval: float, seconds: float) -> None:
        until = now() + seconds
        await asyncio.sleep(int(address.rpartition(".")[2]) % 100 / 100 * interval)
        while now() < until:
            await self.ask(address, client_namespace=client_namespace)
            await asyncio.sleep(interval)


def crowd(test: Callable[[Crowd], Awaitable[None]]) -> None:
    async def run() -> None:
        await test(Crowd())

    virtual_time.run(run())


def test_a_hundred_pods_that_connect_together_are_all_identified_within_a_second() -> None:
    async def test(crowd: Crowd) -> None:
        await asyncio.gather(*(crowd.ask(each, client_namespace="shop") for each in crowd.pods("shop", 100)))
        assert crowd.counted == {"shop": Counter({True: 100})}
        assert max(crowd.waits) < 1

    crowd(test)


def test_two_hundred_pods_that_send_continuously_stay_identified_and_do_not_wait() -> None:
    async def test(crowd: Crowd) -> None:
        pods = crowd.pods("shop", 200)
        await asyncio.gather(*(crowd.ask(each, client_namespace="shop") for each in pods))
        crowd.waits.clear()
        crowd.api.requests.clear()
        await asyncio.gather(
            *(crowd.ask_steadily(each, client_namespace="shop", interval=1, seconds=30) for each in pods)
        )
        assert crowd.counted["shop"][False] == 0
        assert max(crowd.waits) < 0.5
        assert len(crowd.api.requests) <= PER_SECOND * 31

    crowd(test)


def test_a_tenant_with_two_hundred_pods_leaves_lookups_to_those_of_others() -> None:
    async def test(crowd: Crowd) -> None:
        attackers, others = crowd.pods("evil", 200), crowd.pods("shop", 20)
        await asyncio.gather(
            *(crowd.ask_steadily(each, client_namespace="evil", interval=0.1, seconds=30) for each in attackers),
            *(crowd.ask_steadily(each, client_namespace="shop", interval=1, seconds=30) for each in others),
        )
        assert crowd.counted["shop"][False] == 0
        assert max(crowd.waits) < WAIT

    crowd(test)


def test_however_many_pods_a_tenant_has_the_seen_pods_of_others_stay_identified() -> None:
    async def test(crowd: Crowd) -> None:
        attackers, others = crowd.pods("evil", 800), crowd.pods("shop", 50)
        await asyncio.gather(*(crowd.ask(each, client_namespace="shop") for each in others))
        asking = [crowd.ask_steadily(each, client_namespace="shop", interval=1, seconds=30) for each in others]
        asking += [crowd.ask_steadily(each, client_namespace="evil", interval=0.5, seconds=30) for each in attackers]
        await asyncio.gather(*asking)
        assert crowd.counted["evil"][False] > 0
        assert crowd.counted["shop"][False] == 0

    crowd(test)


def test_strangers_at_one_tenants_models_take_no_lookups_from_strangers_at_anothers() -> None:
    async def test(crowd: Crowd) -> None:
        flood = [f"10.200.{number // 256}.{number % 256}" for number in range(4 * WAITING)]
        flooding = [
            asyncio.create_task(crowd.ask(each, client_namespace="evil", model_namespace="evil")) for each in flood
        ]
        await asyncio.sleep(0.1)
        crowd.waits.clear()
        await asyncio.gather(
            *(crowd.ask(each, client_namespace="shop", model_namespace="chat") for each in crowd.pods("shop", 10))
        )
        assert crowd.counted["shop"] == Counter({True: 10})
        assert max(crowd.waits) < 1
        await asyncio.gather(*flooding)

    crowd(test)


def test_a_flood_of_addresses_causes_a_bounded_number_of_lookups_and_does_not_wait_for_ever() -> None:
    async def test(crowd: Crowd) -> None:
        flood = [f"10.200.{number // 256}.{number % 256}" for number in range(2000)]
        await asyncio.gather(*(crowd.ask(each, client_namespace="evil") for each in flood))
        assert max(crowd.waits) <= WAIT + 0.1
        assert len(crowd.api.requests) <= BURST + PER_SECOND * WAIT

    crowd(test)


def test_a_seen_pod_is_known_while_a_new_lookup_waits_for_its_turn() -> None:
    """The lookup is still made meanwhile, so that a deleted pod is soon unknown."""

    async def test(crowd: Crowd) -> None:
        [seen] = crowd.pods("shop", 1)
        await crowd.ask(seen, client_namespace="shop")
        await asyncio.sleep(FRESH)
        flood = [f"10.200.{number // 256}.{number % 256}" for number in range(BURST + 100)]
        flooding = [asyncio.create_task(crowd.ask(each, client_namespace="evil")) for each in flood]
        await asyncio.sleep(0.01)
        crowd.api.pods.clear()
        crowd.waits.clear()
        await crowd.ask(seen, client_namespace="shop")
        assert (crowd.counted["shop"], crowd.waits) == (Counter({True: 2}), [0.0])
        await asyncio.sleep(0.5)
        await crowd.ask(seen, client_namespace="shop")
        assert crowd.counted["shop"][False] == 1
        await asyncio.gather(*flooding)

    crowd(test)


def test_a_token_bucket_allows_a_burst_and_then_its_rate() -> None:
    bucket = TokenBucket(2.0, 3)
    assert [bucket.take(0.0) for _ in range(4)] == [True, True, True, False]
    assert bucket.wait(0.25) == 0.25
    assert [bucket.take(0.5), bucket.take(0.5)] == [True, False]
    assert [bucket.take(100.0) for _ in range(4)] == [True, True, True, False]


def test_a_clock_that_goes_back_adds_no_tokens() -> None:
    bucket = TokenBucket(1.0, 1)
    assert bucket.take(100.0)
    assert not bucket.take(50.0)
    assert not bucket.take(50.5)
