"""Free ports that stay free between being chosen and being listened on.

They lie below the ports that the kernel assigns on its own. Each worker of a parallel run has a range of its own, and
two runs at the same time start at different places in it.
"""

from __future__ import annotations

import itertools
import os
import socket
import time
from pathlib import Path

from slipway_devcluster.lifecycle import is_free

FIRST, EACH = 18_000, 500
_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_own = range(FIRST + _worker % 16 * EACH, FIRST + (_worker % 16 + 1) * EACH)
_ports = itertools.islice(itertools.cycle(_own), os.getpid() * 7 % EACH, None)


def free_port() -> int:
    return next(port for port in itertools.islice(_ports, EACH) if is_free(port))


def wait_until_it_listens(address: str, log: Path, *, within: float = 15.0) -> None:
    """`address`: HOST:PORT of a server that was started; its log is shown if it doesn't listen in time."""
    host, _, port = address.partition(":")
    deadline = time.monotonic() + within
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
            return
        except OSError:
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
