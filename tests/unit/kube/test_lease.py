"""Only one leader writes at any time, whatever happens to leaders, clocks and the API server."""
# ruff: noqa: ASYNC110 - on a virtual clock, polling costs nothing

import asyncio
import itertools
from collections.abc import Callable
from copy import deepcopy

import pytest
from slipway.kube.call_retries import Patience
from slipway.kube.errors import Call, ConflictError, NotFoundError, NotLeaderError, UnavailableError
from slipway.kube.lease import LeaderElection
from slipway.kube.lease_times import LeaseTimes
from slipway.kube.metrics import LeaderMetrics
from slipway.objects.kinds import Kind, Object
from slipway.process.metrics import MetricsRegistry
from support.fakes import virtual_time
from support.fakes.virtual_time import now

CALL = Call("replace", "Lease", "slipway")


class Server:
    """One Lease in the API server, which can be unreachable for all clients or for one."""

    def __init__(self) -> None:
        self.lease: Object | None = None
        self.versions = itertools.count(1)

    def write(self, lease: Object) -> Object:
        self.lease = deepcopy(lease)
        self.lease["metadata"]["resourceVersion"] = str(next(self.versions))
        return deepcopy(self.lease)


class Client:
    """The part of KubeClient that LeaderElection uses."""

    def __init__(self, server: Server) -> None:
        self.server, self.cut_off, self.latency = server, False, 0.01

    def with_(self, *, patience: Patience) -> "Client":
        self.patience = patience
        return self

    async def find(self, kind: Kind, name: str, namespace: str) -> Object | None:
        await self._travel()
        return deepcopy(self.server.lease)

    async def create(self, kind: Kind, lease: Object) -> Object:
        await self._travel()
        if self.server.lease is not None:
            raise ConflictError(CALL, "it exists", code=409)
        return self.server.write(lease)

    async def replace(self, kind: Kind, lease: Object) -> Object:
        await self._travel()
        if self.server.lease is None:
            raise NotFoundError(CALL, "it is gone", code=404)
        if self.server.lease["metadata"]["resourceVersion"] != lease["metadata"]["resourceVersion"]:
            raise ConflictError(CALL, "it has changed", code=409)
        return self.server.write(lease)

    async def _travel(self) -> None:
        await asyncio.sleep(self.latency)
        if self.cut_off:
            await asyncio.sleep(self.patience.deadline)
            raise UnavailableError(CALL, "no answer")


class Replica:
    """A process that is a candidate. Its clock can be ahead, and it can stop at any point."""

    def __init__(self, server: Server, identity: str, *, clock_ahead: float = 0.0) -> None:
        self.client = Client(server)
        self.metrics = MetricsRegistry("slipway")
        self.leadership_changes: list[tuple[float, bool]] = []
        clock: Callable[[], float] = lambda: now() + clock_ahead  # noqa: E731
        self.election = LeaderElection(
            self.client,  # type: ignore[arg-type]
            LeaderMetrics(self.metrics),
            namespace="slipway",
            name="slipway",
            identity=identity,
            on_change=lambda leads: self.leadership_changes.append((now(), leads)),
            clock=clock,
        )
        self.start()

    def start(self) -> None:
        self.task = asyncio.create_task(self.election.run())

    async def stop_in_order(self) -> None:
        self.task.cancel()
        await self.election.release()

    @property
    def metric(self) -> float | None:
        return self.metrics.collectors.get_sample_value("slipway_leader")

    @property
    def may_write(self) -> bool:
        try:
            return self.election.guard() > 0
        except NotLeaderError:
            return False


async def until(replica: Replica) -> float:
    """Returns the seconds until the replica leads."""
    started = now()
    while not replica.may_write:
        await asyncio.sleep(0.1)
    return now() - started


async def leader_and_standby(**standby: float) -> tuple[Server, Replica, Replica]:
    server = Server()
    leader = Replica(server, "a")
    await until(leader)
    other = Replica(server, "b", **standby)
    await asyncio.sleep(5)
    assert not other.may_write
    return server, leader, other


def test_if_many_replicas_start_at_the_same_time_one_leads() -> None:
    async def test() -> int:
        server = Server()
        replicas = [Replica(server, str(number)) for number in range(5)]
        await asyncio.sleep(60)
        return sum(replica.may_write for replica in replicas)

    assert virtual_time.run(test()) == 1


def test_each_replica_shows_whether_it_leads_and_none_does_while_the_lease_is_in_doubt() -> None:
    async def test() -> list[float | None]:
        server, leader, standby = await leader_and_standby()
        shown = [Replica(server, "c").metric, leader.metric, standby.metric]
        leader.client.cut_off = standby.client.cut_off = True
        while leader.may_write:
            await asyncio.sleep(0.01)
        return [*shown, leader.metric, standby.metric]

    assert virtual_time.run(test()) == [0, 1, 0, 0, 0]


def test_a_leader_that_renews_goes_on_leading() -> None:
    async def test() -> list[bool]:
        _, leader, _ = await leader_and_standby()
        await asyncio.sleep(3600)
        return [leads for _, leads in leader.leadership_changes]

    assert virtual_time.run(test()) == [True]


def test_after_an_orderly_end_the_standby_leads_at_its_next_check() -> None:
    async def test() -> float:
        _, leader, standby = await leader_and_standby()
        await leader.stop_in_order()
        assert not leader.may_write
        return await until(standby)

    assert virtual_time.run(test()) < 2.2


def test_after_a_crash_the_standby_leads_within_20_seconds() -> None:
    async def test() -> float:
        _, leader, standby = await leader_and_standby()
        leader.task.cancel()
        return await until(standby)

    assert 8 < virtual_time.run(test()) < 14


@pytest.mark.parametrize("ahead", [-86400.0, -7.0, 9.0, 86400.0])
def test_different_clocks_change_nothing(ahead: float) -> None:
    async def test() -> tuple[bool, float]:
        _, leader, standby = await leader_and_standby(clock_ahead=ahead)
        await asyncio.sleep(60)
        was_calm = leader.may_write and not standby.may_write
        leader.task.cancel()
        return was_calm, await until(standby)

    was_calm, seconds = virtual_time.run(test())
    assert was_calm
    assert 8 < seconds < 14


def test_a_leader_cut_off_from_the_api_server_stops_writing_before_another_one_leads() -> None:
    async def test() -> tuple[float, float]:
        _, leader, standby = await leader_and_standby()
        leader.client.cut_off = True
        started = now()
        while leader.may_write:
            assert not standby.may_write
            await asyncio.sleep(0.05)
        doubted = now() - started
        await until(standby)
        return doubted, now() - started

    doubted, replaced = virtual_time.run(test())
    assert doubted <= 7.1
    assert replaced - doubted > 2


def test_a_leader_is_notified_immediately_that_it_no_longer_leads() -> None:
    async def test() -> tuple[float, float]:
        _, leader, _ = await leader_and_standby()
        leader.client.cut_off = True
        while leader.may_write:
            await asyncio.sleep(0.01)
        ended = now()
        await asyncio.sleep(5)
        return leader.leadership_changes[-1][0] - ended, leader.leadership_changes[-1][1]

    delay, leads = virtual_time.run(test())
    assert not leads
    assert delay <= 0  # the refused write was the last one that was tried


def test_a_leader_that_was_paused_may_not_write_when_it_wakes_up() -> None:
    async def test() -> bool:
        _, leader, standby = await leader_and_standby()
        leader.task.cancel()  # a paused process does nothing, and its state still says that it leads
        await until(standby)
        could_write = leader.may_write
        leader.start()
        await asyncio.sleep(60)
        return could_write or leader.may_write or not standby.may_write

    assert virtual_time.run(test()) is False


def test_a_leader_that_was_cut_off_for_long_leads_again_if_no_other_replica_does() -> None:
    async def test() -> float:
        server = Server()
        leader = Replica(server, "a")
        await until(leader)
        leader.client.cut_off = True
        await asyncio.sleep(60)
        assert not leader.may_write
        leader.client.cut_off = False
        return await until(leader)

    assert virtual_time.run(test()) < 5


def test_a_term_lasts_while_no_other_replica_can_have_led() -> None:
    async def test() -> bool:
        leader = Replica(Server(), "a")
        await until(leader)
        before = leader.election.term
        leader.client.cut_off = True
        await asyncio.sleep(60)
        leader.client.cut_off = False
        await until(leader)
        return leader.election.term == before

    assert virtual_time.run(test())


def test_a_term_ends_when_another_replica_has_led() -> None:
    async def test() -> bool:
        _, leader, standby = await leader_and_standby()
        before = leader.election.term
        leader.client.cut_off = True
        await until(standby)
        leader.client.cut_off = False
        await standby.stop_in_order()
        await until(leader)
        return leader.election.term == before

    assert not virtual_time.run(test())


def test_a_lease_that_was_edited_by_hand_stays_with_its_holder() -> None:
    async def test() -> list[bool]:
        server, leader, _ = await leader_and_standby()
        assert server.lease
        server.write({**server.lease, "metadata": {**server.lease["metadata"], "labels": {"by": "hand"}}})
        await asyncio.sleep(20)
        return [leads for _, leads in leader.leadership_changes]

    assert virtual_time.run(test()) == [True]


def test_deleting_the_lease_never_makes_two_leaders() -> None:
    async def test() -> int:
        server, leader, standby = await leader_and_standby()
        server.lease = None
        most = 0
        for _ in range(300):
            most = max(most, leader.may_write + standby.may_write)
            await asyncio.sleep(0.1)
        assert server.lease
        return most

    assert virtual_time.run(test()) == 1


def test_a_deleted_lease_is_created_again_by_its_holder() -> None:
    async def test() -> tuple[bool, list[bool]]:
        server, leader, _ = await leader_and_standby()
        server.lease = None
        await asyncio.sleep(5)
        return server.lease is not None, [leads for _, leads in leader.leadership_changes]

    assert virtual_time.run(test()) == (True, [True])


def test_a_leader_that_ends_during_a_renewal_releases_the_lease_too() -> None:
    async def test() -> float:
        server, leader, standby = await leader_and_standby()
        assert server.lease
        server.write(server.lease)  # the write was stored, but its response was lost
        await leader.stop_in_order()
        return await until(standby)

    assert virtual_time.run(test()) < 2.2


def test_a_leader_that_ends_does_not_wait_for_a_slow_api_server() -> None:
    async def test() -> float:
        _, leader, _ = await leader_and_standby()
        leader.client.latency = 1.5
        started = now()
        await leader.stop_in_order()
        return now() - started

    assert virtual_time.run(test()) <= LeaseTimes().renew_every


def test_a_standby_that_ends_does_not_release_the_lease() -> None:
    async def test() -> str:
        server, _, standby = await leader_and_standby()
        await standby.stop_in_order()
        assert server.lease
        return str(server.lease["spec"]["holderIdentity"])

    assert virtual_time.run(test()) == "a"


def test_a_refusal_to_write_names_the_leader() -> None:
    async def test() -> None:
        _, _, standby = await leader_and_standby()
        standby.election.guard()

    with pytest.raises(NotLeaderError, match="a leads"):
        virtual_time.run(test())


@pytest.mark.parametrize(("write_until", "renew_every"), [(10.0, 2.0), (3.0, 2.0)])
def test_timings_that_allow_two_leaders_or_none_are_refused(write_until: float, renew_every: float) -> None:
    with pytest.raises(ValueError, match="must be renewed at least twice"):
        LeaseTimes(duration=10, write_until=write_until, renew_every=renew_every)
