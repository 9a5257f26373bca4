"""Files that an engine leaves in shared memory are removed; those of other processes stay."""

from __future__ import annotations

from pathlib import Path

import pytest
from slipway_runtime.supervisor import shared_memory


def test_a_new_unused_file_is_removed(tmp_path: Path) -> None:
    (tmp_path / "before").touch()
    before = shared_memory.names(tmp_path)
    (tmp_path / "psm_1").touch()
    assert shared_memory.clear(before, tmp_path) == ["psm_1"]
    assert shared_memory.names(tmp_path) == {"before"}


def test_a_file_that_a_process_has_open_stays(tmp_path: Path) -> None:
    with (tmp_path / "psm_1").open("w"):
        assert shared_memory.clear(frozenset(), tmp_path) == []


def test_a_file_that_a_process_has_mapped_stays(tmp_path: Path) -> None:
    import mmap  # noqa: PLC0415 - only this test uses it

    (tmp_path / "psm_1").write_bytes(b"x" * 4096)
    with (tmp_path / "psm_1").open("r+b") as file:
        mapped = mmap.mmap(file.fileno(), 4096)
    assert shared_memory.clear(frozenset(), tmp_path) == []
    mapped.close()
    assert shared_memory.clear(frozenset(), tmp_path) == ["psm_1"]


def test_a_file_of_another_user_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "psm_1").touch()
    monkeypatch.setattr("os.getuid", lambda: 12345)
    assert shared_memory.clear(frozenset(), tmp_path) == []


def test_a_folder_and_a_link_stay(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("/etc/passwd")
    assert shared_memory.clear(frozenset(), tmp_path) == []


def test_without_shared_memory_there_is_nothing_to_do(tmp_path: Path) -> None:
    assert shared_memory.clear(frozenset(), tmp_path / "none") == []
