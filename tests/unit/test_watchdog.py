"""A test that hangs though its time is over ends, and tells where."""

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
CONFTEST = """
from support import watchdog
watchdog.GRACE = 0.5
pytest_plugins = ["support.watchdog"]
"""


def test_a_test_that_hangs_is_named_with_where_it_does_and_others_go_on(tmp_path: Path) -> None:
    (tmp_path / "test_hanging.py").write_text(HANGING)
    (tmp_path / "conftest.py").write_text(CONFTEST)
    tests = str(Path(next(iter(support.__path__))).parent)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-n1", "--timeout=0.5", "--rootdir=."],
        check=False,
        cwd=tmp_path,
        env={"PYTHONPATH": tests},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "test_hanging.py::test_hangs goes on though its time is over" in done.stderr
    assert "in goes_on" in done.stderr
    assert "1 failed, 5 passed" in done.stdout
