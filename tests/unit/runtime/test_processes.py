"""What /proc shows of the engine's processes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
from slipway_runtime.supervisor.processes import cpu_demand

BUSY = "print('started', flush=True)\nwhile True: pass"


@pytest.fixture
def engine() -> Iterator[int]:
    """A process in a session of its own that computes."""
    process = subprocess.Popen([sys.executable, "-c", BUSY], start_new_session=True, stdout=subprocess.PIPE)
    assert process.stdout
    process.stdout.readline()
    yield process.pid
    process.kill()
    process.communicate()


def test_a_computing_process_wants_cpu_time_whichever_process_has_it(engine: int) -> None:
    before = sum(cpu_demand(engine))
    while sum(cpu_demand(engine)) < before + 0.5:
        pass  # ends soon, however little CPU time it gets
