"""Which models next to the wanted one are removed, and what is never touched."""

from __future__ import annotations

import os
import time
from pathlib import Path

from slipway_fetcher.folder.lock import locked
from slipway_fetcher.folder.others import mark_as_wanted, remove_others
from slipway_fetcher.folder.target import Record, Target

AN_HOUR = 3600.0


def model(folder: Path) -> Path:
    """As a run leaves it."""
    target = Target(folder)
    (target.begin() / "model" / "config.json").write_text("{}")
    target.publish(Record({"uri": "hf://org/model"}, "1", ({"path": "config.json", "size": 2, "digest": None},)))
    target.lock.touch()
    return folder


def interrupted(folder: Path) -> Path:
    return Target(folder).begin()


def removed(parent: Path, *keep: str, unused_for: float = 0.0) -> list[str]:
    return remove_others(Target(parent / "wanted"), keep, unused_for)


def test_what_no_run_has_wanted_is_removed_and_the_rest_stays(tmp_path: Path) -> None:
    for name in ("wanted", "kept", "old"):
        model(tmp_path / name)
    assert removed(tmp_path, "kept") == ["old"]
    assert sorted(each.name for each in tmp_path.iterdir() if each.is_dir()) == ["kept", "wanted"]


def test_a_download_that_was_interrupted_is_removed_and_the_one_that_is_wanted_is_not(tmp_path: Path) -> None:
    old, ours = interrupted(tmp_path / "old"), interrupted(tmp_path / "wanted")
    assert removed(tmp_path) == ["old"]
    assert ours.is_dir()
    assert not old.exists()


def test_a_removal_that_was_interrupted_is_completed(tmp_path: Path) -> None:
    model(tmp_path / "old").rename(tmp_path / ".old.discarded")
    assert removed(tmp_path) == ["old"]
    assert not (tmp_path / ".old.discarded").exists()


def test_what_another_process_works_on_stays(tmp_path: Path) -> None:
    model(tmp_path / "old")
    with locked(Target(tmp_path / "old").lock, lambda _: None):
        assert removed(tmp_path) == []
    assert removed(tmp_path) == ["old"]


def test_what_a_run_has_wanted_lately_stays(tmp_path: Path) -> None:
    old = Target(model(tmp_path / "old"))
    os.utime(old.lock, (time.time() - 2 * AN_HOUR,) * 2)
    mark_as_wanted(old)
    assert removed(tmp_path, unused_for=AN_HOUR) == []
    os.utime(old.lock, (time.time() - 2 * AN_HOUR,) * 2)
    assert removed(tmp_path, unused_for=AN_HOUR) == ["old"]


def test_files_of_others_and_links_stay(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    elsewhere = model(tmp_path / "elsewhere" / "model")
    volume = tmp_path / "volume"
    (volume / "lost+found").mkdir(parents=True)
    (volume / "notes.txt").write_text("mine")
    (volume / "link").symlink_to(elsewhere)
    (volume / ".link.partial").symlink_to(elsewhere)
    assert removed(volume) == []
    assert {each.name for each in volume.iterdir()} == {"lost+found", "notes.txt", "link", ".link.partial"}
    assert (elsewhere / "config.json").exists()
