"""What a start reports of its compile cache: the state and the reason after reading, and after each try to publish."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from slipway_runtime.compiled.cache import CompileCache
from slipway_runtime.compiled.publishing import Outcome
from slipway_runtime.supervisor.compiling import Compiling, compile_seconds
from slipway_runtime.supervisor.phases import PhaseRecorder

PUBLISHED = Outcome(published=True, new=3, newest=["vllm/c"], bytes=100, files=3, seconds=0.5)
FAILED = Outcome(new=3, newest=["vllm/c"], reason="The store is full.")


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[CompileCache]:
    cache = CompileCache.open(tmp_path / "store", {"flag": "x"}, within=tmp_path / "pod", limit=1 << 30)
    cache.wait()
    yield cache
    cache.close()


def seen(cache: CompileCache) -> tuple[object, object, object]:
    report = cache.report.as_json()
    return report["state"], report["newFiles"], cache.missing


def test_a_start_without_an_entry_is_filling_until_it_has_published(cache: CompileCache) -> None:
    assert seen(cache) == ("Filling", None, "")
    cache.publishing_ended(PUBLISHED)
    assert seen(cache) == ("Filled", 3, "")
    assert cache.report.reason.endswith("has no entry yet. 3 files were published.")


def test_a_store_that_takes_nothing_is_unavailable_until_it_does(cache: CompileCache) -> None:
    cache.publishing_ended(FAILED)
    assert seen(cache) == ("Unavailable", 3, cache.report.reason)
    assert cache.report.reason.endswith("has no entry yet. The store is full.")
    cache.publishing_ended(FAILED)
    assert seen(cache)[1] == 3  # the same files as before
    cache.publishing_ended(PUBLISHED)
    assert seen(cache) == ("Filled", 3, "")


def test_what_requests_have_compiled_is_counted_as_well(cache: CompileCache) -> None:
    cache.publishing_ended(PUBLISHED)
    cache.publishing_ended(Outcome(published=True, new=1, newest=["vllm/d"], bytes=120, files=4, seconds=0.5))
    assert (*seen(cache)[:2], cache.report.bytes, cache.report.newest) == ("Filled", 4, 120, ("vllm/d",))


def test_an_entry_stays_if_more_cannot_be_published(cache: CompileCache) -> None:
    cache.publishing_ended(PUBLISHED)
    cache.publishing_ended(Outcome(new=1, newest=["vllm/d"], reason="The store is full."))
    assert seen(cache) == ("Filled", 4, "The store is full.")


def test_an_engine_that_compiles_nothing_has_no_cache_and_says_nothing_of_it() -> None:
    cache = CompileCache.off("It compiles nothing.")
    cache.wait()
    assert (cache.environment({"A": "a"}), cache.missing, cache.is_on) == ({}, "", False)
    assert str(Compiling(cache, said=lambda _: None)) == ""


def test_the_log_and_the_trace_of_a_start_have_the_state(cache: CompileCache) -> None:
    compiling = Compiling(cache, said=lambda _: None)
    assert str(compiling) == ", compile cache Filling"
    assert compiling.facts() == {"compile_cache": "Filling"}


def test_the_folder_for_the_engine_is_in_its_environment(cache: CompileCache, tmp_path: Path) -> None:
    assert cache.environment({"TRITON_CACHE_DIR": "triton"}) == {
        "TRITON_CACHE_DIR": str(tmp_path / "pod/compiled/files/triton")
    }


@pytest.mark.parametrize(("folder", "entries"), [("/cache", 2), ("", 1)], ids=["on devices", "on CPUs"])
def test_starts_in_folders_of_different_names_share_an_entry_only_if_paths_do_not_matter(
    tmp_path: Path, folder: str, entries: int
) -> None:
    def opened() -> CompileCache:
        return CompileCache.open(tmp_path / "store", {"folder": folder}, within=tmp_path / "pod", limit=1 << 30)

    first, second = opened(), opened()
    keys = [first.report.key, second.report.key]
    assert len(set(keys)) == entries
    assert first.environment({"A": ""}) != second.environment({"A": ""})
    for cache in (first, second):
        cache.wait()
        cache.close()
    again = [opened(), opened()]
    assert [cache.report.key for cache in again] == keys  # so that what both have published is read
    for cache in again:
        cache.wait()
        cache.close()


def test_a_process_that_cannot_be_started_costs_only_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("os.fork", fails)
    cache = CompileCache.open(tmp_path / "store", {}, within=tmp_path / "pod", limit=1)
    cache.wait()
    assert cache.report.reason == f"The store {tmp_path / 'store'} wasn't read: Resource temporarily unavailable."
    cache.close()


@pytest.mark.parametrize(
    ("reached", "seconds"),
    [
        ({"loaded": 2.0, "compiled": 3.0, "profiled": 5.0}, 3.0),
        ({"loaded": 2.0, "profiled": 5.0}, 3.0),
        ({"loaded": 2.0}, None),
        ({}, None),
    ],
)
def test_the_time_for_compiling_is_that_from_the_weights_to_the_profile(
    reached: dict[str, float], seconds: float | None
) -> None:
    now = 0.0
    phases = PhaseRecorder(clock=lambda: now)
    for name, at in reached.items():
        now = at
        phases.reach(name)
    assert compile_seconds(phases) == seconds
