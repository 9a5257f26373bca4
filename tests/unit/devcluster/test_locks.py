"""Locks separate two runs, and report what the user is waiting for."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from slipway_devcluster.locks import locked, waiting_for

HOLD = """
import pathlib, sys
from slipway_devcluster.locks import locked
with locked(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def ignore(_: str) -> None:
    pass


def test_only_one_thread_at_a_time_holds_the_lock(tmp_path: Path) -> None:
    inside: list[int] = []
    most: list[int] = []

    def work() -> None:
        for _ in range(50):
            with locked(tmp_path / "lock", say=ignore):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) == 200
    assert max(most) == 1


def test_the_lock_is_free_again_after_an_exception(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), locked(tmp_path / "lock"):
        raise ZeroDivisionError
    with locked(tmp_path / "lock"):
        pass


def test_a_waiting_process_reports_which_process_holds_the_lock(tmp_path: Path) -> None:
    reports: list[str] = []
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path / "lock"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"held\n"

        def listen(text: str) -> None:
            reports.append(text)
            holder.kill()

        with locked(tmp_path / "lock", say=listen, patience=0):
            pass
    assert f"process {holder.pid} (" in reports[0]
    assert str(tmp_path / "lock") in reports[0]


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path / "lock"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout
        holder.stdout.readline()
        holder.kill()
    with locked(tmp_path / "lock"):
        assert (tmp_path / "lock").read_text() == str(os.getpid())


def test_a_holder_that_cannot_be_read_is_reported_as_another_process(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("not a pid")
    assert waiting_for(tmp_path / "lock") == f"waiting for another process, which holds {tmp_path / 'lock'}"


def test_nothing_is_reported_if_the_lock_is_free(tmp_path: Path) -> None:
    reports: list[str] = []
    with locked(tmp_path / "lock", say=reports.append, patience=0):
        pass
    assert reports == []
