"""Ports that nobody takes between being chosen and being listened on.

They lie below those that the kernel gives out by itself, and each worker of a parallel run has its own.
"""

from __future__ import annotations

import itertools
import os
import socket

FIRST, EACH = 18_000, 500
_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_ports = itertools.cycle(range(FIRST + _worker % 16 * EACH, FIRST + (_worker % 16 + 1) * EACH))


def free_port() -> int:
    return next(port for port in itertools.islice(_ports, EACH) if _is_free(port))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
        return True
