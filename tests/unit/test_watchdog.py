"""A test that hangs beyond its time limit is ended, and its stack is reported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import support

HANGING = """
import asyncio, contextlib
import pytest

async def goes_on() -> None:
    while True:
        with contextlib.suppress(BaseException):
            await asyncio.sleep(60)

def test_hangs() -> None:
    asyncio.run(goes_on())

@pytest.mark.parametrize("number", range(5))
def test_others(number: int) -> None: ...
"""
SLOW_FIXTURE = """
import time
import pytest

@pytest.fixture
def built() -> None:
    time.sleep(1.5)

@pytest.mark.timeout(0.2, func_only=True)
def test_with_it(built: None) -> None: ...
"""
CONFTEST = """
from support import watchdog
watchdog.GRACE = 0.5
pytest_plugins = ["support.watchdog"]
"""


def test_a_test_that_hangs_is_reported_with_its_stack_and_others_go_on(tmp_path: Path) -> None:
    done = _run(tmp_path, HANGING)
    assert "test_of_tests.py::test_hangs goes on though its time is over" in done.stderr
    assert "in goes_on" in done.stderr
    assert "1 failed, 5 passed" in done.stdout


def test_a_fixture_that_builds_for_long_is_not_ended_if_the_limit_is_for_the_test(tmp_path: Path) -> None:
    done = _run(tmp_path, SLOW_FIXTURE)
    assert "1 passed" in done.stdout


def _run(folder: Path, tests: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_of_tests.py").write_text(tests)
    (folder / "conftest.py").write_text(CONFTEST)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-n1", "--timeout=0.5", "--rootdir=."],
        check=False,
        cwd=folder,
        env={"PYTHONPATH": str(Path(next(iter(support.__path__))).parent)},
        capture_output=True,
        text=True,
        timeout=60,
    )
