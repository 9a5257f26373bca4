"""Our own writes are visible immediately, even if the cache lags behind, and are forgotten once it is as new."""

from __future__ import annotations

import pytest
from slipway.kube.overlay import Overlay
from slipway.kube.store import Store
from slipway.objects.kinds import SERVICE, Object, ObjectKey

OWNER = "slipway.dev/llmdeployment"


def service(version: int, port: int = 80, *, uid: str = "1", name: str = "llama", **metadata: object) -> Object:
    named = {"name": name, "namespace": "chat", "labels": {OWNER: "llama"}, **metadata}
    identity = {"uid": uid, "resourceVersion": str(version)}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {**named, **identity}, "spec": {"port": port}}


class Cluster:
    """Passes what watches report through the store to the overlay."""

    def __init__(self) -> None:
        self.store = Store([SERVICE], index_by=(OWNER,))
        self.overlay = Overlay(self.store)

    def reports(self, found: Object, type_: str = "MODIFIED") -> None:
        if self.store.take(SERVICE, type_, found, now=0):
            self.overlay.watch_reported(SERVICE, found)

    @property
    def seen(self) -> Object | None:
        return self.overlay.get(SERVICE, "llama", "chat")


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


# --- writes ----------------------------------------------------------------------------------------------------------


def test_a_write_is_visible_until_the_cache_is_as_new(cluster: Cluster) -> None:
    cluster.reports(service(9))
    cluster.overlay.wrote(SERVICE, service(10, 81))
    assert cluster.seen == service(10, 81)
    cluster.reports(service(10, 81))
    assert cluster.seen == service(10, 81)
    assert len(cluster.overlay) == 0


def test_an_object_that_was_just_created_is_visible(cluster: Cluster) -> None:
    cluster.overlay.wrote(SERVICE, service(10))
    assert cluster.seen == service(10)


def test_a_newer_state_in_the_cache_wins(cluster: Cluster) -> None:
    cluster.overlay.wrote(SERVICE, service(10, 81))
    cluster.reports(service(11, 82))
    assert cluster.seen == service(11, 82)


def test_a_response_that_the_cache_already_has_is_not_stored(cluster: Cluster) -> None:
    cluster.reports(service(10))
    cluster.overlay.wrote(SERVICE, service(10, 81))
    assert len(cluster.overlay) == 0
    cluster.overlay.wrote(SERVICE, service(11))
    assert len(cluster.overlay) == 1


@pytest.mark.parametrize("found", [service(10), service(11)], ids=["ours", "newer"])
def test_a_write_is_forgotten_when_a_watch_reports_it_or_a_newer_state_even_without_a_read(
    cluster: Cluster, found: Object
) -> None:
    cluster.overlay.wrote(SERVICE, service(10))
    cluster.reports(found)
    assert len(cluster.overlay) == 0


@pytest.mark.parametrize(
    "found", [service(9), service(11, uid="2"), service(11, name="other")], ids=["older", "another uid", "another name"]
)
def test_a_write_is_kept_until_a_watch_reports_it(cluster: Cluster, found: Object) -> None:
    cluster.overlay.wrote(SERVICE, service(10))
    cluster.reports(found)
    assert len(cluster.overlay) == 1


def test_an_object_that_others_deleted_after_our_write_is_gone(cluster: Cluster) -> None:
    cluster.reports(service(9))
    cluster.overlay.wrote(SERVICE, service(10))
    cluster.reports(service(11), "DELETED")
    assert cluster.seen is None


def test_managed_fields_of_a_response_are_not_stored(cluster: Cluster) -> None:
    cluster.overlay.wrote(SERVICE, service(10, managedFields=[{"manager": "slipway"}]))
    assert cluster.seen == service(10)


# --- deletes ---------------------------------------------------------------------------------------------------------


def test_a_deleted_object_is_gone_immediately(cluster: Cluster) -> None:
    cluster.reports(service(10))
    cluster.overlay.deleted(SERVICE, service(10))
    assert cluster.seen is None
    assert cluster.overlay.labelled(SERVICE, "llama", "chat") == []


def test_an_older_state_that_is_reported_late_does_not_bring_it_back(cluster: Cluster) -> None:
    cluster.reports(service(8))
    cluster.overlay.deleted(SERVICE, service(10))
    cluster.reports(service(9))
    cluster.reports(service(10))
    assert cluster.seen is None


def test_the_tombstone_is_removed_when_the_watch_reports_the_deletion(cluster: Cluster) -> None:
    cluster.reports(service(10))
    cluster.overlay.deleted(SERVICE, service(10))
    cluster.reports(service(11), "DELETED")
    assert (cluster.seen, len(cluster.overlay)) == (None, 0)


def test_a_successor_is_visible(cluster: Cluster) -> None:
    cluster.reports(service(10))
    cluster.overlay.deleted(SERVICE, service(10))
    cluster.reports(service(12, uid="2"))
    assert cluster.seen == service(12, uid="2")
    assert len(cluster.overlay) == 0


def test_a_successor_of_ours_replaces_the_tombstone(cluster: Cluster) -> None:
    cluster.reports(service(10))
    cluster.overlay.deleted(SERVICE, service(10))
    cluster.overlay.wrote(SERVICE, service(12, uid="2"))
    assert cluster.seen == service(12, uid="2")


def test_an_object_with_a_finalizer_is_shown_as_terminating_until_the_cache_has_that(cluster: Cluster) -> None:
    kept = service(10, finalizers=["keda"])
    cluster.reports(kept)
    cluster.overlay.deleted(SERVICE, kept)
    assert cluster.seen
    assert "deletionTimestamp" in cluster.seen["metadata"]
    going = service(11, finalizers=["keda"], deletionTimestamp="2026-11-21T10:00:00Z")
    cluster.reports(going)
    assert cluster.seen == going
    cluster.reports(service(12), "DELETED")
    assert not cluster.seen
    assert len(cluster.overlay) == 0


# --- lists and forgetting --------------------------------------------------------------------------------------------


def test_lists_have_the_newest_state_of_each_object_too(cluster: Cluster) -> None:
    cluster.reports(service(8, name="a"))
    cluster.reports(service(9))
    cluster.overlay.wrote(SERVICE, service(10, 81))
    assert cluster.overlay.labelled(SERVICE, "llama", "chat") == [service(8, name="a"), service(10, 81)]


def test_a_forgotten_object_is_as_in_the_cache(cluster: Cluster) -> None:
    cluster.reports(service(9))
    cluster.overlay.wrote(SERVICE, service(10))
    cluster.overlay.forget(ObjectKey(SERVICE, "chat", "llama"))
    assert cluster.seen == service(9)
    cluster.overlay.wrote(SERVICE, service(10))
    cluster.overlay.clear()
    assert cluster.seen == service(9)
