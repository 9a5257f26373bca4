"""Reports where a test hangs that goes on after its time limit, and ends the worker that runs it.

pytest-timeout raises an error in a test that takes too long, so that its fixtures clean up. But an event loop may
swallow that error, and nothing watches the test after that: the entire run hangs without a hint which test it was.
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import os
from collections.abc import Iterator
from threading import Timer
from typing import TextIO

import pytest

GRACE = 60.0  # seconds for a clean end
TERMINAL = pytest.StashKey[TextIO]()
WATCHDOG = pytest.StashKey[Timer]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[TERMINAL] = os.fdopen(
        os.dup(2), "w"
    )  # pytest captures what a test prints, and it is lost with its process


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash[TERMINAL].close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    item.stash[WATCHDOG] = watchdog = Timer(_limit(item) + GRACE, _tell, [item])
    watchdog.daemon = True
    if not _limits_the_test_alone(item):
        watchdog.start()
    try:
        return (yield)
    finally:
        watchdog.cancel()


def pytest_runtest_call(item: pytest.Item) -> None:
    """Where a fixture may build programs for as long as that takes, the time starts only now."""
    if _limits_the_test_alone(item):
        item.stash[WATCHDOG].start()


def _limit(item: pytest.Item) -> float:
    """Returns the time limit of a test, as pytest-timeout reads it."""
    marker = item.get_closest_marker("timeout")
    return float(marker.args[0] if marker else item.config.getoption("timeout") or item.config.getini("timeout"))


def _limits_the_test_alone(item: pytest.Item) -> bool:
    marker = item.get_closest_marker("timeout")
    return bool(marker and marker.kwargs.get("func_only"))


def _tell(item: pytest.Item) -> None:
    terminal = item.config.stash[TERMINAL]
    print(f"\n{item.nodeid} goes on though its time is over:", file=terminal, flush=True)
    faulthandler.dump_traceback(file=terminal)
    for task in [each for each in gc.get_objects() if isinstance(each, asyncio.Task) and not each.done()]:
        task.print_stack(file=terminal)
    terminal.flush()
    if hasattr(
        item.config, "workerinput"
    ):  # the other tests go on in a new worker; without workers, there is a cluster to remove
        os._exit(1)
