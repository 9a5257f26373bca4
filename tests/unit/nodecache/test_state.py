"""What the plugin remembers: what is in use, and when it was used."""

from __future__ import annotations

import pytest
from slipway.nodecache.layout import OTHER, by_key
from slipway.nodecache.state import State, Volume, keys_in

A, B = "0000000a-0000-0000-0000-000000000000", "0000000b-0000-0000-0000-000000000000"
KEY, OTHER_KEY = "0123456789abcdef", "fedcba9876543210"


def published() -> State:
    state = State()
    state.publish("csi-1", Volume(A, frozenset({KEY}), "/pods/1"), "team-a", now=100.0)
    return state


def test_what_a_volume_names_is_in_use_in_its_namespace_alone() -> None:
    state = published()
    assert state.is_used(A, KEY)
    assert not state.is_used(A, OTHER_KEY)
    assert not state.is_used(B, KEY)


def test_what_is_not_of_a_model_is_in_use_while_any_pod_has_the_folder() -> None:
    state = published()
    assert state.is_used(A, OTHER)
    state.unpublish("csi-1", now=200.0)
    assert not state.is_used(A, OTHER)


def test_everything_is_in_use_where_a_volume_is_mounted_that_nothing_is_known_of() -> None:
    state = State(unknown=frozenset({A}))
    assert state.is_used(A, KEY)
    assert not state.is_used(B, KEY)


def test_a_model_counts_as_used_until_its_pod_is_gone() -> None:
    state = published()
    state.unpublish("csi-1", now=200.0)
    assert state.namespaces[A].used_at[KEY] == 200.0


def test_a_volume_may_be_published_and_unpublished_twice() -> None:
    state = published()
    state.publish("csi-1", Volume(A, frozenset({KEY}), "/pods/1"), "team-a", now=150.0)
    state.unpublish("csi-1", now=200.0)
    state.unpublish("csi-1", now=300.0)
    assert not state.volumes
    assert state.namespaces[A].used_at[KEY] == 200.0


def test_what_is_gone_is_forgotten_unless_a_pod_may_be_about_to_fetch_it() -> None:
    state = published()
    state.namespaces[A].used_at[OTHER_KEY] = 50.0
    state.forget(A, {KEY, OTHER_KEY})
    assert state.namespaces[A].used_at.keys() == {KEY, OTHER}


def test_what_is_stored_is_read_again() -> None:
    state = published()
    assert State.from_json(state.to_json()) == state


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"volumes": {}, "namespaces": []}',
        '{"volumes": {"x": {"namespace": "nowhere", "keys": [], "target": "/"}}, "namespaces": {}}',
    ],
)
def test_what_cant_be_a_state_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        State.from_json(text)


# --- keys and names --------------------------------------------------------------------------------------------------


def test_a_volume_names_its_models_separated_by_commas() -> None:
    assert keys_in(f"{KEY},{OTHER_KEY}", 2) == {KEY, OTHER_KEY}
    assert keys_in("", 2) == frozenset()


@pytest.mark.parametrize(
    "attribute", ["../../../../etc", "0123456789ABCDEF", f"{KEY}\n", f"{KEY}/..", f" {KEY}", f"{KEY}-012"]
)
def test_a_key_that_could_lead_elsewhere_is_refused(attribute: str) -> None:
    with pytest.raises(ValueError, match="write names such as"):
        keys_in(attribute, 2)


def test_too_many_keys_are_refused() -> None:
    with pytest.raises(ValueError, match="names 3 models, and 2 are allowed"):
        keys_in(",".join(f"{number:016x}" for number in range(3)), 2)


def test_names_belong_to_the_model_whose_key_they_have() -> None:
    names = [
        KEY,
        f"{OTHER_KEY}-01234567",
        f".{KEY}.partial",
        f".{OTHER_KEY}.discarded",
        "notes.txt",
        f"{KEY}.bak",
    ]
    assert by_key(names) == {
        KEY: [KEY, f".{KEY}.partial"],
        f"{OTHER_KEY}-01234567": [f"{OTHER_KEY}-01234567"],
        OTHER_KEY: [f".{OTHER_KEY}.discarded"],
        OTHER: ["notes.txt", f"{KEY}.bak"],
    }
