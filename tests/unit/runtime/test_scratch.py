"""Where one run has its sockets and its shared memory."""

from __future__ import annotations

from pathlib import Path

import pytest
from slipway_runtime import control
from slipway_runtime.scratch import scratch_folder


def test_nothing_is_left_at_its_end() -> None:
    with scratch_folder() as folder:
        (folder / "file").touch()
    assert not folder.exists()


def test_an_engines_folder_is_removed_by_its_supervisor_even_if_the_engine_was_killed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with scratch_folder() as supervisors:
        monkeypatch.setenv(control.ENVIRONMENT, str(supervisors / "control"))
        killed = scratch_folder(within=control.folder())
        engines = killed.__enter__()  # and never left
        assert engines.is_relative_to(supervisors)
    assert not engines.exists()


def test_an_engine_without_a_supervisor_has_its_own_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(control.ENVIRONMENT, raising=False)
    assert control.folder() is None


def test_the_path_of_a_socket_in_it_is_not_too_long() -> None:
    with scratch_folder() as supervisors, scratch_folder(within=supervisors) as engines:
        assert len(bytes(Path(engines, "output"))) < 108
