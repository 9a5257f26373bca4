"""Each deployment has a port of the activator's to itself, and keeps it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slipway.api.names import ACTIVATOR_FIRST_PORT, ACTIVATOR_LAST_PORT
from slipway.reconciling import ports
from slipway.reconciling.key import Key
from slipway.reconciling.ports import Ports

LLAMA, GEMMA = Key("chat", "llama"), Key("chat", "gemma")


def knowing(*claims: tuple[Key, int | None]) -> Ports:
    made = Ports()
    made.learn(claims)
    return made


def test_a_port_is_kept_whatever_the_service_says_later() -> None:
    made = knowing()
    port = made.of(LLAMA, None)
    assert port == made.of(LLAMA, None) == made.of(LLAMA, 29999)


def test_the_port_that_the_service_says_is_taken_over() -> None:
    assert knowing((LLAMA, 20123)).of(LLAMA, 20123) == 20123
    assert knowing().of(LLAMA, 20123) == 20123


def test_what_others_have_is_not_given_away() -> None:
    port = knowing().of(LLAMA, None)
    assert knowing((GEMMA, port)).of(LLAMA, None) != port


def test_of_two_that_claim_one_port_one_gets_another() -> None:
    made = knowing((LLAMA, 20123), (GEMMA, 20123))
    assert made.of(GEMMA, 20123) == 20123
    assert made.of(LLAMA, 20123) not in (None, 20123)


def test_a_port_is_free_again_when_its_deployment_is_gone() -> None:
    made = knowing((LLAMA, 20123))
    made.forget(LLAMA)
    assert made.of(GEMMA, 20123) == 20123


def test_a_deployment_that_is_made_anew_gets_its_port_again() -> None:
    made = knowing()
    port = made.of(LLAMA, None)
    made.forget(LLAMA)
    assert made.of(LLAMA, None) == port


def test_when_all_are_taken_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "COUNT", 1)
    made = knowing()
    assert made.of(LLAMA, None) == ACTIVATOR_FIRST_PORT
    assert made.of(GEMMA, None) is None


@given(st.lists(st.tuples(st.integers(0, 30), st.none() | st.integers(20000, 20010))))
def test_no_two_deployments_ever_share_one(claims: list[tuple[int, int | None]]) -> None:
    made = knowing()
    for number, chosen in claims:
        made.of(Key("chat", f"model-{number}"), chosen)
    given_out = {number: made.of(Key("chat", f"model-{number}"), None) for number, _ in claims}
    assert len(set(given_out.values())) == len(given_out)
    assert all(port and ACTIVATOR_FIRST_PORT <= port <= ACTIVATOR_LAST_PORT for port in given_out.values())
