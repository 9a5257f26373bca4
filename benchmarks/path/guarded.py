"""A web app that costs next to nothing, served as llama.cpp's is, behind the guard or without it.

`guarded.py PORT` asks for the key of `client.py`; `guarded.py PORT bare` has no guard. It prints its port.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from pathlib import Path

import uvloop
from slipway_runtime.engines.web import body_of, serving
from slipway_runtime.guard.asgi import Guard
from slipway_runtime.guard.exchange import Receive, Scope, Send
from slipway_runtime.guard.settings import ENVIRONMENT

from path.backend import ANSWER
from path.load import KEY

HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(ANSWER))]


async def engine(scope: Scope, receive: Receive, send: Send) -> None:
    await body_of(receive)
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": ANSWER})


async def main(port: int, *, bare: bool) -> None:
    with tempfile.TemporaryDirectory() as keys:
        (Path(keys) / "bench").write_text(KEY)
        os.environ[ENVIRONMENT] = json.dumps({"model": "llama", "keys": keys, "access_log": False, "burst_per_key": 1})
        async with serving(engine if bare else Guard(engine), "127.0.0.1", port):
            print(port, flush=True)
            await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), bare=sys.argv[2:] == ["bare"]))
