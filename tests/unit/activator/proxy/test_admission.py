"""Admission to the queue: which request gets a place, which is next, and that no place is ever lost."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule
from slipway.activator.proxy.admission import (
    FEW,
    TABLE,
    GlobalLimits,
    HeldRequest,
    HoldEvent,
    HoldState,
    NoPlaceError,
    TooManyArrivingError,
    WaitingRoom,
)
from slipway.activator.proxy.client_identity import Client
from slipway.activator.proxy.fair_limit import FairLimit
from slipway.activator.shared.hold_limits import HoldLimits
from slipway.api.scaling import HoldSpec

ONE, TWO = Client("192.0.2.1"), Client("192.0.2.2")
OWNER_AT_ONE = Client("192.0.2.1", "owner")
ANY = st.sampled_from([ONE, OWNER_AT_ONE, TWO])


def room(**limits: float) -> WaitingRoom[HeldRequest]:
    return WaitingRoom(HoldLimits(**limits), GlobalLimits())  # type: ignore[arg-type]  # numbers of either kind


def entered(
    room: WaitingRoom[HeldRequest], client: Client, now: float, *, overhead: int = 0, announced: int = 0
) -> HeldRequest:
    request = HeldRequest(client, now)
    room.enter(request, overhead=overhead, announced=announced)
    return request


def arrive(room: WaitingRoom[HeldRequest], client: Client = ONE, size: int = 0) -> HeldRequest:
    """A request whose body is complete; if there is no place for it, it leaves again."""
    ticket = entered(room, client, 0.0)
    try:
        room.grow(ticket, size)
        room.queue(ticket)
    except NoPlaceError:
        room.leave(ticket)
        raise
    return ticket


def fill(room: WaitingRoom[HeldRequest], client: Client) -> int:
    """How many requests of this client are admitted."""
    number = 0
    while True:
        try:
            arrive(room, client)
        except NoPlaceError:
            return number
        number += 1


# --- limits ----------------------------------------------------------------------------------------------------------


def test_limits_are_those_of_the_spec() -> None:
    spec = HoldSpec(max_requests=7, max_bytes="2Mi", timeout="90s", heartbeat="3s")
    assert HoldLimits.of(spec) == HoldLimits(max_requests=7, max_bytes=2 << 20, timeout=90.0, heartbeat=3.0)


def test_auto_waits_longer_than_the_slowest_recent_start() -> None:
    assert HoldLimits.of(HoldSpec(), last_starts=[20.0, 100.0]).timeout > 100.0


def test_auto_waits_longer_for_a_larger_model_before_any_start_was_seen() -> None:
    small, large = (HoldLimits.of(HoldSpec(), model_bytes=size).timeout for size in (1e9, 140e9))
    assert small < large


# --- places ----------------------------------------------------------------------------------------------------------


def test_a_request_without_a_place_is_refused() -> None:
    full = room(max_requests=1)
    arrive(full)
    with pytest.raises(NoPlaceError):
        entered(full, TWO, 0.0)


def test_bytes_are_bounded_as_well() -> None:
    full = room(max_bytes=100)
    arrive(full, ONE, 60)
    with pytest.raises(NoPlaceError):
        arrive(full, TWO, 60)


def test_a_refused_request_takes_no_place() -> None:
    refusing = room(max_requests=2, max_bytes=100)
    with pytest.raises(NoPlaceError):
        arrive(refusing, ONE, 101)
    assert (refusing.waiting, refusing._bytes.taken) == (0, 0)


def test_an_announced_body_takes_nothing_but_is_refused_immediately_where_there_is_no_place() -> None:
    global_limits = GlobalLimits()
    announcing: WaitingRoom[HeldRequest] = WaitingRoom(HoldLimits(max_bytes=100), global_limits)
    entered(announcing, ONE, 0.0, announced=90)
    entered(announcing, TWO, 0.0, announced=90)
    assert (announcing.waiting, announcing._bytes.taken, global_limits.bytes.taken) == (0, 0, 0)
    with pytest.raises(NoPlaceError):
        entered(announcing, TWO, 0.0, announced=101)


def test_incomplete_requests_are_bounded_and_one_client_leaves_half_to_others() -> None:
    crowded: WaitingRoom[HeldRequest] = WaitingRoom(HoldLimits(), GlobalLimits(max_arriving=8))
    for _ in range(4):
        entered(crowded, ONE, 0.0)
    with pytest.raises(TooManyArrivingError):
        entered(crowded, ONE, 0.0)
    crowded.queue(entered(crowded, TWO, 0.0))
    assert crowded.waiting == 1


@pytest.mark.parametrize(("total", "alone"), [(1, 1), (4, 3), (8, 6), (100, 75), (256, 192)])
def test_one_client_alone_gets_three_quarters(total: int, alone: int) -> None:
    assert fill(room(max_requests=total), ONE) == alone


def test_the_bound_of_one_body_is_that_of_its_client() -> None:
    alone: WaitingRoom[HeldRequest] = WaitingRoom(HoldLimits(max_bytes=1000), GlobalLimits())
    assert alone.largest_body(ONE) == 750
    arrive(alone, ONE, alone.largest_body(ONE) // 2)
    arrive(alone, ONE, alone.largest_body(ONE) // 2)
    with pytest.raises(NoPlaceError):
        arrive(alone, ONE, 1)


@given(total=st.integers(2, 60), claims=st.lists(st.sampled_from("abcdef"), max_size=200))
def test_a_new_client_finds_a_place_unless_many_share_them(total: int, claims: list[str]) -> None:
    """With two clients or more, none has more than three times what is left for all others."""
    places, held = FairLimit(total), dict.fromkeys("abcdef", 0)
    for client in claims:
        share = ((client, 3.0),)
        if places.admits(share, 1):
            left = total - places.taken - 1
            assert held[client] == 0 or held[client] + 1 <= 3 * left
            places.take(share, 1)
            held[client] += 1
    assert places.taken == sum(held.values()) <= total


def test_owners_behind_one_address_share_the_share_of_the_address() -> None:
    shared = room(max_requests=256)
    greedy, modest = Client("192.0.2.1", "greedy"), Client("192.0.2.1", "modest")
    fill(shared, greedy)
    assert fill(shared, modest) > 0
    assert shared.waiting <= 192
    assert fill(shared, TWO) > 0


LEVELS = {
    "one client leaves places to the others of its deployment": (
        [("greedy", "a", ONE)],
        ("greedy", "a", TWO),
    ),
    "one client on many deployments leaves places to the others of each": (
        [(f"space {each}", "a", ONE) for each in range(50)],
        ("space 7", "a", TWO),
    ),
    "one deployment leaves places to the others of its namespace": (
        [("greedy", "a", Client(f"192.0.2.{each}")) for each in range(200)],
        ("greedy", "b", Client("192.0.2.250")),
    ),
    "one namespace leaves places to the others": (
        [("greedy", f"{each % 50}", Client(f"192.0.2.{each}")) for each in range(200)],
        ("modest", "a", Client("192.0.2.250")),
    ),
    "one owner leaves places to the others behind its address": (
        [(f"space {each}", "a", Client("192.0.2.1", "greedy")) for each in range(50)],
        ("space 7", "a", Client("192.0.2.1", "modest")),
    ),
}


@pytest.mark.parametrize("bound", ["requests", "bytes", "coming"])
@pytest.mark.parametrize(("greedy", "modest"), LEVELS.values(), ids=LEVELS.keys())
def test_a_share_of_the_activators_places_is_left_to_another_client(
    bound: str, greedy: list[tuple[str, str, Client]], modest: tuple[str, str, Client]
) -> None:
    """Whatever greedy clients take of it, at least a tenth of it is left to another one."""
    global_limits, rooms = (
        GlobalLimits(max_requests=1000, max_bytes=100_000, max_arriving=1000),
        dict[tuple[str, str], WaitingRoom[HeldRequest]](),
    )

    def take(namespace: str, name: str, client: Client) -> bool:
        waiting_room = rooms.setdefault(
            (namespace, name), WaitingRoom(HoldLimits(max_requests=100_000), global_limits, (namespace, name))
        )
        try:
            ticket = entered(waiting_room, client, 0.0, overhead=100 if bound == "bytes" else 0)
            if bound == "requests":
                waiting_room.queue(ticket)
        except NoPlaceError:
            return False
        return True

    while sum(take(*each) for each in greedy):
        pass
    taken = 0
    while take(*modest):
        taken += 1
    assert taken >= 30


def test_waiting_requests_may_stay_when_the_limits_shrink() -> None:
    shrinking = room(max_requests=10)
    tickets = [arrive(shrinking, Client(str(each))) for each in range(5)]
    shrinking.set_limits(HoldLimits(max_requests=2))
    with pytest.raises(NoPlaceError):
        entered(shrinking, Client("new"), 0.0)
    assert [shrinking.call() for _ in tickets] == tickets


# --- turns -----------------------------------------------------------------------------------------------------------


def test_the_first_complete_request_is_called_first_whichever_was_announced_first() -> None:
    fair = room()
    slow, quick = entered(fair, ONE, 0.0), entered(fair, TWO, 1.0)
    fair.queue(quick)
    fair.queue(slow)
    assert [fair.call(), fair.call()] == [quick, slow]


def test_turns_alternate_between_clients_however_many_requests_each_has() -> None:
    fair = room()
    many = [arrive(fair, ONE) for _ in range(4)]
    few = [arrive(fair, TWO) for _ in range(2)]
    last = arrive(fair, Client("192.0.2.3"))
    order = [many[0], few[0], last, many[1], few[1], many[2], many[3]]
    assert [fair.call() for _ in order] == order


def test_behind_one_address_turns_alternate_between_owners_and_owners_give_it_no_more_turns() -> None:
    fair = room()
    greedy = [arrive(fair, Client("192.0.2.1", "greedy")) for _ in range(3)]
    modest = arrive(fair, Client("192.0.2.1", "modest"))
    other = [arrive(fair, TWO) for _ in range(3)]
    order = [greedy[0], other[0], modest, other[1], greedy[1], other[2], greedy[2]]
    assert [fair.call() for _ in order] == order


def test_a_client_that_is_served_repeatedly_comes_after_those_that_wait() -> None:
    fair = room()
    arrive(fair, ONE)
    waits = arrive(fair, TWO)
    fair.call()
    arrive(fair, ONE)
    assert fair.call() is waits


def test_a_request_that_returns_is_the_next_one_of_its_client() -> None:
    fair = room()
    first, second, other = arrive(fair), arrive(fair), arrive(fair, TWO)
    assert fair.call() is first
    fair.queue(first)
    assert [fair.call() for _ in range(3)] == [other, first, second]


def test_a_returned_turn_goes_to_the_next_request_of_the_same_client() -> None:
    fair = room()
    first, second, other = arrive(fair), arrive(fair), arrive(fair, TWO)
    assert fair.call() is first
    fair.return_turn(first)
    fair.queue(first)
    assert [fair.call() for _ in range(3)] == [first, other, second]
    fair.queue(first)
    assert fair.call() is first
    fair.return_turn(first)  # it was the only one
    assert not fair.has_next()


def test_a_request_that_has_left_is_not_called() -> None:
    leaving = room()
    first, second = arrive(leaving), arrive(leaving, TWO)
    leaving.leave(first)
    assert leaving.call() is second
    assert not leaving.has_next()


def test_requests_that_have_left_are_not_remembered_behind_one_that_waits() -> None:
    leaving = room()
    arrive(leaving)
    for _ in range(10 * FEW):
        leaving.leave(arrive(leaving, TWO))
    assert len(leaving._rotation) <= 2 * FEW


def test_clients_that_have_left_are_not_remembered_either() -> None:
    leaving = room()
    arrive(leaving)
    for each in range(10 * FEW):
        leaving.leave(arrive(leaving, Client(f"address {each}")))
    assert len(leaving._rotation._of) <= 2 * FEW


def test_leaving_twice_is_leaving_once() -> None:
    leaving = room()
    ticket = arrive(leaving, size=10)
    leaving.leave(ticket)
    leaving.leave(ticket)
    assert (leaving.waiting, leaving._bytes.taken) == (0, 0)


def test_a_called_request_frees_its_place_but_not_its_bytes() -> None:
    calling = room()
    arrive(calling, size=10)
    calling.call()
    assert (calling.waiting, calling._bytes.taken) == (0, 10)


def test_a_completed_request_frees_the_bytes_of_its_body() -> None:
    global_limits = GlobalLimits()
    answering: WaitingRoom[HeldRequest] = WaitingRoom(HoldLimits(), global_limits)
    ticket = entered(answering, ONE, 0.0, overhead=7)
    answering.grow(ticket, 10)
    answering.queue(ticket)
    answering.drop_body(answering.call())
    assert (answering._bytes.taken, global_limits.bytes.taken) == (0, 7)
    answering.leave(ticket)
    assert global_limits.bytes.taken == 0


def test_responses_that_are_not_read_find_places_in_their_shares_alone() -> None:
    global_limits = GlobalLimits(max_bytes=1000)
    slow: WaitingRoom[HeldRequest] = WaitingRoom(HoldLimits(), global_limits)
    for _ in range(5):
        ticket = entered(slow, ONE, 0.0, overhead=10)
        slow.queue(ticket)
        slow.drop_body(slow.call())
        slow.grow(ticket, 0, overhead=90)
    with pytest.raises(NoPlaceError):
        slow.grow(ticket, 0, overhead=90)
    other = entered(slow, TWO, 0.0, overhead=10)
    slow.grow(other, 0, overhead=90)
    slow.shrink(ticket, overhead=90)
    slow.grow(ticket, 0, overhead=10)


def test_the_deadline_counts_from_the_arrival() -> None:
    assert entered(room(timeout=20), ONE, 100.0).deadline == 120.0


# --- any actions in any order ----------------------------------------------------------------------------------------


class AnyOrder(RuleBasedStateMachine):
    """Queues of two deployments compared with the simplest possible bookkeeping."""

    entered = Bundle("entered")
    called = Bundle("called")

    def __init__(self) -> None:
        super().__init__()
        self.global_limits = GlobalLimits(max_requests=12, max_bytes=1000, max_arriving=5)
        self.rooms: list[WaitingRoom[HeldRequest]] = [
            WaitingRoom(HoldLimits(max_requests=8, max_bytes=600), self.global_limits, ("space", name)) for name in "ab"
        ]
        self.waiting: list[list[HeldRequest]] = [[], []]
        self.sizes: list[dict[HeldRequest, int]] = [{}, {}]
        self.arriving: set[HeldRequest] = set()
        self.overtaken: list[dict[str, Counter[str]]] = [{}, {}]  # by address: clients with a turn while it waited

    @rule(target=entered, index=st.integers(0, 1), client=ANY, size=st.integers(0, 200))
    def enter(self, index: int, client: Client, size: int) -> tuple[int, HeldRequest] | None:
        try:
            ticket = entered(self.rooms[index], client, 0.0, announced=size)
        except NoPlaceError:
            return None
        self.sizes[index][ticket] = 0
        self.arriving.add(ticket)
        return index, ticket

    @rule(entry=entered)
    def queue(self, entry: tuple[int, HeldRequest] | None) -> None:
        if entry and entry[1] in self.arriving:
            try:
                self.rooms[entry[0]].queue(entry[1])
            except NoPlaceError:
                return
            self.arriving.remove(entry[1])
            self.waiting[entry[0]].append(entry[1])

    @rule(entry=entered, size=st.integers(1, 100))
    def grow(self, entry: tuple[int, HeldRequest] | None, size: int) -> None:
        if entry and entry[1] in self.arriving:
            try:
                self.rooms[entry[0]].grow(entry[1], size)
            except NoPlaceError:
                return
            self.sizes[entry[0]][entry[1]] += size

    @rule(entry=consumes(entered))
    def leave(self, entry: tuple[int, HeldRequest] | None) -> None:
        if entry:
            index, ticket = entry
            self.rooms[index].leave(ticket)
            self.sizes[index].pop(ticket, None)
            self.arriving.discard(ticket)
            if ticket in self.waiting[index]:
                self.waiting[index].remove(ticket)

    @precondition(lambda self: any(self.waiting))
    @rule(target=called, returns=st.booleans())
    def call(self, returns: bool) -> None:
        index = 0 if self.waiting[0] else 1
        ticket = self.rooms[index].call()
        assert ticket is next(each for each in self.waiting[index] if each.client == ticket.client)
        self._has_turn(index, ticket.client.address)
        if returns:
            self.rooms[index].queue(ticket)
        else:
            self.waiting[index].remove(ticket)

    def _has_turn(self, index: int, address: str) -> None:
        """No other address has two turns while an address waits for one."""
        overtaken = self.overtaken[index]
        overtaken.pop(address, None)
        for other in {ticket.client.address for ticket in self.waiting[index]} - {address}:
            overtaken.setdefault(other, Counter())[address] += 1
            assert overtaken[other][address] == 1

    @invariant()
    def addresses_that_do_not_wait_are_not_overtaken(self) -> None:
        for waiting, overtaken in zip(self.waiting, self.overtaken, strict=True):
            for address in overtaken.keys() - {ticket.client.address for ticket in waiting}:
                del overtaken[address]

    @invariant()
    def bookkeeping_agrees(self) -> None:
        for each, waiting, sizes in zip(self.rooms, self.waiting, self.sizes, strict=True):
            assert each.waiting == len(waiting)
            assert each._bytes.taken == sum(sizes.values())
            assert each.has_next() == bool(waiting)
        assert self.global_limits.arriving.taken == len(self.arriving) <= self.global_limits.max_arriving
        assert self.global_limits.requests.taken == sum(map(len, self.waiting)) <= self.global_limits.max_requests
        assert (
            self.global_limits.bytes.taken
            == sum(sum(sizes.values()) for sizes in self.sizes)
            <= self.global_limits.max_bytes
        )


TestAnyOrder = AnyOrder.TestCase


# --- the states of one request ---------------------------------------------------------------------------------------


def test_a_request_leaves_from_any_state_and_returns_from_none() -> None:
    assert {TABLE[state, HoldEvent.LEAVE] for state in HoldState} == {HoldState.LEFT}
    assert [event for state, event in TABLE if state is HoldState.LEFT] == [HoldEvent.LEAVE]


@pytest.mark.parametrize("state", [HoldState.NEW, HoldState.QUEUED, HoldState.SET_ASIDE, HoldState.LEFT])
def test_only_a_called_request_is_set_aside(state: HoldState) -> None:
    assert (state, HoldEvent.SET_ASIDE) not in TABLE
