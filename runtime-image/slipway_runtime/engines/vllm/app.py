"""What vLLM's web server loads as its middleware: the guard. Importing it also limits the server's connections.

vLLM loads it in each process that serves, and then starts uvicorn there with the protocol that is uvicorn's default.
The supervisor tests that the limits are in force before it reports the engine as ready.
"""

from slipway_runtime.engines.connection import limit_uvicorn
from slipway_runtime.guard.asgi import Guard

__all__ = ["Guard"]

limit_uvicorn()
