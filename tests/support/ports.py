"""Ports that nobody takes between being chosen and being listened on.

They lie below those that the kernel gives out by itself, and each worker of a parallel run has its own.
"""

from __future__ import annotations

import itertools
import os

from slipway_devcluster.lifecycle import is_free

FIRST, EACH = 18_000, 500
_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_ports = itertools.cycle(range(FIRST + _worker % 16 * EACH, FIRST + (_worker % 16 + 1) * EACH))


def free_port() -> int:
    return next(port for port in itertools.islice(_ports, EACH) if is_free(port))
