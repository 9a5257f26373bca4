"""The cache: events in any order in which a watch may report them, and the events that it may miss."""

import json
from typing import Any

import pytest
from slipway.api.names import OWNER_LABEL
from slipway.kube.store import LAST_APPLIED, Packing, Store, bare, pruned
from slipway.objects.kinds import DEPLOYMENT, POD, Object


def pod(name: str, version: int, *, uid: str | None = None, **metadata: Any) -> Object:
    uid = uid or f"uid of {name}"
    named = {"name": name, "namespace": "chat", "uid": uid, "resourceVersion": str(version)}
    return {"metadata": {**named, **metadata}}


@pytest.fixture
def store() -> Store:
    return Store([POD, DEPLOYMENT], index_by=[OWNER_LABEL])


def test_the_newest_event_counts(store: Store) -> None:
    assert store.take(POD, "ADDED", pod("a", 1), now=0)
    assert store.take(POD, "MODIFIED", pod("a", 2), now=0)
    assert store.get(POD, "a", "chat") == pod("a", 2)


def test_an_older_event_is_ignored(store: Store) -> None:
    store.take(POD, "MODIFIED", pod("a", 10), now=0)
    assert not store.take(POD, "MODIFIED", pod("a", 9), now=0)
    assert store.get(POD, "a", "chat") == pod("a", 10)


def test_listing_a_known_object_again_is_not_a_change(store: Store) -> None:
    store.take(POD, "ADDED", pod("a", 1), now=0)
    assert not store.take(POD, None, pod("a", 1), now=0)


def test_a_deleted_object_is_gone(store: Store) -> None:
    store.take(POD, "ADDED", pod("a", 1), now=0)
    assert store.take(POD, "DELETED", pod("a", 2), now=0)
    assert store.get(POD, "a", "chat") is None


def test_the_late_deletion_of_an_object_does_not_remove_its_successor(store: Store) -> None:
    store.take(POD, "ADDED", pod("a", 1, uid="old"), now=0)
    store.take(POD, "ADDED", pod("a", 5, uid="new"), now=0)
    assert not store.take(POD, "DELETED", pod("a", 3, uid="old"), now=0)
    assert store.get(POD, "a", "chat") == pod("a", 5, uid="new")


def test_a_restarted_watch_counts_even_if_the_cluster_was_restored_to_an_older_state(store: Store) -> None:
    store.take(POD, "ADDED", pod("a", 100), now=0, epoch=1)
    assert store.take(POD, None, pod("a", 50), now=0, epoch=2)
    assert store.get(POD, "a", "chat") == pod("a", 50)


def test_unused_fields_are_not_stored() -> None:
    annotations = {LAST_APPLIED: "{…}", "kept": "yes"}
    whole = pod("a", 1, managedFields=[{"manager": "x"}], annotations=annotations)
    assert pruned(whole) == pod("a", 1, annotations={"kept": "yes"})


def test_strings_that_many_objects_share_are_stored_once(store: Store) -> None:
    for name in ("a", "b"):
        store.take(POD, "ADDED", json.loads(json.dumps(pod(name, 1, labels={"team": "blue and green"}))), now=0)
    first, second = (each["metadata"]["labels"] for each in store.all(POD))
    assert next(iter(first)) is next(iter(second))
    assert first["team"] is second["team"]


def test_objects_of_a_packed_kind_are_returned_as_they_were_stored() -> None:
    store = Store([POD, DEPLOYMENT], index_by=[OWNER_LABEL], packed=[POD])
    packed = pod("a", 1, labels={OWNER_LABEL: "llama", "of": "Größe ☃"}, generation=2)
    store.take(POD, "ADDED", packed, now=0)
    assert store.get(POD, "a", "chat") == packed
    assert store.labelled(POD, "llama", "chat") == store.all(POD) == [packed]
    assert [*store.places(POD)] == [("chat", "a")]


def test_a_packed_kind_follows_changes_and_deletions() -> None:
    store = Store([POD, DEPLOYMENT], index_by=[OWNER_LABEL], packed=[POD])
    store.take(POD, "ADDED", pod("a", 1, labels={OWNER_LABEL: "llama"}), now=0)
    assert store.get(POD, "a", "chat")
    store.take(POD, "MODIFIED", pod("a", 2, labels={OWNER_LABEL: "gemma"}), now=0)
    assert store.get(POD, "a", "chat") == pod("a", 2, labels={OWNER_LABEL: "gemma"})
    assert store.labelled(POD, "llama", "chat") == []
    gone = store.compare(POD, [], since=store.mark, now=0).ghosts
    assert gone == (pod("a", 2, labels={OWNER_LABEL: "gemma"}),)
    assert store.labelled(POD, "gemma", "chat") == []


def test_only_the_packed_objects_that_were_read_last_stay_unpacked() -> None:
    store = Store([POD], index_by=[OWNER_LABEL], packed=[POD])
    count = Packing.MOST_READ + 1
    for number in range(count):
        store.take(POD, "ADDED", pod(str(number), number + 1), now=0)
    first = store.get(POD, "0", "chat")
    assert store.get(POD, "0", "chat") is first
    for number in range(1, count):
        store.get(POD, str(number), "chat")
    assert store.get(POD, "0", "chat") is not first


def test_hints_are_not_waited_for_and_those_of_an_ended_watch_are_forgotten() -> None:
    store = Store([POD, DEPLOYMENT], index_by=[OWNER_LABEL], hints=[POD])
    store.take(POD, "ADDED", pod("a", 1), now=0)
    assert store.unsynced() == [DEPLOYMENT]
    store.forget_hints()
    assert store.get(POD, "a", "chat") is None
    assert store.unsynced() == [DEPLOYMENT]


def test_objects_are_found_by_the_owner_label_within_their_namespace(store: Store) -> None:
    store.take(POD, "ADDED", pod("b", 1, labels={OWNER_LABEL: "llama"}), now=0)
    store.take(POD, "ADDED", pod("a", 2, labels={OWNER_LABEL: "llama"}), now=0)
    store.take(POD, "ADDED", pod("c", 3, labels={OWNER_LABEL: "gemma"}), now=0)
    assert [found["metadata"]["name"] for found in store.labelled(POD, "llama", "chat")] == ["a", "b"]
    assert store.labelled(POD, "llama", "elsewhere") == []


def test_indexes_follow_changes(store: Store) -> None:
    store.take(POD, "ADDED", pod("a", 1, labels={OWNER_LABEL: "llama"}), now=0)
    store.take(POD, "MODIFIED", pod("a", 2, labels={OWNER_LABEL: "gemma"}), now=0)
    assert store.labelled(POD, "llama", "chat") == []
    store.take(POD, "DELETED", pod("a", 3, labels={OWNER_LABEL: "gemma"}), now=0)
    assert store.labelled(POD, "gemma", "chat") == []


# --- compared with a list --------------------------------------------------------------------------------------------


def test_an_object_missing_from_the_list_is_a_missed_deletion(store: Store) -> None:
    store.take(POD, "ADDED", pod("ghost", 1), now=0)
    difference = store.compare(POD, [], since=store.mark, now=0)
    assert difference.ghosts == (pod("ghost", 1),)
    assert store.all(POD) == []


def test_an_object_that_arrived_during_the_list_is_not_a_missed_deletion(store: Store) -> None:
    since = store.mark
    store.take(POD, "ADDED", pod("new", 9), now=0)
    assert store.compare(POD, [], since=since, now=0).ghosts == ()
    assert store.all(POD) == [pod("new", 9)]


def test_a_listed_object_that_no_watch_reported_means_behind(store: Store) -> None:
    store.take(POD, "ADDED", pod("old", 1), now=0)
    listed = [pod("old", 7), pod("unknown", 8)]
    behind = store.compare(POD, listed, since=store.mark, now=0).behind
    assert behind == {"uid of old": store.mark, "uid of unknown": 0}


def test_a_change_during_the_list_does_not_mean_behind(store: Store) -> None:
    since = store.mark
    store.take(POD, "MODIFIED", pod("a", 9), now=0)
    assert store.compare(POD, [pod("a", 8)], since=since, now=0).behind == {}


def test_a_kind_is_synced_once_all_listed_objects_are_known(store: Store) -> None:
    store.compare(POD, [pod("a", 1)], since=store.mark, now=0)
    assert not store.is_synced(POD)
    store.take(POD, None, pod("a", 1), now=0)
    store.compare(POD, [pod("a", 1)], since=store.mark, now=0)
    assert store.is_synced(POD)
    assert store.unsynced() == [DEPLOYMENT]


def test_a_kind_without_objects_is_synced_by_an_empty_list(store: Store) -> None:
    store.compare(POD, [], since=store.mark, now=0)
    assert store.is_synced(POD)


def test_a_kind_that_the_cluster_does_not_have_counts_as_synced(store: Store) -> None:
    store.take(POD, "ADDED", pod("a", 1), now=0)
    assert store.miss(POD) == [pod("a", 1)]
    assert store.is_missing(POD)
    assert store.is_synced(POD)
    assert store.all(POD) == []


def test_a_kind_that_came_back_is_not_synced_before_it_is_listed(store: Store) -> None:
    store.miss(POD)
    store.found(POD)
    assert not store.is_synced(POD)


def test_the_age_of_a_kind_counts_from_when_it_was_last_up_to_date(store: Store) -> None:
    store.take(POD, "ADDED", pod("a", 1), now=10)
    assert store.ages(15) == {"Pod": 5}
    store.compare(POD, [pod("a", 1)], since=store.mark, now=20)
    store.compare(POD, [pod("a", 2)], since=store.mark, now=30)
    assert store.ages(32) == {"Pod": 12}


def test_a_kind_that_no_audit_compares_has_no_age() -> None:
    """Pods have few events in a quiet cluster, and what can't be seen any longer isn't waited for."""
    store = Store([POD, DEPLOYMENT], hints=[POD], may_be_closed=[DEPLOYMENT])
    store.take(POD, "ADDED", pod("a", 1), now=10)
    store.take(DEPLOYMENT, "ADDED", pod("a", 1), now=10)
    assert store.ages(1000) == {"Deployment": 990}
    store.close(DEPLOYMENT)
    assert store.ages(1000) == {}


def test_of_an_object_that_is_too_large_its_existence_and_its_owner_are_known() -> None:
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "a", "uid": "7", "controller": True}
    large = pod("a", 1, labels={OWNER_LABEL: "llama", "large": "x"})
    large["metadata"]["ownerReferences"] = [{**owner, "controller": False, "name": "b"}, owner]
    large["spec"] = {"large": "x"}
    kept = bare(large, [OWNER_LABEL])
    assert kept["metadata"]["labels"] == {OWNER_LABEL: "llama"}
    assert kept["metadata"]["ownerReferences"] == [owner]
    assert kept.keys() == {"metadata"}


# --- many objects of one owner ---------------------------------------------------------------------------------------


def of_llama(number: int) -> Object:
    return pod(f"{number:03}", number + 1, labels={OWNER_LABEL: "llama"})


def version_of(obj: Object) -> int:
    return int(obj["metadata"]["resourceVersion"])


@pytest.fixture
def many() -> Store:
    """Packed objects, which no test may unpack."""
    store = Store([POD], index_by=[OWNER_LABEL], packed=[POD])
    for number in reversed(range(20)):
        store.take(POD, "ADDED", of_llama(number), now=0)
    store.keep_briefs(POD, version_of)
    return store


def test_a_change_of_one_of_many_reads_none_of_them(many: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Packing, "unpacked", lambda *_: pytest.fail("it is read"))
    many.take(POD, "MODIFIED", pod("005", 100, labels={OWNER_LABEL: "llama"}), now=0)
    many.take(POD, "MODIFIED", pod("006", 101), now=0)
    many.take(POD, "DELETED", pod("007", 102), now=0)
    many.take(POD, "ADDED", pod("0050", 103, labels={OWNER_LABEL: "llama"}), now=0)
    assert many.briefs(POD, "llama", "chat") == [*range(1, 6), 100, 103, *range(9, 21)]


def test_if_there_are_too_many_objects_those_with_the_greatest_briefs_are_returned(many: Store) -> None:
    assert sorted(map(version_of, many.labelled(POD, "llama", "chat", most=3))) == [18, 19, 20]
    assert many.labelled(POD, "llama", "chat", most=20) == many.labelled(POD, "llama", "chat")


def test_an_object_without_a_possible_brief_is_stored_without_one(
    many: Store, caplog: pytest.LogCaptureFixture
) -> None:
    many.keep_briefs(POD, lambda obj: obj["spec"])
    assert many.take(POD, "ADDED", of_llama(50), now=0)
    assert many.briefs(POD, "llama", "chat")[-1] is None
    assert "No brief can be made of Pod chat/050" in caplog.text
