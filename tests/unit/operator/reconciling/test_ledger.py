"""What was written is remembered: nothing is written twice, and what others change is seen."""

from __future__ import annotations

import pytest
from slipway.api.names import OWNER_LABEL
from slipway.kube.kinds import SERVICE, Object
from slipway.operator.reconciling.key import Key
from slipway.operator.reconciling.ledger import TOO_OFTEN, WITHIN, Ledger, projected

KEY = Key("chat", "llama")
WANTED: Object = {"spec": {"port": 80}}


def live(version: int, port: int = 80, *, uid: str = "1", **more: object) -> Object:
    return {"metadata": {"uid": uid, "resourceVersion": str(version)}, "spec": {"port": port, **more}}


@pytest.fixture
def ledger() -> Ledger:
    ledger = Ledger()
    ledger.note(SERVICE, KEY, WANTED, live(10))
    return ledger


def test_what_was_never_applied_is_new() -> None:
    assert Ledger().is_new(SERVICE, KEY, WANTED, None)


def test_what_was_applied_is_not_new_and_another_wish_is(ledger: Ledger) -> None:
    assert not ledger.is_new(SERVICE, KEY, WANTED, live(10))
    assert ledger.is_new(SERVICE, KEY, {"spec": {"port": 81}}, live(10))


@pytest.mark.parametrize("there", [None, live(11, uid="2")], ids=["gone", "another"])
def test_what_was_applied_to_an_object_that_has_gone_is_new(ledger: Ledger, there: Object | None) -> None:
    assert ledger.is_new(SERVICE, KEY, WANTED, there)


@pytest.mark.parametrize(
    ("there", "drifted"),
    [
        (live(11, 81), True),
        (live(11), False),
        (live(11, other="field"), False),
        (live(9, 81), False),  # the cache lags behind our own write
    ],
)
def test_a_field_of_ours_that_somebody_changed_is_seen(ledger: Ledger, there: Object, drifted: bool) -> None:
    assert ledger.has_drifted(SERVICE, KEY, WANTED, there) is drifted


def test_what_the_api_server_made_of_our_wish_is_no_drift() -> None:
    ledger = Ledger()
    ledger.note(SERVICE, KEY, {"spec": {"cpu": "1000m"}}, live(10, cpu="1"))
    assert not ledger.has_drifted(SERVICE, KEY, {"spec": {"cpu": "1000m"}}, live(11, cpu="1"))


def test_an_answer_that_the_cache_has_already_is_not_kept(ledger: Ledger) -> None:
    ledger.note(SERVICE, KEY, WANTED, live(10, 81), cached=live(10))
    assert ledger.newest(SERVICE, KEY, None) is None
    ledger.note(SERVICE, KEY, WANTED, live(11), cached=live(10))
    assert ledger.newest(SERVICE, KEY, None) == live(11)


def test_the_newest_is_ours_until_the_cache_has_it(ledger: Ledger) -> None:
    assert ledger.newest(SERVICE, KEY, live(9)) == live(10)
    assert ledger.newest(SERVICE, KEY, None) == live(10)
    assert ledger.newest(SERVICE, KEY, live(10, 81)) == live(10, 81)
    assert ledger.newest(SERVICE, KEY, None) is None


def told(version: int, *, uid: str = "1", **metadata: object) -> Object:
    named = {"name": KEY.name, "namespace": KEY.namespace, **metadata}
    return {"metadata": {**live(version, uid=uid)["metadata"], **named}}


@pytest.mark.parametrize(
    "thing",
    [told(10), told(11), told(12, name="llama-activator", labels={OWNER_LABEL: "llama"})],
    ids=["ours", "newer", "of another name"],
)
def test_an_answer_is_forgotten_as_soon_as_a_watch_tells_of_it_or_of_something_newer(
    ledger: Ledger, thing: Object
) -> None:
    ledger.told(SERVICE, thing)
    assert ledger.newest(SERVICE, KEY, None) is None
    assert not ledger.is_new(SERVICE, KEY, WANTED, live(10))


@pytest.mark.parametrize(
    "thing", [told(9), told(11, uid="2"), told(11, name="other")], ids=["older", "another object", "of another"]
)
def test_an_answer_is_kept_until_then(ledger: Ledger, thing: Object) -> None:
    ledger.told(SERVICE, thing)
    assert ledger.newest(SERVICE, KEY, None)


def test_of_an_answer_no_managed_fields_are_kept() -> None:
    ledger, result = Ledger(), live(10)
    result["metadata"]["managedFields"] = [{"manager": "slipway"}]
    ledger.note(SERVICE, KEY, WANTED, result)
    assert ledger.newest(SERVICE, KEY, None) == live(10)


def test_a_thing_that_is_repaired_too_often_gets_a_rest(ledger: Ledger) -> None:
    for second in range(TOO_OFTEN):
        assert ledger.rest(SERVICE, KEY, now=second) == 0
        ledger.note(SERVICE, KEY, WANTED, live(20 + second))
        ledger.repaired(SERVICE, KEY, now=second)
    assert ledger.rest(SERVICE, KEY, now=10) == WITHIN - 10
    assert ledger.rest(SERVICE, KEY, now=WITHIN) == 0


def test_what_is_forgotten_is_new_again(ledger: Ledger) -> None:
    ledger.forget(KEY)
    assert ledger.is_new(SERVICE, KEY, WANTED, live(10))


def test_only_what_is_wanted_is_compared_and_lists_are_taken_whole() -> None:
    found = {"a": {"b": 1, "c": 2}, "ports": [{"port": 80, "nodePort": 30000}], "d": 3}
    wanted = {"a": {"b": 0}, "ports": [{"port": 80}], "missing": True}
    assert projected(found, wanted) == {
        "a": {"b": 1},
        "ports": [{"port": 80, "nodePort": 30000}],
        "missing": None,
    }
