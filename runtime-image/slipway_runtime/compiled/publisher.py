"""The process that publishes: `python -m slipway_runtime.compiled.publisher REQUEST`, with both sides as JSON.

It is a process of its own, so that it can have a lower priority than an engine that serves, and can be killed at any
moment when the pod has to end.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from dataclasses import asdict

from slipway_runtime.compiled.publishing import Outcome, Request, publish

PR_SET_PDEATHSIG = 1


def main() -> int:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    for number in (signal.SIGTERM, signal.SIGINT):  # its parent ends it
        signal.signal(number, signal.SIG_IGN)
    try:
        request = Request(**json.loads(sys.argv[1]))
        os.nice(request.nice)
        outcome = publish(request)
    except Exception as error:  # a bug here costs the next start the cache, and this one nothing
        outcome = Outcome(reason=f"Compiled code wasn't published: {type(error).__name__}: {error}.")
    sys.stdout.write(json.dumps(asdict(outcome)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
