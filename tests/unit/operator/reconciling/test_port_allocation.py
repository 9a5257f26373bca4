"""Which deployment gets which port of which activator, for how long, and which gets none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slipway.api.model_key import ModelKey
from slipway.observing.porttable import PORTS, ActivatorPort, Claim
from slipway.operator.reconciling import port_allocation
from slipway.operator.reconciling.port_allocation import QUARANTINE, ExhaustedError, PortAllocation

ONE, TWO = "one", "two"
FIRST = ActivatorPort(ONE, PORTS[0])


def claim(name: str = "llama", *, uid: str = "1", namespace: str = "chat") -> Claim:
    return Claim(namespace, name, uid)


def key(owner_claim: Claim) -> ModelKey:
    return ModelKey(owner_claim.namespace, owner_claim.name)


def empty_allocation(*activators: str, per_namespace: int = 1000) -> PortAllocation:
    return PortAllocation(activators or (ONE,), per_namespace=per_namespace)


def allocation_from(
    written: dict[ActivatorPort, Claim],
    *,
    dead: tuple[Claim, ...] = (),
    named: dict[int, frozenset[ModelKey]] | None = None,
    now: float = 0,
    activators: tuple[str, ...] = (ONE,),
) -> PortAllocation:
    allocation = empty_allocation(*activators)
    allocation.learn(written, lives=lambda each: each not in dead, named=named or {}, now=now)
    return allocation


@pytest.fixture
def short_range(monkeypatch: pytest.MonkeyPatch) -> range:
    """A short range of ports for each activator."""
    monkeypatch.setattr(port_allocation, "PORTS", short_range := range(20000, 20003))
    return short_range


# --- giving ----------------------------------------------------------------------------------------------------------


def test_a_port_is_kept() -> None:
    allocation = empty_allocation()
    place = allocation.take(claim(), 0, at=[ONE])
    assert allocation.take(claim(), 99, at=[ONE]) == allocation.port_of(claim()) == place


def test_a_port_cannot_be_guessed_from_the_name() -> None:
    one, other = empty_allocation(), empty_allocation()
    other.take(claim("another"), 0, at=[ONE])
    assert one.take(claim(), 0, at=[ONE]) != other.take(claim(), 0, at=[ONE])


def test_a_deployment_that_is_created_again_gets_another_port() -> None:
    allocation = empty_allocation()
    before = allocation.take(claim(uid="1"), 0, at=[ONE])
    assert allocation.take(claim(uid="2"), 0, at=[ONE]) != before
    assert allocation.port_of(claim(uid="1")) is None


def test_unused_ports_come_before_released_ones(short_range: range) -> None:
    allocation = empty_allocation()
    for round_ in range(len(short_range)):
        place = allocation.take(claim(uid=str(round_)), round_ * 2 * QUARANTINE, at=[ONE])
        assert place.port == short_range[round_]
        allocation.free(key(claim()), round_ * 2 * QUARANTINE)
    assert (
        allocation.take(claim(uid="next"), 9 * QUARANTINE, at=[ONE]).port == short_range[0]
    )  # it has been unused for the longest time


def test_a_released_port_is_quarantined(short_range: range) -> None:
    allocation = empty_allocation()
    names = [f"m{number}" for number in short_range]
    for name in names:
        allocation.take(claim(name), 0, at=[ONE])
    allocation.free(key(claim(names[1])), 10)
    with pytest.raises(ExhaustedError):
        allocation.take(
            claim("next"), 10 + 299, at=[ONE]
        )  # longer than an activator without news from its watch reports itself as live
    assert allocation.take(claim("next"), 10 + QUARANTINE, at=[ONE]).port == short_range[1]


def test_a_full_activator_is_followed_by_the_next(short_range: range) -> None:
    allocation = empty_allocation(ONE, TWO)
    places = [allocation.take(claim(f"m{number}"), 0, at=[ONE, TWO]) for number in range(2 * len(short_range))]
    assert places == [ActivatorPort(each, port) for each in (ONE, TWO) for port in short_range]
    with pytest.raises(ExhaustedError, match="install another activator and name it in the operator's --activators"):
        allocation.take(claim("next"), 0, at=[ONE, TWO])


def test_an_activator_that_is_not_installed_gets_no_deployment() -> None:
    assert empty_allocation(ONE, TWO).take(claim(), 0, at=[TWO]).activator == TWO


# --- limits ----------------------------------------------------------------------------------------------------------


def test_one_namespace_cannot_take_all_ports() -> None:
    allocation = empty_allocation(per_namespace=2)
    for name in ("a", "b"):
        allocation.take(claim(name), 0, at=[ONE])
    with pytest.raises(ExhaustedError, match=r"2 LLMDeployments in the namespace chat .*--ports-per-namespace"):
        allocation.take(claim("c"), 0, at=[ONE])
    assert allocation.take(claim("c", namespace="code"), 0, at=[ONE])
    allocation.free(key(claim("a")), 0)
    assert allocation.take(claim("c"), 0, at=[ONE])


def test_repeated_creation_and_deletion_leaves_ports_to_other_namespaces() -> None:
    allocation = empty_allocation(per_namespace=2)
    for uid in range(3):
        allocation.take(claim(uid=str(uid)), 0, at=[ONE])
        allocation.free(key(claim()), 0)
    with pytest.raises(ExhaustedError, match=r"3 LLMDeployments .* were deleted in the namespace chat") as refused:
        allocation.take(claim(uid="again"), 60, at=[ONE])
    assert refused.value.useful_after == QUARANTINE - 60
    assert allocation.take(claim(namespace="code"), 60, at=[ONE])
    assert allocation.take(claim(uid="again"), QUARANTINE, at=[ONE])


def test_lines_of_deleted_deployments_do_not_count_towards_the_limit(short_range: range) -> None:
    gone = tuple(claim(str(port), uid="gone") for port in short_range[:2])
    allocation = PortAllocation((ONE,), per_namespace=1)
    written = {ActivatorPort(ONE, port): each for port, each in zip(short_range, gone, strict=False)}
    allocation.learn(written, lives=lambda _: False, named={}, now=0)
    assert allocation.take(claim(), 1, at=[ONE]).port == short_range[2]


def test_creating_a_deployment_again_after_the_quarantine_takes_one_port(short_range: range) -> None:
    allocation = empty_allocation(per_namespace=1)
    now = 0.0
    for uid in range(10):
        now += QUARANTINE
        allocation.take(claim(uid=str(uid)), now, at=[ONE])
    with pytest.raises(ExhaustedError, match="in the namespace chat"):
        allocation.take(claim("other"), now, at=[ONE])


# --- learning --------------------------------------------------------------------------------------------------------


def test_the_port_in_the_table_counts() -> None:
    place = ActivatorPort(ONE, 20123)
    assert allocation_from({place: claim()}).take(claim(), 0, at=[ONE]) == place


def test_a_line_of_a_deleted_deployment_assigns_nothing_and_quarantines_its_port(short_range: range) -> None:
    gone = claim(uid="gone")
    written = {
        ActivatorPort(ONE, short_range[0]): gone,
        **{ActivatorPort(ONE, port): claim(str(port)) for port in short_range[1:]},
    }
    allocation = allocation_from(written, dead=(gone,), now=100)
    with pytest.raises(ExhaustedError):
        allocation.take(claim(), 101, at=[ONE])
    assert allocation.take(claim(), 100 + QUARANTINE, at=[ONE]).port == short_range[0]


def test_if_a_deployment_has_two_lines_the_first_counts() -> None:
    written = {
        ActivatorPort(TWO, 20000): claim(),
        ActivatorPort(ONE, 20007): claim(),
        ActivatorPort(ONE, 20005): claim(),
    }
    assert allocation_from(written, activators=(ONE, TWO)).port_of(claim()) == ActivatorPort(ONE, 20005)


def test_a_line_of_a_removed_activator_is_ignored() -> None:
    allocation = allocation_from({ActivatorPort("third", 20007): claim()})
    assert allocation.port_of(claim()) is None
    assert allocation.take(claim(), 0, at=[ONE]) == FIRST


def test_if_the_table_is_lost_all_deployments_keep_their_ports() -> None:
    allocation = empty_allocation()
    place = allocation.take(claim(), 0, at=[ONE])
    allocation.learn({}, lives=lambda _: True, named={}, now=1)
    assert allocation.take(claim(), 1, at=[ONE]) == place


def test_a_port_in_the_table_overrides_the_port_that_was_given() -> None:
    allocation = empty_allocation()
    before, after = allocation.take(claim(), 0, at=[ONE]), ActivatorPort(ONE, 20123)
    allocation.learn({after: claim()}, lives=lambda _: True, named={}, now=1)
    assert allocation.port_of(claim()) == after
    assert allocation.owner_of(before) is None


def test_a_port_that_another_leader_has_given_is_not_given_twice() -> None:
    allocation = empty_allocation()
    assert allocation.take(claim("mine"), 0, at=[ONE]) == FIRST
    allocation.learn({FIRST: claim("theirs")}, lives=lambda _: True, named={}, now=1)
    assert allocation.owner_of(FIRST) == claim("theirs")
    assert allocation.take(claim("mine"), 1, at=[ONE]) != FIRST


def test_a_port_that_another_leader_gave_meanwhile_is_quarantined_from_its_last_release_on(short_range: range) -> None:
    allocation = filled(empty_allocation(), short_range)
    allocation.take(claim("first"), 0, at=[ONE])
    allocation.free(key(claim("first")), 0)
    [place] = {ActivatorPort(ONE, port) for port in short_range} - allocation._owners.keys()
    allocation.learn({**allocation._owners, place: claim("theirs")}, lives=lambda _: True, named={}, now=10)
    allocation.free(key(claim("theirs")), 400)
    with pytest.raises(ExhaustedError):
        allocation.take(claim("next"), 400 + QUARANTINE - 1, at=[ONE])
    assert allocation.take(claim("next"), 400 + QUARANTINE, at=[ONE]) == place


# --- without a table -------------------------------------------------------------------------------------------------


def test_a_port_that_a_slice_leads_to_is_given_only_to_its_deployment() -> None:
    allocation = allocation_from({}, named={PORTS[0]: frozenset({key(claim("other"))})})
    assert allocation.take(claim(), 0, at=[ONE]).port != PORTS[0]
    assert allocation.take(claim("other"), 0, at=[ONE]).port == PORTS[0]


def test_a_port_that_two_slices_lead_to_is_given_to_neither() -> None:
    allocation = allocation_from({}, named={20123: frozenset({key(claim()), key(claim("evil"))})})
    assert 20123 not in {allocation.take(each, 0, at=[ONE]).port for each in (claim(), claim("evil"))}


def filled(allocation: PortAllocation, short_range: range) -> PortAllocation:
    for port in short_range[1:]:
        allocation.take(claim(str(port)), 0, at=[ONE])
    return allocation


def test_a_port_that_a_slice_named_and_no_one_took_is_free_after_the_quarantine(short_range: range) -> None:
    allocation = filled(
        allocation_from({}, named={short_range[0]: frozenset({key(claim("one")), key(claim("evil"))})}), short_range
    )
    with pytest.raises(ExhaustedError):
        allocation.take(claim(), QUARANTINE - 1, at=[ONE])
    assert allocation.take(claim(), QUARANTINE, at=[ONE]).port == short_range[0]


def test_a_port_that_slices_still_name_when_the_table_is_read_again_is_quarantined_again(short_range: range) -> None:
    named = {short_range[0]: frozenset({key(claim("one")), key(claim("evil"))})}
    allocation = filled(allocation_from({}, named=named), short_range)
    allocation.learn({}, lives=lambda _: True, named=named, now=10)
    with pytest.raises(ExhaustedError):
        allocation.take(claim(), QUARANTINE, at=[ONE])
    assert allocation.take(claim(), 10 + QUARANTINE, at=[ONE]).port == short_range[0]


def test_a_port_that_a_slice_named_is_quarantined_after_its_deployment_released_it(short_range: range) -> None:
    allocation = filled(allocation_from({}, named={short_range[0]: frozenset({key(claim())})}), short_range)
    assert allocation.take(claim(), 1, at=[ONE]).port == short_range[0]
    allocation.free(key(claim()), 400)
    with pytest.raises(ExhaustedError):
        allocation.take(claim("next"), 400 + QUARANTINE - 1, at=[ONE])
    assert allocation.take(claim("next"), 400 + QUARANTINE, at=[ONE]).port == short_range[0]


@pytest.mark.parametrize("port", [22, 19999, 30000])
def test_a_slice_with_a_port_out_of_range_reserves_nothing(port: int) -> None:
    allocation = allocation_from({}, named={port: frozenset({key(claim())})})
    assert allocation.take(claim(), 0, at=[ONE]) == FIRST


def test_the_table_overrides_a_slice() -> None:
    wanted = ActivatorPort(ONE, 20123)
    for there in (claim("victim"), claim("gone")):
        allocation = allocation_from({wanted: there}, dead=(claim("gone"),), named={20123: frozenset({key(claim())})})
        assert allocation.take(claim(), 0, at=[ONE]) != wanted


# --- always ----------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 2), st.sampled_from(["take", "free", "learn"]))))
def test_no_two_deployments_share_a_port_and_none_is_given_again_within_the_quarantine(
    actions: list[tuple[int, int, str]],
) -> None:
    allocation, now = empty_allocation(ONE, TWO), 0.0
    given_up: dict[ActivatorPort, float] = {}
    for number, uid, action in actions:
        now += QUARANTINE / 4
        owner_claim = claim(f"m{number}", uid=str(uid))
        before = dict(allocation._owners)
        others = {each for each in before.values() if each.uid != str(uid)}
        if action == "take":
            place = allocation.take(owner_claim, now, at=[ONE, TWO])
            assert before.get(place, owner_claim) == owner_claim
            assert place in before or now - given_up.get(place, -QUARANTINE) >= QUARANTINE
        elif action == "free":
            allocation.free(key(owner_claim), now)
        else:
            allocation.learn(before, lives=others.__contains__, named={}, now=now)
        given_up |= dict.fromkeys(before.keys() - allocation._owners.keys(), now)
        owned = {place: owner for owner, place in allocation._places.values()}
        assert owned == allocation._owners
