"""Commands report the CPU time that they used, and do not outlive the process that runs them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from slipway_devcluster.commands import Commands

BUSY = "import time\nwhile time.process_time() < 0.2: pass"


def run(tmp_path: Path, *command: str, given: bytes | None = None) -> tuple[int, float]:
    with (tmp_path / "output").open("wb") as output:
        return Commands().run(command, output=output, given=given, env=dict(os.environ), cwd=None)


def test_the_cpu_time_of_children_counts(tmp_path: Path) -> None:
    _, cpu_seconds = run(tmp_path, "sh", "-c", f"'{sys.executable}' -c '{BUSY}'; true")
    assert cpu_seconds >= 0.2


def test_waiting_does_not_count_as_cpu_time(tmp_path: Path) -> None:
    _, cpu_seconds = run(tmp_path, "sleep", "0.3")
    assert cpu_seconds < 0.2


def test_a_command_that_does_not_read_its_input_is_not_a_failure(tmp_path: Path) -> None:
    code, _ = run(tmp_path, "true", given=b"x" * 1_000_000)
    assert code == 0


PROGRAM = """
import os, pathlib, sys
from slipway_devcluster.commands import Commands
folder = pathlib.Path(sys.argv[1])
with (folder / "output").open("wb") as output:
    command = ["sh", "-c", "echo $$ > pid; : > started; exec sleep 300"]
    Commands().run(command, output=output, given=None, env=dict(os.environ), cwd=folder)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux signals a process whose parent has died")
def test_a_command_ends_with_the_process_that_runs_it(tmp_path: Path) -> None:
    """Otherwise a build would continue in a folder that the next run removes, and slow that run down."""
    os.mkfifo(tmp_path / "started")
    with subprocess.Popen([sys.executable, "-c", PROGRAM, str(tmp_path)]) as running:
        (tmp_path / "started").read_bytes()  # Opening it blocks until the command runs.
        running.send_signal(signal.SIGKILL)
    pid = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 20
    while is_alive(pid):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
