"""Free ports that stay free between being chosen and being listened on.

They lie below the ports that the kernel assigns on its own. Each worker of a parallel run has a range of its own, and
two runs at the same time start at different places in it.
"""

from __future__ import annotations

import itertools
import os

from slipway_devcluster.lifecycle import is_free

FIRST, EACH = 18_000, 500
_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_own = range(FIRST + _worker % 16 * EACH, FIRST + (_worker % 16 + 1) * EACH)
_ports = itertools.islice(itertools.cycle(_own), os.getpid() * 7 % EACH, None)


def free_port() -> int:
    return next(port for port in itertools.islice(_ports, EACH) if is_free(port))
