"""What vLLM's web server loads as its middleware: the guard. Importing it also limits the server's connections.

vLLM loads it in each process that serves, and then starts uvicorn there with the protocol that is uvicorn's default.
The supervisor tests that the limits are in force before it reports the engine as ready.
"""

import os

from prometheus_client import REGISTRY

from slipway_runtime.engines.connection import limit_uvicorn
from slipway_runtime.engines.open_metrics import with_open_metrics
from slipway_runtime.guard import asgi

__all__ = ["Guard"]

SEVERAL_SERVERS = "PROMETHEUS_MULTIPROC_DIR"
"""The variable by which each of several servers of one vLLM counts in files; only vLLM's own page joins them."""


class Guard(asgi.Guard):
    def __init__(self, app: asgi.App) -> None:
        super().__init__(app if SEVERAL_SERVERS in os.environ else with_open_metrics(app, REGISTRY))


limit_uvicorn()
