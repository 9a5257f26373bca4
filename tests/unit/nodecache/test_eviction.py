"""What is removed from a node, and which volumes are refused."""

from __future__ import annotations

import time
from typing import Any

import pytest
from slipway.nodecache.eviction import Disk, Entry, Limits, Why, refusal, to_evict

NOW, HOUR, GB = 1_000_000.0, 3600.0, 10**9
ROOMY = Disk(size=1000 * GB, free=900 * GB)


def limits(**given: Any) -> Limits:
    return Limits(**{"total": None, "namespace": None, "min_free": 0.15, "unused_for": 720 * HOUR, **given})


def entry(key: str, *, size: int = 10 * GB, hours: float = 1, used: bool = False, namespace: str = "a") -> Entry:
    return Entry(namespace, key, size, NOW - hours * HOUR, used)


def evicted(*entries: Entry, disk: Disk = ROOMY, **given: Any) -> list[tuple[str, Why]]:
    return [(each.key, why) for each, why in to_evict(entries, limits(**given), disk, NOW)]


def test_nothing_goes_while_there_is_room() -> None:
    assert evicted(entry("1"), entry("2", hours=700)) == []


def test_what_was_not_used_for_long_goes() -> None:
    assert evicted(entry("1", hours=719), entry("2", hours=721)) == [("2", Why.AGE)]


def test_the_least_recently_used_go_first_until_all_together_are_small_enough() -> None:
    entries = (entry("1", hours=2), entry("2", hours=3), entry("3", hours=1))
    assert evicted(*entries, total=15 * GB) == [("2", Why.TOTAL), ("1", Why.TOTAL)]


def test_what_a_namespace_has_above_its_size_takes_nothing_from_others() -> None:
    entries = (entry("1", size=90 * GB, used=True), entry("2", namespace="b"))
    assert evicted(*entries, total=50 * GB, namespace=20 * GB) == []
    assert refusal(entries, "b", limits(total=50 * GB, namespace=20 * GB), ROOMY) is None


def test_very_many_models_are_looked_at_quickly() -> None:
    """A tenant chooses how many there are. With each compared with each, these took minutes."""
    many = [Entry("a", f"{number:016x}", 4096, float(number), False, number % 2 == 0) for number in range(60_000)]
    started = time.process_time()
    assert len(to_evict(many, limits(total=0), ROOMY, 0.0)) == len(many)
    assert time.process_time() - started < 20


def test_a_namespace_with_too_much_loses_its_own_and_no_other_does() -> None:
    entries = (entry("1", hours=2), entry("2", hours=1), entry("3", hours=9, namespace="b"))
    assert evicted(*entries, namespace=15 * GB) == [("1", Why.NAMESPACE)]


def test_models_go_until_the_disk_has_room_again() -> None:
    nearly_full = Disk(size=100 * GB, free=4 * GB)
    entries = (entry("1", hours=3), entry("2", hours=2), entry("3", hours=1))
    assert evicted(*entries, disk=nearly_full) == [("1", Why.DISK), ("2", Why.DISK)]


def test_what_goes_for_one_reason_counts_for_the_others() -> None:
    nearly_full = Disk(size=100 * GB, free=4 * GB)
    entries = (entry("1", hours=800), entry("2", hours=2), entry("3", hours=1))
    assert evicted(*entries, disk=nearly_full, total=10 * GB) == [("1", Why.AGE), ("2", Why.DISK)]


@pytest.mark.parametrize("given", [{"total": 1}, {"namespace": 1}, {"unused_for": 1.0}, {"min_free": 0.99}])
def test_what_a_pod_uses_never_goes(given: dict[str, Any]) -> None:
    assert evicted(entry("1", used=True), **given) == []


def test_what_cant_be_counted_is_not_a_model_and_goes() -> None:
    assert evicted(Entry("a", "1", 1, NOW, is_used=False, is_counted=False)) == [("1", Why.UNCOUNTED)]


# --- refusals --------------------------------------------------------------------------------------------------------


def refused(*entries: Entry, disk: Disk = ROOMY, **given: Any) -> str | None:
    return refusal(entries, "a", limits(**given), disk)


def test_a_volume_is_published_while_there_is_room() -> None:
    assert refused(entry("1", used=True), total=11 * GB, namespace=11 * GB) is None


@pytest.mark.parametrize(
    ("given", "remedy"),
    [
        ({"namespace": 10 * GB}, "modelCache.node.namespaceSize"),
        ({"total": 10 * GB}, "modelCache.node.totalSize"),
        ({"disk": Disk(size=100 * GB, free=7 * GB)}, "modelCache.node.minFreePercent"),
    ],
)
def test_a_volume_that_would_exceed_a_limit_is_refused_with_the_value_that_sets_it(
    given: dict[str, Any], remedy: str
) -> None:
    assert remedy in (refused(entry("1", used=True), **given) or "")


def test_another_namespace_s_models_count_for_the_limit_of_all_but_not_for_its_own() -> None:
    theirs = entry("1", used=True, namespace="b")
    assert refused(theirs, namespace=5 * GB) is None
    assert refused(theirs, total=5 * GB)


def test_a_disk_between_both_limits_loses_models_but_refuses_no_volume() -> None:
    assert refused(disk=Disk(size=100 * GB, free=8 * GB)) is None


def test_a_namespace_whose_files_cant_be_counted_gets_no_further_volume() -> None:
    many = Entry("a", "", 1, NOW, is_used=True, is_counted=False)
    assert "counted" in (refused(many) or "")
