"""Who gets which port of which activator, for how long, and who gets none."""

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


def key(whose: Claim) -> ModelKey:
    return ModelKey(whose.namespace, whose.name)


def empty(*activators: str, per_namespace: int = 1000) -> PortAllocation:
    return PortAllocation(activators or (ONE,), per_namespace=per_namespace)


def learnt(
    written: dict[ActivatorPort, Claim],
    *,
    dead: tuple[Claim, ...] = (),
    named: dict[int, frozenset[ModelKey]] | None = None,
    now: float = 0,
    activators: tuple[str, ...] = (ONE,),
) -> PortAllocation:
    made = empty(*activators)
    made.learn(written, lives=lambda each: each not in dead, named=named or {}, now=now)
    return made


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> range:
    """PortAllocation of each activator."""
    monkeypatch.setattr(port_allocation, "PORTS", few := range(20000, 20003))
    return few


# --- giving ----------------------------------------------------------------------------------------------------------


def test_a_port_is_kept() -> None:
    made = empty()
    place = made.take(claim(), 0, at=[ONE])
    assert made.take(claim(), 99, at=[ONE]) == made.port_of(claim()) == place


def test_a_port_can_not_be_told_from_the_name() -> None:
    one, other = empty(), empty()
    other.take(claim("another"), 0, at=[ONE])
    assert one.take(claim(), 0, at=[ONE]) != other.take(claim(), 0, at=[ONE])


def test_a_deployment_that_is_made_anew_gets_another_one() -> None:
    made = empty()
    before = made.take(claim(uid="1"), 0, at=[ONE])
    assert made.take(claim(uid="2"), 0, at=[ONE]) != before
    assert made.port_of(claim(uid="1")) is None


def test_ports_that_nobody_had_come_before_those_that_somebody_had(few: range) -> None:
    made = empty()
    for round_ in range(len(few)):
        place = made.take(claim(uid=str(round_)), round_ * 2 * QUARANTINE, at=[ONE])
        assert place.port == few[round_]
        made.free(key(claim()), round_ * 2 * QUARANTINE)
    assert made.take(claim(uid="next"), 9 * QUARANTINE, at=[ONE]).port == few[0]  # unused for longest


def test_a_port_that_was_given_up_is_nobodys_for_a_while(few: range) -> None:
    made = empty()
    names = [f"m{number}" for number in few]
    for name in names:
        made.take(claim(name), 0, at=[ONE])
    made.free(key(claim(names[1])), 10)
    with pytest.raises(ExhaustedError):
        made.take(claim("next"), 10 + 299, at=[ONE])  # longer than an activator that hears nothing calls itself live
    assert made.take(claim("next"), 10 + QUARANTINE, at=[ONE]).port == few[1]


def test_a_full_activator_is_followed_by_the_next(few: range) -> None:
    made = empty(ONE, TWO)
    places = [made.take(claim(f"m{number}"), 0, at=[ONE, TWO]) for number in range(2 * len(few))]
    assert places == [ActivatorPort(each, port) for each in (ONE, TWO) for port in few]
    with pytest.raises(ExhaustedError, match="install another activator and name it in the operator's --activators"):
        made.take(claim("next"), 0, at=[ONE, TWO])


def test_an_activator_that_is_not_installed_gets_nobody() -> None:
    assert empty(ONE, TWO).take(claim(), 0, at=[TWO]).activator == TWO


# --- limits ----------------------------------------------------------------------------------------------------------


def test_one_namespace_can_not_take_them_all() -> None:
    made = empty(per_namespace=2)
    for name in ("a", "b"):
        made.take(claim(name), 0, at=[ONE])
    with pytest.raises(ExhaustedError, match=r"2 LLMDeployments in the namespace chat .*--ports-per-namespace"):
        made.take(claim("c"), 0, at=[ONE])
    assert made.take(claim("c", namespace="code"), 0, at=[ONE])
    made.free(key(claim("a")), 0)
    assert made.take(claim("c"), 0, at=[ONE])


def test_making_and_deleting_again_and_again_leaves_ports_to_other_namespaces() -> None:
    made = empty(per_namespace=2)
    for uid in range(3):
        made.take(claim(uid=str(uid)), 0, at=[ONE])
        made.free(key(claim()), 0)
    with pytest.raises(ExhaustedError, match=r"3 LLMDeployments .* were deleted in the namespace chat") as refused:
        made.take(claim(uid="again"), 60, at=[ONE])
    assert refused.value.useful_after == QUARANTINE - 60
    assert made.take(claim(namespace="code"), 60, at=[ONE])
    assert made.take(claim(uid="again"), QUARANTINE, at=[ONE])


def test_lines_of_those_that_are_gone_take_no_share_of_those_that_come(few: range) -> None:
    gone = tuple(claim(str(port), uid="gone") for port in few[:2])
    made = PortAllocation((ONE,), per_namespace=1)
    written = {ActivatorPort(ONE, port): each for port, each in zip(few, gone, strict=False)}
    made.learn(written, lives=lambda _: False, named={}, now=0)
    assert made.take(claim(), 1, at=[ONE]).port == few[2]


def test_making_one_anew_after_a_while_takes_no_more_than_one(few: range) -> None:
    made = empty(per_namespace=1)
    now = 0.0
    for uid in range(10):
        now += QUARANTINE
        made.take(claim(uid=str(uid)), now, at=[ONE])
    with pytest.raises(ExhaustedError, match="in the namespace chat"):
        made.take(claim("other"), now, at=[ONE])


# --- learning --------------------------------------------------------------------------------------------------------


def test_what_the_table_says_is_so() -> None:
    place = ActivatorPort(ONE, 20123)
    assert learnt({place: claim()}).take(claim(), 0, at=[ONE]) == place


def test_a_line_of_one_that_is_gone_gives_nothing_and_its_port_is_kept_back(few: range) -> None:
    gone = claim(uid="gone")
    written = {ActivatorPort(ONE, few[0]): gone, **{ActivatorPort(ONE, port): claim(str(port)) for port in few[1:]}}
    made = learnt(written, dead=(gone,), now=100)
    with pytest.raises(ExhaustedError):
        made.take(claim(), 101, at=[ONE])
    assert made.take(claim(), 100 + QUARANTINE, at=[ONE]).port == few[0]


def test_of_two_lines_for_one_the_first_counts() -> None:
    written = {
        ActivatorPort(TWO, 20000): claim(),
        ActivatorPort(ONE, 20007): claim(),
        ActivatorPort(ONE, 20005): claim(),
    }
    assert learnt(written, activators=(ONE, TWO)).port_of(claim()) == ActivatorPort(ONE, 20005)


def test_a_line_of_an_activator_that_is_no_more_counts_for_nothing() -> None:
    made = learnt({ActivatorPort("third", 20007): claim()})
    assert made.port_of(claim()) is None
    assert made.take(claim(), 0, at=[ONE]) == FIRST


def test_where_the_table_was_lost_everybody_keeps_what_was_given() -> None:
    made = empty()
    place = made.take(claim(), 0, at=[ONE])
    made.learn({}, lives=lambda _: True, named={}, now=1)
    assert made.take(claim(), 1, at=[ONE]) == place


def test_who_has_another_port_in_the_table_than_was_given_has_that_one() -> None:
    made = empty()
    before, after = made.take(claim(), 0, at=[ONE]), ActivatorPort(ONE, 20123)
    made.learn({after: claim()}, lives=lambda _: True, named={}, now=1)
    assert made.port_of(claim()) == after
    assert made.owner_of(before) is None


def test_what_another_leader_has_given_away_is_not_given_twice() -> None:
    made = empty()
    assert made.take(claim("mine"), 0, at=[ONE]) == FIRST
    made.learn({FIRST: claim("theirs")}, lives=lambda _: True, named={}, now=1)
    assert made.owner_of(FIRST) == claim("theirs")
    assert made.take(claim("mine"), 1, at=[ONE]) != FIRST


def test_a_port_that_another_leader_gave_meanwhile_is_kept_back_from_when_it_was_given_up_last(few: range) -> None:
    made = full(empty(), few)
    made.take(claim("first"), 0, at=[ONE])
    made.free(key(claim("first")), 0)
    [place] = {ActivatorPort(ONE, port) for port in few} - made._owners.keys()
    made.learn({**made._owners, place: claim("theirs")}, lives=lambda _: True, named={}, now=10)
    made.free(key(claim("theirs")), 400)
    with pytest.raises(ExhaustedError):
        made.take(claim("next"), 400 + QUARANTINE - 1, at=[ONE])
    assert made.take(claim("next"), 400 + QUARANTINE, at=[ONE]) == place


# --- without a table -------------------------------------------------------------------------------------------------


def test_where_a_slice_leads_already_nobody_else_is_put() -> None:
    made = learnt({}, named={PORTS[0]: frozenset({key(claim("other"))})})
    assert made.take(claim(), 0, at=[ONE]).port != PORTS[0]
    assert made.take(claim("other"), 0, at=[ONE]).port == PORTS[0]


def test_where_two_slices_lead_neither_is_put() -> None:
    made = learnt({}, named={20123: frozenset({key(claim()), key(claim("evil"))})})
    assert 20123 not in {made.take(each, 0, at=[ONE]).port for each in (claim(), claim("evil"))}


def full(made: PortAllocation, few: range) -> PortAllocation:
    for port in few[1:]:
        made.take(claim(str(port)), 0, at=[ONE])
    return made


def test_a_port_that_a_slice_named_and_nobody_took_is_given_to_others_after_a_while(few: range) -> None:
    made = full(learnt({}, named={few[0]: frozenset({key(claim("one")), key(claim("evil"))})}), few)
    with pytest.raises(ExhaustedError):
        made.take(claim(), QUARANTINE - 1, at=[ONE])
    assert made.take(claim(), QUARANTINE, at=[ONE]).port == few[0]


def test_a_port_that_slices_still_name_when_the_table_is_read_anew_is_kept_back_anew(few: range) -> None:
    named = {few[0]: frozenset({key(claim("one")), key(claim("evil"))})}
    made = full(learnt({}, named=named), few)
    made.learn({}, lives=lambda _: True, named=named, now=10)
    with pytest.raises(ExhaustedError):
        made.take(claim(), QUARANTINE, at=[ONE])
    assert made.take(claim(), 10 + QUARANTINE, at=[ONE]).port == few[0]


def test_a_port_that_a_slice_named_is_nobodys_for_a_while_after_its_own_one_had_it(few: range) -> None:
    made = full(learnt({}, named={few[0]: frozenset({key(claim())})}), few)
    assert made.take(claim(), 1, at=[ONE]).port == few[0]
    made.free(key(claim()), 400)
    with pytest.raises(ExhaustedError):
        made.take(claim("next"), 400 + QUARANTINE - 1, at=[ONE])
    assert made.take(claim("next"), 400 + QUARANTINE, at=[ONE]).port == few[0]


@pytest.mark.parametrize("port", [22, 19999, 30000])
def test_a_slice_that_leads_to_no_port_of_the_activator_is_no_reason_for_one(port: int) -> None:
    made = learnt({}, named={port: frozenset({key(claim())})})
    assert made.take(claim(), 0, at=[ONE]) == FIRST


def test_a_slice_counts_for_nothing_where_the_table_says_otherwise() -> None:
    wanted = ActivatorPort(ONE, 20123)
    for there in (claim("victim"), claim("gone")):
        made = learnt({wanted: there}, dead=(claim("gone"),), named={20123: frozenset({key(claim())})})
        assert made.take(claim(), 0, at=[ONE]) != wanted


# --- always ----------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 2), st.sampled_from(["take", "free", "learn"]))))
def test_no_two_ever_share_a_port_and_none_is_given_again_too_soon(deeds: list[tuple[int, int, str]]) -> None:
    made, now = empty(ONE, TWO), 0.0
    given_up: dict[ActivatorPort, float] = {}
    for number, uid, deed in deeds:
        now += QUARANTINE / 4
        whose = claim(f"m{number}", uid=str(uid))
        before = dict(made._owners)
        others = {each for each in before.values() if each.uid != str(uid)}
        if deed == "take":
            place = made.take(whose, now, at=[ONE, TWO])
            assert before.get(place, whose) == whose
            assert place in before or now - given_up.get(place, -QUARANTINE) >= QUARANTINE
        elif deed == "free":
            made.free(key(whose), now)
        else:
            made.learn(before, lives=others.__contains__, named={}, now=now)
        given_up |= dict.fromkeys(before.keys() - made._owners.keys(), now)
        owned = {place: owner for owner, place in made._places.values()}
        assert owned == made._owners
