"""What vLLM's web server loads as its middleware: the guard, and by being imported, limits to its connections.

vLLM loads it in each process that serves, after which it starts uvicorn there with whatever protocol uvicorn chooses.
That the limits are in force is tried by the supervisor, before it calls the engine ready.
"""

from slipway_runtime.engines.connection import limit_uvicorn
from slipway_runtime.guard.asgi import Guard

__all__ = ["Guard"]

limit_uvicorn()
