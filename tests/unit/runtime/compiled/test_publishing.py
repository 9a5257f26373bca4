"""Whatever goes wrong while an entry is published, at whichever step: the store has the old entry or the new one."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from slipway_runtime.compiled import eviction, publishing, snapshot
from slipway_runtime.compiled.archive import Packed, pack
from slipway_runtime.compiled.eviction import ABANDONED_AFTER, REPLACED_FOR, UNFINISHED, UNUSED_FOR
from slipway_runtime.compiled.publishing import Outcome, Request, publish
from slipway_runtime.compiled.reading import read
from slipway_runtime.compiled.scratch import Scratch
from slipway_runtime.compiled.store import name_of

KEY = {"engine": "vLLM 0.32.0"}
AGES_AGO = 1_000_000_000
STEPS = ("open", "write", "fsync", "rename", "mkdir", "unlink")


def compile_into(scratch: Scratch, name: str, content: str = "compiled") -> Path:
    file = scratch.files / "vllm" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)
    os.utime(file, (AGES_AGO, AGES_AGO))
    return file


def published(store: Path, scratch: Scratch, key: dict[str, str] = KEY, limit: int = 1 << 30) -> Outcome:
    return publish(
        Request(root=str(store), key=key, files=str(scratch.files), snapshot=str(scratch.snapshot), limit=limit)
    )


def entry_files(store: Path, tmp_path: Path, key: dict[str, str] = KEY) -> set[str]:
    """Returns the names of the files that a start would find; empty without an entry."""
    reader = Scratch.within(tmp_path / "reader")
    try:
        found = read(store, key, reader)
        assert found.found or "has no entry yet" in found.reason or "No entry of" in found.reason
        return {file.name for file in reader.files.rglob("*") if file.is_file()}
    finally:
        reader.close()


# --- what is published -----------------------------------------------------------------------------------------------


def test_nothing_is_published_if_nothing_is_new(store: Path, scratch: Scratch) -> None:
    compile_into(scratch, "a")
    assert published(store, scratch).published
    assert published(store, scratch) == Outcome()


def test_a_start_that_read_an_entry_publishes_only_if_it_compiled_more(store: Path, scratch: Scratch) -> None:
    compile_into(scratch, "a")
    published(store, scratch)
    assert read(store, KEY, scratch).found
    assert published(store, scratch) == Outcome()
    compile_into(scratch, "b")
    again = published(store, scratch)
    assert (again.new, list(again.newest), again.files) == (1, ["vllm/b"], 2)


def test_a_file_that_was_compiled_again_is_new(store: Path, scratch: Scratch) -> None:
    file = compile_into(scratch, "a")
    published(store, scratch)
    file.write_text("Compiled")
    os.utime(file, (AGES_AGO + 1, AGES_AGO + 1))
    assert published(store, scratch).new == 1


def test_notes_of_a_start_are_published_but_are_not_called_compiled(store: Path, scratch: Scratch) -> None:
    (scratch.files / "wanted-core").write_text("0 1 /x")
    os.utime(scratch.files / "wanted-core", (AGES_AGO, AGES_AGO))
    outcome = published(store, scratch)
    assert (outcome.published, outcome.new, outcome.files) == (True, 0, 1)


def test_unfinished_files_links_and_pipes_are_left_out(store: Path, scratch: Scratch, tmp_path: Path) -> None:
    compile_into(scratch, "a")
    for name in ("a.lock", "a.123.tmp", "tmp.pid_1_x/kernel", "__pycache__/a.cpython-312.pyc"):
        compile_into(scratch, name)
    (scratch.files / "vllm/link").symlink_to("/etc/passwd")
    os.mkfifo(scratch.files / "vllm/pipe")
    published(store, scratch)
    assert entry_files(store, tmp_path) == {"a"}


def test_a_file_that_is_still_written_to_is_left_out(
    store: Path, scratch: Scratch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compile_into(scratch, "a")
    compiling = compile_into(scratch, "b", "half of")
    monkeypatch.setattr(time, "sleep", lambda _: os.utime(compiling))
    os.utime(compiling)
    published(store, scratch)
    assert entry_files(store, tmp_path) == {"a"}


def test_a_file_that_changes_while_it_is_packed_is_not_published(
    store: Path, scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = compile_into(scratch, "a")

    def pack_and_change(*arguments: Any) -> Packed:
        packed = pack(*arguments)
        file.write_text("changed")
        return packed

    monkeypatch.setattr(publishing, "pack", pack_and_change)
    assert "vllm/a was changed while it was published" in published(store, scratch).reason
    assert not list(store.glob("*/*"))


def test_a_key_that_no_manifest_can_hold_is_not_published(store: Path, scratch: Scratch) -> None:
    compile_into(scratch, "a")
    assert "too much for a manifest" in published(store, scratch, {"flags": "x" * (1 << 18)}).reason
    assert not list(store.glob("*/*"))


@pytest.mark.parametrize(("limit", "value"), [("MOST_FILES", 2), ("MOST_BYTES", 5000), ("MOST_FOLDERS", 2)])
def test_what_no_start_would_read_is_not_published(
    store: Path, scratch: Scratch, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    monkeypatch.setattr(publishing, limit, value)
    for name in ("a", "b/c", "d/e/f"):
        compile_into(scratch, name)
    assert "too much for an entry" in published(store, scratch).reason


def test_a_clock_that_was_set_back_does_not_keep_files_from_being_published(
    store: Path, scratch: Scratch, tmp_path: Path
) -> None:
    os.utime(compile_into(scratch, "a"), (time.time() + 3600,) * 2)
    published(store, scratch)
    assert entry_files(store, tmp_path) == {"a"}


def test_an_entry_that_is_larger_than_the_store_is_not_published(store: Path, scratch: Scratch) -> None:
    compile_into(scratch, "a", "x" * 5000)
    assert "and the store may have 4000" in published(store, scratch, limit=4000).reason


# --- faults ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES, errno.ESTALE])
def test_an_error_at_any_step_leaves_the_old_entry_or_the_new_one(
    store: Path, scratch: Scratch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, number: int
) -> None:
    compile_into(scratch, "old")
    published(store, scratch)
    works = getattr(os, step)
    for failing in range(30):
        count = 0

        def fail_once(*arguments: object, **options: object) -> object:
            nonlocal count
            count += 1
            if count == failing + 1:  # noqa: B023 - it is called in the same round
                raise OSError(number, os.strerror(number))
            return works(*arguments, **options)

        compile_into(scratch, "new", "x" * (failing + 1))
        with monkeypatch.context() as patched:
            patched.setattr(os, step, fail_once)
            outcome = published(store, scratch)
        assert outcome.published or outcome.reason.endswith(".")
        found = entry_files(store, tmp_path)
        assert "old" in found
        assert ("new" in found) >= outcome.published
        assert not list(store.glob(f"*/{UNFINISHED}*")) or step == "unlink"
        if count <= failing:
            return


@pytest.mark.parametrize("step", ["write", "fsync", "rename", "mkdir"])
def test_a_process_that_is_killed_at_any_step_leaves_the_old_entry_or_the_new_one(
    store: Path, scratch: Scratch, tmp_path: Path, step: str
) -> None:
    compile_into(scratch, "old")
    published(store, scratch)
    compile_into(scratch, "new")
    before = set()
    for moment in range(8):
        for late in (False, True):
            pid = os.fork()
            if pid == 0:
                _publish_and_die(store, scratch, step, moment, late=late)
            _, status = os.waitpid(pid, 0)
            before.add(os.waitstatus_to_exitcode(status))
            assert "old" in entry_files(store, tmp_path)
    assert -signal.SIGKILL in before or step == "mkdir"
    for leftover in store.glob(f"*/{UNFINISHED}*"):
        os.utime(leftover, (AGES_AGO, AGES_AGO))
    compile_into(scratch, "newer")
    assert published(store, scratch).published
    assert entry_files(store, tmp_path) == {"old", "new", "newer"}
    assert not list(store.glob(f"*/{UNFINISHED}*"))


def _publish_and_die(store: Path, scratch: Scratch, step: str, moment: int, *, late: bool) -> None:
    works: Callable[..., object] = getattr(os, step)
    count = 0

    def die_once(*arguments: object, **options: object) -> object:
        nonlocal count
        count += 1
        if count == moment + 1:
            if late:
                works(*arguments, **options)
            os.kill(os.getpid(), signal.SIGKILL)
        return works(*arguments, **options)

    try:
        setattr(os, step, die_once)
        published(store, scratch)
    finally:
        os._exit(0)


@pytest.mark.parametrize("what", ["file", "link", "pipe", "manifest folder"])
def test_what_is_in_the_way_of_an_entry_is_replaced(store: Path, scratch: Scratch, tmp_path: Path, what: str) -> None:
    place = store / name_of(KEY)
    store.mkdir()
    if what == "file":
        place.write_text("")
    elif what == "link":
        (tmp_path / "elsewhere").mkdir()
        place.symlink_to(tmp_path / "elsewhere")
    elif what == "pipe":
        os.mkfifo(place)
    else:
        (place / "manifest.json/more").mkdir(parents=True)
    compile_into(scratch, "a")
    assert published(store, scratch).published
    assert entry_files(store, tmp_path) == {"a"}
    assert what != "link" or not list((tmp_path / "elsewhere").iterdir())


# --- what has to go --------------------------------------------------------------------------------------------------


def filled(store: Path, scratch: Scratch, flag: str, *, unused_for: float = 0, size: int = 1000) -> Path:
    scratch.clear()
    compile_into(scratch, "a", "x" * size)
    assert published(store, scratch, {"flag": flag}).published
    entry = store / name_of({"flag": flag})
    for file in entry.iterdir():
        os.utime(file, (time.time() - unused_for,) * 2)
    return entry


def test_entries_that_no_start_has_used_for_long_go_when_another_is_published(store: Path, scratch: Scratch) -> None:
    old = filled(store, scratch, "old", unused_for=UNUSED_FOR + 60)
    recent = filled(store, scratch, "recent", unused_for=UNUSED_FOR - 600)
    filled(store, scratch, "new")
    assert (old.exists(), recent.exists()) == (False, True)


def test_reading_an_entry_keeps_it(store: Path, scratch: Scratch, tmp_path: Path) -> None:
    old = filled(store, scratch, "old", unused_for=UNUSED_FOR + 60)
    assert entry_files(store, tmp_path, {"flag": "old"}) == {"a"}
    filled(store, scratch, "new")
    assert old.exists()


def test_the_longest_unused_entries_go_if_the_store_would_be_too_large(store: Path, scratch: Scratch) -> None:
    entries = [filled(store, scratch, str(number), unused_for=1000 - number, size=100_000) for number in range(4)]
    scratch.clear()
    compile_into(scratch, "a", "x" * 100_000)
    assert published(store, scratch, {"flag": "new"}, limit=350_000).published
    assert [entry.exists() for entry in entries] == [False, False, True, True]


def test_a_full_volume_makes_room_for_the_new_entry(
    store: Path, scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = [filled(store, scratch, str(number), unused_for=1000 - number) for number in range(3)]
    fsync, fails = os.fsync, [True, True]

    def full(file: int) -> None:
        if fails:
            fails.pop()
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(file)

    monkeypatch.setattr(os, "fsync", full)
    scratch.clear()
    compile_into(scratch, "a")
    assert published(store, scratch, {"flag": "new"}).published
    assert [entry.exists() for entry in old] == [False, False, True]


def test_an_entry_that_cannot_be_removed_does_not_keep_a_full_volume_busy(
    store: Path, scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(store, scratch, "old", size=100_000)
    monkeypatch.setattr(eviction, "remove", lambda _: False)
    monkeypatch.setattr(publishing, "_space", lambda _: 1000)
    scratch.clear()
    compile_into(scratch, "a", "x" * 10_000)
    published(store, scratch, {"flag": "new"})


def test_nothing_is_removed_if_that_would_not_be_enough(
    store: Path, scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = filled(store, scratch, "old")
    monkeypatch.setattr(publishing, "_space", lambda _: 1000)
    scratch.clear()
    compile_into(scratch, "a", "x" * 100_000)
    assert "is full: the entry takes" in published(store, scratch, {"flag": "new"}).reason
    assert old.exists()


def test_a_replaced_content_stays_for_those_that_read_it_and_then_goes(store: Path, scratch: Scratch) -> None:
    compile_into(scratch, "a")
    published(store, scratch)
    [first] = store.glob("*/content-*")
    compile_into(scratch, "b")
    published(store, scratch)
    assert first.exists()
    os.utime(first, (time.time() - REPLACED_FOR - 60,) * 2)
    compile_into(scratch, "c")
    published(store, scratch)
    assert not first.exists()
    assert len(list(store.glob("*/content-*"))) == 2


def test_what_dead_writers_left_goes_and_what_living_ones_write_stays(store: Path, scratch: Scratch) -> None:
    entry = filled(store, scratch, "a")
    dead, living = entry / f"{UNFINISHED}dead", entry / f"{UNFINISHED}living"
    dead.write_text("x")
    living.write_text("x")
    os.utime(dead, (time.time() - ABANDONED_AFTER - 60,) * 2)
    filled(store, scratch, "b")
    assert (dead.exists(), living.exists()) == (False, True)


def test_nothing_else_in_a_store_is_touched(store: Path, scratch: Scratch) -> None:
    for name in ("lost+found", "f" * 31, "F" * 32, "another"):
        (store / name).mkdir(parents=True)
        (store / name / "manifest.json").write_text("{}")
        os.utime(store / name / "manifest.json", (AGES_AGO, AGES_AGO))
    filled(store, scratch, "a")
    assert len(list(store.glob("*/manifest.json"))) == 5


def test_removing_an_entry_follows_no_link(store: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("")
    entry = store / ("a" * 32)
    entry.mkdir(parents=True)
    (entry / "content-x").symlink_to(outside)
    (store / ("b" * 32)).symlink_to(outside)
    for name in ("a" * 32, "b" * 32):
        eviction.remove(store / name)
    assert not list(store.iterdir())
    assert (outside / "precious").exists()


def test_a_snapshot_is_the_same_after_it_was_stored(scratch: Scratch) -> None:
    compile_into(scratch, "a")
    taken = snapshot.taken(scratch.files)
    snapshot.save(taken, scratch.snapshot)
    assert snapshot.load(scratch.snapshot) == taken
