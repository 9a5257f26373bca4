"""Counting and removing what tenants write, with what a hostile one would write."""

from __future__ import annotations

import fcntl
import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from slipway.nodecache import folders
from slipway.nodecache.layout import RECORD as RECORD_OF_MODELS
from slipway.nodecache.layout import lock_of, names_of
from slipway_fetcher.folder.target import RECORD, Target

KEY = "0123456789abcdef"


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Path]:
    """Removed by rm, since pytest's own cleanup ends with a RecursionError, and each later run with it."""
    (tmp_path / "cache").mkdir()
    (tmp_path / "trash").mkdir()
    yield tmp_path / "cache"
    subprocess.run(["rm", "-rf", tmp_path / "cache", tmp_path / "trash"], check=True)


@pytest.fixture
def opened(cache: Path) -> Iterator[int]:
    with folders.opened(str(cache)) as folder:
        yield folder


@pytest.fixture
def trash(cache: Path) -> Iterator[int]:
    with folders.opened(str(cache.parent / "trash")) as folder:
        yield folder


def fill(folder: Path, size: int = 8192) -> None:
    folder.mkdir(parents=True)
    (folder / "weights").write_bytes(b"w" * size)


def deep(folder: Path, depth: int) -> None:
    folder.mkdir()
    here = Path.cwd()
    try:
        os.chdir(folder)
        for _ in range(depth):
            os.mkdir("deeper")  # noqa: PTH102 - paths of such a length don't exist
            os.chdir("deeper")
    finally:
        os.chdir(here)


def test_the_names_are_the_fetcher_s(cache: Path) -> None:
    """The distributions don't know each other, so the names are in both."""
    target = Target(cache / KEY)
    assert lock_of(KEY) == target.lock.name
    made = {target.folder.name, target.staging.name, target.progress.name, f".{KEY}.discarded"}
    assert set(names_of(KEY)) == made
    assert "/".join(RECORD_OF_MODELS) == RECORD


def test_bytes_on_the_disk_are_counted_in_all_folders_of_a_model(cache: Path, opened: int) -> None:
    fill(cache / KEY)
    fill(cache / f".{KEY}.partial" / "model")
    found = folders.counted(opened, [KEY, f".{KEY}.partial"])
    assert found.bytes >= 2 * 8192
    assert found.is_complete


def test_links_are_not_followed(cache: Path, opened: int) -> None:
    fill(cache.parent / "elsewhere", 1 << 20)
    (cache / KEY).symlink_to(cache.parent / "elsewhere")
    assert folders.counted(opened, [KEY]).bytes < 1 << 20


def test_a_file_with_many_names_counts_once(cache: Path, opened: int) -> None:
    fill(cache / KEY, 1 << 20)
    for number in range(5):
        (cache / KEY / f"again-{number}").hardlink_to(cache / KEY / "weights")
    assert folders.counted(opened, [KEY]).bytes < 2 << 20


def test_a_file_with_names_in_many_models_counts_once(cache: Path, opened: int) -> None:
    fill(cache / KEY, 1 << 20)
    for number in range(5):
        (cache / f"{number:016x}").mkdir()
        (cache / f"{number:016x}" / "weights").hardlink_to(cache / KEY / "weights")
    assert sum(each.bytes for each in folders.counted_by_key(opened).values()) < 2 << 20


@pytest.mark.parametrize(("depth", "is_complete"), [(20, True), (1500, False)])
def test_folders_that_are_too_deep_are_not_counted(cache: Path, opened: int, depth: int, is_complete: bool) -> None:
    deep(cache / KEY, depth)
    assert folders.counted(opened, [KEY]).is_complete is is_complete


def test_more_files_than_models_have_are_not_counted(cache: Path, opened: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "MOST_FILES", 10)
    fill(cache / KEY)
    for number in range(20):
        (cache / KEY / str(number)).touch()
    assert not folders.counted(opened, [KEY]).is_complete


@pytest.mark.parametrize("depth", [0, 1500])
def test_a_model_of_any_depth_is_removed(cache: Path, opened: int, trash: int, depth: int) -> None:
    deep(cache / KEY, depth)
    (cache / KEY / "weights").touch()
    assert folders.discard_model(opened, KEY, trash)
    assert not (cache / KEY).exists()
    folders.empty(trash)
    assert os.listdir(trash) == []


def test_what_links_lead_to_stays(cache: Path, opened: int, trash: int) -> None:
    fill(cache.parent / "elsewhere")
    fill(cache / KEY)
    (cache / KEY / "link").symlink_to(cache.parent / "elsewhere")
    (cache / f".{KEY}.partial").symlink_to(cache.parent / "elsewhere")
    assert folders.discard_model(opened, KEY, trash)
    folders.empty(trash)
    assert (cache.parent / "elsewhere/weights").exists()
    assert os.listdir(trash) == []


def test_a_model_on_which_a_fetcher_works_stays(cache: Path, opened: int, trash: int) -> None:
    fill(cache / KEY)
    with (cache / lock_of(KEY)).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert not folders.discard_model(opened, KEY, trash)
    assert (cache / KEY).exists()
    assert folders.discard_model(opened, KEY, trash)


def test_the_lock_stays_and_any_user_can_open_it(cache: Path, opened: int, trash: int) -> None:
    """A fetcher may wait for that very file."""
    assert folders.discard_model(opened, KEY, trash)
    assert (cache / lock_of(KEY)).stat().st_mode & 0o777 == 0o666


def test_a_link_in_place_of_a_lock_is_not_followed(cache: Path, opened: int, trash: int) -> None:
    fill(cache / KEY)
    (cache / lock_of(KEY)).symlink_to(cache.parent / "victim")
    assert folders.discard_model(opened, KEY, trash)
    assert not (cache.parent / "victim").exists()


def test_a_lock_belongs_to_no_model_and_what_only_has_its_name_is_something_else(cache: Path, opened: int) -> None:
    lock, file, folder = (lock_of(f"{number:016x}") for number in range(3))
    (cache / lock).touch()
    (cache / file).write_bytes(b"w" * 8192)
    (cache / folder).mkdir()
    found = folders.listed(opened)
    assert found.locks == [lock]
    assert {key: sorted(names) for key, names in found.by_key.items()} == {"": [file, folder]}


def test_a_device_in_place_of_a_lock_is_not_opened(
    cache: Path, opened: int, trash: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To open one already does something: a watchdog that is closed again restarts the node."""
    device = cache / lock_of(KEY)
    try:
        os.mknod(device, stat.S_IFCHR | 0o600, os.makedev(1, 3))
    except PermissionError:
        os.mkfifo(device, 0o600)
    fill(cache / KEY)
    real, flags = os.open, list[int]()

    def noted(name: str, how: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        flags.append(how)
        return real(name, how, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", noted)
    assert folders.discard_model(opened, KEY, trash)
    assert flags
    assert all(how & (os.O_PATH | os.O_DIRECTORY) for how in flags)
    assert device.stat().st_mode & 0o777 == 0o600


WRITES_FOR_EVER = """
import itertools, os, sys
os.chdir(sys.argv[1])
for number in itertools.count():
    try:
        os.mkdir(f"{os.getpid()}-{number}")
    except OSError:  # the folder itself is gone
        break
"""


def test_a_process_that_goes_on_writing_keeps_nothing_else_from_being_removed(
    cache: Path, trash: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "EMPTIES_FOR", 1.0)
    monkeypatch.setattr(folders, "AT_ONCE", 10)
    hostile = cache.parent / "trash/hostile"
    hostile.mkdir()
    fill(cache.parent / "trash/model")
    writers = [subprocess.Popen([sys.executable, "-c", WRITES_FOR_EVER, str(hostile)]) for _ in range(2)]
    try:
        while len(os.listdir(hostile)) < 20 and any(each.poll() is None for each in writers):  # noqa: PTH208
            time.sleep(0.01)
        folders.empty(trash)  # ends
        assert not (cache.parent / "trash/model").exists()
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()


def test_one_emptying_ends_and_the_next_one_goes_on(cache: Path, trash: int, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(cache.parent / "trash/model")
    monkeypatch.setattr(folders, "EMPTIES_FOR", 0.0)
    folders.empty(trash)
    assert (cache.parent / "trash/model").exists()
    monkeypatch.undo()
    folders.empty(trash)
    assert os.listdir(trash) == []


def test_a_complete_model_is_recognised_by_its_record(cache: Path, opened: int) -> None:
    fill(cache / KEY / ".slipway")
    assert not folders.has_record(opened, KEY)
    (cache / KEY / ".slipway/fetched.json").touch()
    assert folders.has_record(opened, KEY)


def test_a_record_behind_a_link_counts_for_nothing(cache: Path, opened: int) -> None:
    fill(cache.parent / "elsewhere/.slipway")
    (cache.parent / "elsewhere/.slipway/fetched.json").touch()
    (cache / KEY).symlink_to(cache.parent / "elsewhere")
    assert not folders.has_record(opened, KEY)
