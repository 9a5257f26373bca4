"""The demand of all replicas of the activator: counted together, exchanged, and forgotten with who counted."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace

import pytest
from slipway.activator import peers, scaler
from slipway.activator.demand import Demand, Deployment, UnknownDeploymentError, Wanted
from slipway.activator.everyone import EXPIRES_AFTER, MOST_WAITING, Count, Everyone
from slipway.activator.peers import Following, Telling

LLAMA, GEMMA = Deployment("chat", "llama"), Deployment("chat", "gemma")
IDLE = Wanted(active=False, waiting=0, target_per_replica=8)
BUSY = Count(LLAMA, active=True, waiting=3)


@pytest.fixture
def own() -> Demand:
    own = Demand()
    own.report(LLAMA, IDLE)
    return own


@pytest.fixture
def everyone(own: Demand) -> Everyone:
    return Everyone(own)


def test_alone_what_is_wanted_here_is_all(everyone: Everyone, own: Demand) -> None:
    assert everyone.all.of(LLAMA) == IDLE
    own.report(LLAMA, replace(IDLE, active=True, waiting=2))
    assert everyone.all.of(LLAMA).waiting == 2


def test_what_waits_elsewhere_is_added(everyone: Everyone, own: Demand) -> None:
    own.report(LLAMA, replace(IDLE, active=True, waiting=2, running=1.0))
    everyone.hear("a", [BUSY], now=0)
    everyone.hear("b", [BUSY], now=0)
    assert everyone.all.of(LLAMA) == Wanted(active=True, waiting=8, target_per_replica=8, running=1.0)


@pytest.mark.parametrize(("odd", "taken_for"), [(-1, 0), (-(2**63), 0), (2**63 - 1, MOST_WAITING)])
def test_odd_counts_of_a_peer_disturb_nobody(everyone: Everyone, own: Demand, odd: int, taken_for: int) -> None:
    everyone.hear("a", [BUSY], now=0)
    everyone.hear("b", [Count(LLAMA, active=False, waiting=odd)], now=0)
    assert everyone.all.of(LLAMA).waiting == 3 + taken_for
    own.report(LLAMA, replace(IDLE, active=True, waiting=2))
    assert everyone.all.of(LLAMA).waiting == 5 + taken_for


def test_one_replica_that_wants_it_is_enough(everyone: Everyone) -> None:
    everyone.hear("a", [Count(LLAMA, active=True, waiting=0)], now=0)
    assert everyone.all.of(LLAMA).active
    everyone.hear("a", [Count(LLAMA, active=False, waiting=0)], now=1)
    assert not everyone.all.of(LLAMA).active


def test_a_peer_that_begins_anew_has_forgotten_what_it_counted(everyone: Everyone) -> None:
    everyone.hear("a", [BUSY], now=0)
    everyone.hear("a", [], now=1)
    assert everyone.all.of(LLAMA).waiting == 3
    everyone.hear("a", [], now=2, anew=True)
    assert everyone.all.of(LLAMA) == IDLE


def test_a_silent_peer_is_believed_for_a_while(everyone: Everyone) -> None:
    everyone.hear("a", [BUSY], now=0)
    everyone.expire(EXPIRES_AFTER)
    assert everyone.all.of(LLAMA).active
    everyone.expire(EXPIRES_AFTER + 1)
    assert everyone.all.of(LLAMA) == IDLE


def test_what_is_not_known_here_is_unknown_whatever_others_say(everyone: Everyone, own: Demand) -> None:
    everyone.hear("a", [Count(GEMMA, active=True, waiting=1)], now=0)
    with pytest.raises(UnknownDeploymentError):
        everyone.all.of(GEMMA)
    own.report(GEMMA, IDLE)
    assert everyone.all.of(GEMMA).active
    own.forget(GEMMA)
    with pytest.raises(UnknownDeploymentError):
        everyone.all.of(GEMMA)


# --- over the network ------------------------------------------------------------------------------------------------


@dataclass
class Replica:
    """One replica of the activator, as far as the others are concerned."""

    own: Demand
    everyone: Everyone
    following: Following
    port: int = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def until_waiting(self, number: int) -> None:
        async with asyncio.timeout(10):
            await self.everyone.all.until(LLAMA, lambda wanted: wanted.waiting == number)


@asynccontextmanager
async def replica(identity: str) -> AsyncIterator[Replica]:
    own = Demand()
    own.report(LLAMA, IDLE)
    everyone = Everyone(own)
    telling = Telling(own, identity)
    following = Following(everyone, identity, clock=asyncio.get_running_loop().time)
    made = Replica(own, everyone, following)
    async with AsyncExitStack() as stack:
        made.port = await stack.enter_async_context(
            scaler.serve(everyone.all, "127.0.0.1:0", beside=telling.add_to, grace=1)
        )
        stack.callback(telling.end_streams)
        stack.push_async_callback(following.close)
        yield made


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "TRY_AGAIN_AFTER", 0.02)
    monkeypatch.setattr(peers, "SIGN_OF_LIFE", 0.05)


def wants(waiting: int) -> Wanted:
    return replace(IDLE, active=waiting > 0, waiting=waiting)


async def test_each_hears_of_what_waits_at_the_other() -> None:
    async with replica("one") as one, replica("two") as two:
        one.own.report(LLAMA, wants(2))
        one.following.follow([two.address])
        two.following.follow([one.address])
        await two.until_waiting(2)
        two.own.report(LLAMA, wants(5))
        await one.until_waiting(7)
        one.own.report(LLAMA, wants(0))
        await two.until_waiting(5)


async def test_nobody_counts_its_own_requests_twice() -> None:
    async with replica("one") as one, replica("two") as two:
        one.own.report(LLAMA, wants(2))
        two.own.report(LLAMA, wants(1))
        one.following.follow([one.address, two.address])
        await one.until_waiting(3)


async def test_a_replica_that_is_gone_for_good_counts_no_more() -> None:
    async with replica("one") as one:
        async with replica("two") as two:
            two.own.report(LLAMA, wants(5))
            one.following.follow([two.address])
            await one.until_waiting(5)
        assert one.everyone.all.of(LLAMA).waiting == 5  # it may still hold them, as far as one knows here
        one.following.follow([])
        await one.until_waiting(0)


async def test_a_replica_that_is_silent_is_asked_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "SILENT_AFTER", 0.2)
    monkeypatch.setattr(peers, "SIGN_OF_LIFE", 60.0)
    async with replica("one") as one, replica("two") as two:
        two.own.report(LLAMA, wants(5))
        one.following.follow([two.address])
        await one.until_waiting(5)
        one.everyone.lose(two.address)
        await one.until_waiting(5)
