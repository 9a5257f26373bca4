"""The demand of all replicas of the activator: summed, exchanged, and forgotten when a replica is gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import grpc
import pytest
from slipway.activator.keda import peers, scaler
from slipway.activator.keda._generated import peers_pb2 as pb
from slipway.activator.keda._generated import peers_pb2_grpc as peers_rpc
from slipway.activator.keda.fleet_demand import EXPIRES_AFTER, MOST_COUNTED, MOST_WAITING, FleetDemand, PeerCount
from slipway.activator.keda.peers import DemandPublisher, PeerSubscriptions
from slipway.activator.shared.demand import Demand, ModelDemand, UnknownModelError
from slipway.api.model_key import ModelKey
from support.fakes.callers import ALLOW_EVERY_CALLER
from support.ports import free_port

LLAMA, GEMMA = ModelKey("chat", "llama"), ModelKey("chat", "gemma")
IDLE = ModelDemand(active=False, waiting=0, target_per_replica=8)
BUSY = PeerCount(LLAMA, active=True, waiting=3)


@pytest.fixture
def own() -> Demand:
    own = Demand()
    own.report(LLAMA, IDLE)
    return own


@pytest.fixture
def fleet(own: Demand) -> FleetDemand:
    return FleetDemand(own)


def test_a_single_replica_reports_its_own_demand(fleet: FleetDemand, own: Demand) -> None:
    assert fleet.all.of(LLAMA) == IDLE
    own.report(LLAMA, IDLE._replace(active=True, waiting=2))
    assert fleet.all.of(LLAMA).waiting == 2


def test_requests_that_wait_at_other_replicas_are_added(fleet: FleetDemand, own: Demand) -> None:
    own.report(LLAMA, IDLE._replace(active=True, waiting=2, running=1.0))
    fleet.record("a", [BUSY], now=0)
    fleet.record("b", [BUSY], now=0)
    assert fleet.all.of(LLAMA) == ModelDemand(active=True, waiting=8, target_per_replica=8, running=1.0)


@pytest.mark.parametrize(("count", "taken_for"), [(-1, 0), (-(2**63), 0), (2**63 - 1, MOST_WAITING)])
def test_odd_counts_of_a_peer_have_no_effect_on_others(
    fleet: FleetDemand, own: Demand, count: int, taken_for: int
) -> None:
    fleet.record("a", [BUSY], now=0)
    fleet.record("b", [PeerCount(LLAMA, active=False, waiting=count)], now=0)
    assert fleet.all.of(LLAMA).waiting == 3 + taken_for
    own.report(LLAMA, IDLE._replace(active=True, waiting=2))
    assert fleet.all.of(LLAMA).waiting == 5 + taken_for


def test_one_replica_that_wants_a_model_is_enough(fleet: FleetDemand) -> None:
    fleet.record("a", [PeerCount(LLAMA, active=True, waiting=0)], now=0)
    assert fleet.all.of(LLAMA).active
    fleet.record("a", [PeerCount(LLAMA, active=False, waiting=0)], now=1)
    assert not fleet.all.of(LLAMA).active


def test_a_restarted_peer_starts_its_counts_from_scratch(fleet: FleetDemand) -> None:
    fleet.record("a", [BUSY], now=0)
    fleet.record("a", [], now=1)
    assert fleet.all.of(LLAMA).waiting == 3
    fleet.record("a", [], now=2, complete=True)
    assert fleet.all.of(LLAMA) == IDLE


def test_the_last_counts_of_a_silent_peer_are_used_for_a_while(fleet: FleetDemand) -> None:
    fleet.record("a", [BUSY], now=0)
    fleet.expire(EXPIRES_AFTER)
    assert fleet.all.of(LLAMA).active
    fleet.expire(EXPIRES_AFTER + 1)
    assert fleet.all.of(LLAMA) == IDLE


def test_a_deployment_unknown_here_is_unknown_whatever_peers_report(fleet: FleetDemand, own: Demand) -> None:
    fleet.record("a", [PeerCount(GEMMA, active=True, waiting=1)], now=0)
    with pytest.raises(UnknownModelError):
        fleet.all.of(GEMMA)
    own.report(GEMMA, IDLE)
    assert fleet.all.of(GEMMA).active
    own.forget(GEMMA)
    with pytest.raises(UnknownModelError):
        fleet.all.of(GEMMA)


# --- over the network ------------------------------------------------------------------------------------------------


PORT = free_port()  # the same for all, each at its own address
HOSTS = {"one": "127.0.0.2", "two": "127.0.0.3"}


@dataclass
class Api:
    """The API server's list of the replicas that are followed."""

    answer: bool | None = True
    called: asyncio.Event = field(default_factory=asyncio.Event)

    async def check_address(self, _: str) -> bool | None:
        self.called.set()
        return self.answer


@dataclass
class Replica:
    """One replica of the activator, as the others see it."""

    own: Demand
    fleet: FleetDemand
    following: PeerSubscriptions
    pod: str
    api: Api

    def follow(self, *others: Replica) -> None:
        self.following.follow({HOSTS[other.pod]: other.pod for other in others})

    async def until_waiting(self, number: int) -> None:
        async with asyncio.timeout(10):
            await self.fleet.all.until(LLAMA, lambda wanted: wanted.waiting == number)


@asynccontextmanager
async def replica(pod: str, *, identity: str = "") -> AsyncIterator[Replica]:
    own = Demand()
    own.report(LLAMA, IDLE)
    fleet = FleetDemand(own)
    identity = identity or f"{pod}_0123"
    publisher = DemandPublisher(own, identity)
    clock = asyncio.get_running_loop().time
    api = Api()
    following = PeerSubscriptions(fleet, identity, port=PORT, is_replica=api.check_address, clock=clock)
    created = Replica(own, fleet, following, pod, api)
    async with AsyncExitStack() as stack:
        serving = scaler.serve(
            fleet.all, HOSTS[pod], PORT, add_services=publisher.add_to, checks=ALLOW_EVERY_CALLER, grace=1
        )
        await stack.enter_async_context(serving)
        stack.callback(publisher.end_streams)
        stack.push_async_callback(following.close)
        yield created


@pytest.fixture(autouse=True)
def _short_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "TRY_AGAIN_AFTER", 0.02)
    monkeypatch.setattr(peers, "KEEPALIVE", 0.05)


def demand_of(waiting: int) -> ModelDemand:
    return IDLE._replace(active=waiting > 0, waiting=waiting)


async def test_each_replica_receives_what_waits_at_the_other() -> None:
    async with replica("one") as one, replica("two") as two:
        one.own.report(LLAMA, demand_of(2))
        one.follow(two)
        two.follow(one)
        await two.until_waiting(2)
        two.own.report(LLAMA, demand_of(5))
        await one.until_waiting(7)
        one.own.report(LLAMA, demand_of(0))
        await two.until_waiting(5)


async def test_no_replica_counts_its_own_requests_twice() -> None:
    async with replica("one") as one, replica("two") as two:
        one.own.report(LLAMA, demand_of(2))
        two.own.report(LLAMA, demand_of(1))
        one.follow(one, two)
        await one.until_waiting(3)


async def test_a_replica_with_two_addresses_counts_once() -> None:
    async with replica("one") as one, replica("two") as two:
        two.own.report(LLAMA, demand_of(5))
        one.following.follow({HOSTS["two"]: "two", "127.0.0.9": "two"})
        await one.until_waiting(5)


async def test_a_replica_that_is_gone_permanently_counts_no_more() -> None:
    async with replica("one") as one:
        async with replica("two") as two:
            two.own.report(LLAMA, demand_of(5))
            one.follow(two)
            await one.until_waiting(5)
        assert one.fleet.all.of(LLAMA).waiting == 5  # as far as this replica knows, it may still hold them
        one.follow()
        await one.until_waiting(0)


async def test_a_silent_replica_is_connected_to_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "SILENT_AFTER", 0.2)
    monkeypatch.setattr(peers, "KEEPALIVE", 60.0)
    async with replica("one") as one, replica("two") as two:
        two.own.report(LLAMA, demand_of(5))
        one.follow(two)
        await one.until_waiting(5)
        one.fleet.lose("two")
        await one.until_waiting(5)


# --- peers that are not trusted --------------------------------------------------------------------------------------


@pytest.mark.parametrize("identity", ["evil_0123", "two", "twofold_0123", "_0123"])
async def test_a_stranger_at_a_replicas_address_is_not_read(identity: str, caplog: pytest.LogCaptureFixture) -> None:
    async with replica("one") as one, replica("two", identity=identity) as two:
        two.own.report(LLAMA, demand_of(5))
        one.follow(two)
        await until(lambda: "answers instead of two" in caplog.text)
        assert one.fleet.all.of(LLAMA).waiting == 0


async def test_a_pod_that_has_a_replicas_address_and_is_not_one_is_not_even_connected_to() -> None:
    async with replica("one") as one, replica("two") as two:
        two.own.report(LLAMA, demand_of(5))
        one.api.answer = False
        one.follow(two)
        for _ in range(3):
            one.api.called.clear()
            await asyncio.wait_for(one.api.called.wait(), 10)
        assert one.fleet.all.of(LLAMA).waiting == 0
        assert one.fleet.peers == 0


async def test_while_the_api_server_is_away_the_replicas_still_exchange_counts() -> None:
    async with replica("one") as one, replica("two") as two:
        two.own.report(LLAMA, demand_of(5))
        one.api.answer = None
        one.follow(two)
        await one.until_waiting(5)


async def test_impossible_counts_are_ignored_and_the_others_are_used() -> None:
    impossible = [("chat", "llama", -1), ("chat", "llama", 10**12), ("", "llama", 1), ("chat", "x" * 999, 1)]
    counts = [pb.Count(namespace=namespace, name=name, waiting=waiting) for namespace, name, waiting in impossible]
    valid = pb.Count(namespace="chat", name="llama", active=True, waiting=4)
    assert list(peers._plausible([*counts, valid])) == [PeerCount(LLAMA, active=True, waiting=4)]


def test_one_replica_cannot_fill_the_memory_of_another(fleet: FleetDemand) -> None:
    for begin in range(0, 2 * MOST_COUNTED, 1000):
        many = [PeerCount(ModelKey("chat", f"m{begin + number}"), True, 1) for number in range(1000)]
        fleet.record("a", many, now=0)
    assert len(fleet._of_peers["a"]) == MOST_COUNTED


async def test_of_too_many_followers_the_oldest_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "SUBSCRIBERS", 1)
    async with replica("one"), grpc.aio.insecure_channel(f"{HOSTS['one']}:{PORT}") as channel:
        stub = peers_rpc.PeersStub(channel)
        first = stub.Follow(pb.Follower(identity="x"))
        await first.read()
        second = stub.Follow(pb.Follower(identity="x"))
        await second.read()
        async with asyncio.timeout(10):
            while await first.read() is not grpc.aio.EOF:
                pass
        assert await second.read() is not grpc.aio.EOF


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.01)
