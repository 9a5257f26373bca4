"""One devcluster for all pytest processes that use it at the same time: the first starts it, the last removes it."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO

from slipway_devcluster import lifecycle
from slipway_devcluster.cluster import Cluster, named
from slipway_devcluster.locks import locked
from slipway_devcluster.paths import Cache
from slipway_devcluster.progress import Steps
from slipway_devcluster.record import Options

MADE_BY_TESTS = "made by tests\n"


@contextmanager
def shared(name: str, *, cache: Cache, steps: Steps, keep: bool, options: Options) -> Iterator[Cluster]:
    """Yields the cluster. It is left up if it was up before, or is to be kept."""
    cache.locks.mkdir(parents=True, exist_ok=True)
    gate = cache.locks / f"tests-{name}-gate"
    with (cache.locks / f"tests-{name}").open("a+") as users:
        with locked(gate, say=steps.say):
            is_new = not named(name, cache).alive()
            cluster = lifecycle.up(name, cache=cache, steps=steps, options=options)
            if is_new or keep:
                _write(users, "" if keep else MADE_BY_TESTS)
            fcntl.flock(users, fcntl.LOCK_SH)  # a kernel lock: a killed process no longer holds it
        try:
            yield cluster
        finally:
            with locked(gate, say=steps.say):
                if _read(users) == MADE_BY_TESTS and _is_last(users):
                    lifecycle.down(name, cache=cache, steps=steps)
                    _write(users, "")


def _is_last(users: IO[str]) -> bool:
    with suppress(BlockingIOError):
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def _read(users: IO[str]) -> str:
    users.seek(0)
    return users.read()


def _write(users: IO[str], text: str) -> None:
    users.truncate(0)
    users.write(text)
    users.flush()
