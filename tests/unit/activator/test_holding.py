"""The waiting room: who gets a place, who is next, and that no place is ever lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule
from slipway.activator.holding import FullError, House, Limits, Places, Room, Ticket
from slipway.api.scaling import HoldSpec


def room(**limits: float) -> Room:
    return Room(Limits(**limits), House())  # type: ignore[arg-type]  # numbers of either kind


def queued(room: Room, client: str = "one", size: int = 0) -> Ticket:
    ticket = room.enter(client, size, 0.0)
    room.queue(ticket)
    return ticket


# --- limits ----------------------------------------------------------------------------------------------------------


def test_limits_are_those_of_the_spec() -> None:
    spec = HoldSpec(max_requests=7, max_bytes="2Mi", timeout="90s", heartbeat="3s")
    assert Limits.of(spec) == Limits(max_requests=7, max_bytes=2 << 20, timeout=90.0, heartbeat=3.0)


def test_auto_waits_longer_than_the_slowest_start_of_late() -> None:
    assert Limits.of(HoldSpec(), last_starts=[20.0, 100.0]).timeout > 100.0


def test_auto_waits_longer_for_a_larger_model_before_any_start_was_seen() -> None:
    small, large = (Limits.of(HoldSpec(), model_bytes=size).timeout for size in (1e9, 140e9))
    assert small < large


# --- places ----------------------------------------------------------------------------------------------------------


def test_who_finds_no_place_is_told_so() -> None:
    full = room(max_requests=1)
    full.enter("one", 0, 0.0)
    with pytest.raises(FullError):
        full.enter("two", 0, 0.0)


def test_bytes_are_bounded_as_well() -> None:
    full = room(max_bytes=100)
    full.enter("one", 60, 0.0)
    with pytest.raises(FullError):
        full.enter("two", 60, 0.0)


def test_a_refused_request_takes_no_place() -> None:
    refusing = room(max_requests=2, max_bytes=100)
    with pytest.raises(FullError):
        refusing.enter("one", 101, 0.0)
    assert (refusing.waiting, refusing.kept_bytes) == (0, 0)


@pytest.mark.parametrize(("total", "alone"), [(1, 1), (4, 3), (8, 6), (100, 75), (256, 192)])
def test_one_client_alone_gets_three_quarters(total: int, alone: int) -> None:
    places = Places(total)
    while places.admit("greedy", 1):
        places.take("greedy", 1)
    assert places.taken == alone


@given(total=st.integers(2, 60), claims=st.lists(st.sampled_from("abcdef"), max_size=200))
def test_a_newcomer_finds_a_place_unless_many_share_them(total: int, claims: list[str]) -> None:
    """With two clients and more, nobody has more than three times what is left for all others."""
    places, held = Places(total), dict.fromkeys("abcdef", 0)
    for client in claims:
        if places.admit(client, 1):
            left = total - places.taken - 1
            assert held[client] == 0 or held[client] + 1 <= 3 * left
            places.take(client, 1)
            held[client] += 1
    assert places.taken == sum(held.values()) <= total


def test_one_deployment_cannot_fill_the_house() -> None:
    house = House(max_requests=8)
    greedy, modest = (Room(Limits(max_requests=100), house, name) for name in ("greedy", "modest"))
    for client in range(6):
        greedy.enter(client, 0, 0.0)
    with pytest.raises(FullError):
        greedy.enter("one more", 0, 0.0)
    assert modest.enter("one", 0, 0.0)


def test_who_waits_already_may_stay_when_the_limits_shrink() -> None:
    shrinking = room(max_requests=10)
    tickets = [queued(shrinking, str(each)) for each in range(5)]
    shrinking.set_limits(Limits(max_requests=2))
    with pytest.raises(FullError):
        shrinking.enter("new", 0, 0.0)
    assert [shrinking.call() for _ in tickets] == tickets


# --- turns -----------------------------------------------------------------------------------------------------------


def test_the_oldest_is_called_first_whoever_has_its_body_first() -> None:
    fair = room()
    first, second = fair.enter("one", 0, 0.0), fair.enter("two", 0, 1.0)
    fair.queue(second)
    fair.queue(first)
    assert [fair.call(), fair.call()] == [first, second]


def test_a_request_that_comes_back_keeps_its_turn() -> None:
    fair = room()
    first, second = queued(fair), queued(fair, "two")
    assert fair.call() is first
    fair.queue(first)
    assert [fair.call(), fair.call()] == [first, second]


def test_who_has_left_is_not_called() -> None:
    leaving = room()
    first, second = queued(leaving), queued(leaving, "two")
    leaving.leave(first)
    assert leaving.call() is second
    assert not leaving.has_next()


def test_leaving_twice_is_leaving_once() -> None:
    leaving = room()
    ticket = queued(leaving, size=10)
    leaving.leave(ticket)
    leaving.leave(ticket)
    assert (leaving.waiting, leaving.kept_bytes) == (0, 0)


def test_a_called_request_frees_its_place_but_not_its_bytes() -> None:
    calling = room()
    queued(calling, size=10)
    calling.call()
    assert (calling.waiting, calling.kept_bytes) == (0, 10)


def test_the_deadline_counts_from_the_arrival() -> None:
    assert room(timeout=20).enter("one", 0, now=100.0).deadline == 120.0


# --- whatever happens, in whatever order -----------------------------------------------------------------------------


class AnyOrder(RuleBasedStateMachine):
    """Rooms of two deployments against the plainest bookkeeping there is."""

    entered = Bundle("entered")
    called = Bundle("called")

    def __init__(self) -> None:
        super().__init__()
        self.house = House(max_requests=12, max_bytes=1000)
        self.rooms = [Room(Limits(max_requests=8, max_bytes=600), self.house, name) for name in "ab"]
        self.waiting: list[list[Ticket]] = [[], []]
        self.sizes: list[dict[Ticket, int]] = [{}, {}]

    @rule(target=entered, which=st.integers(0, 1), client=st.sampled_from("xyz"), size=st.integers(0, 200))
    def enter(self, which: int, client: str, size: int) -> tuple[int, Ticket] | None:
        try:
            ticket = self.rooms[which].enter(client, size, 0.0)
        except FullError:
            return None
        self.waiting[which].append(ticket)
        self.sizes[which][ticket] = size
        self.rooms[which].queue(ticket)
        return which, ticket

    @rule(one=entered, size=st.integers(1, 100))
    def grow(self, one: tuple[int, Ticket] | None, size: int) -> None:
        if one and one[1] in self.waiting[one[0]]:
            try:
                self.rooms[one[0]].grow(one[1], size)
            except FullError:
                return
            self.sizes[one[0]][one[1]] += size

    @rule(one=consumes(entered))
    def leave(self, one: tuple[int, Ticket] | None) -> None:
        if one:
            which, ticket = one
            self.rooms[which].leave(ticket)
            self.sizes[which].pop(ticket, None)
            if ticket in self.waiting[which]:
                self.waiting[which].remove(ticket)

    @precondition(lambda self: any(self.waiting))
    @rule(target=called, come_back=st.booleans())
    def call(self, come_back: bool) -> None:
        which = 0 if self.waiting[0] else 1
        ticket = self.rooms[which].call()
        assert ticket is self.waiting[which][0]
        if come_back:
            self.rooms[which].queue(ticket)
        else:
            self.waiting[which].remove(ticket)

    @invariant()
    def the_books_agree(self) -> None:
        for each, waiting, sizes in zip(self.rooms, self.waiting, self.sizes, strict=True):
            assert each.waiting == len(waiting)
            assert each.kept_bytes == sum(sizes.values())
            assert each.has_next() == bool(waiting)
        assert self.house.requests.taken == sum(map(len, self.waiting)) <= self.house.max_requests
        assert self.house.bytes.taken == sum(sum(sizes.values()) for sizes in self.sizes) <= self.house.max_bytes


TestAnyOrder = AnyOrder.TestCase
