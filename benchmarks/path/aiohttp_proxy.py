"""The least that holds and forwards a request with aiohttp at both ends, as a program of its own.

It lacks all that the activator does around a request (admission, limits, balancing, retries, the search for empty
aborts), so what it costs is the least that a data path on aiohttp can cost. It speaks as `activator.py` does: it prints
its port, and the line `ready PORT` on its input makes a replica on that port ready; an empty line none.
"""

from __future__ import annotations

import asyncio
import gc
import logging

import aiohttp
import uvloop
from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_parser import RawRequestMessage
from support.programs.stdin import lines
from yarl import URL

HOP_BY_HOP = {"connection", "content-length", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
LARGEST_BODY = 64 << 20
"""As the activator's default."""


class Proxy:
    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._port = 0
        self._ready = asyncio.Event()

    def tell(self, ports: list[str]) -> None:
        if ports:
            self._port = int(ports[0])
            self._ready.set()
        else:
            self._ready.clear()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        await self._ready.wait()
        try:
            return await self._forward(request, body)
        except aiohttp.ClientError as error:
            if request.writer.output_size and request.transport:
                request.transport.abort()  # the client sees that its response is incomplete
            return web.json_response({"error": {"message": str(error)}}, status=502)

    async def _forward(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        url = URL.build(scheme="http", host="127.0.0.1", port=self._port).join(URL(request.raw_path, encoded=True))
        headers = [(name, value) for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP]
        async with self._session.request(request.method, url, data=body, headers=headers) as answer:
            kept = [(name, value) for name, value in answer.headers.items() if name.lower() not in HOP_BY_HOP]
            response = web.StreamResponse(status=answer.status, reason=answer.reason)
            response.headers.extend(kept)
            response.content_length = answer.content_length
            await response.prepare(request)
            async for piece in answer.content.iter_any():
                await response.write(piece)
            await response.write_eof()
            return response


def _request(
    message: RawRequestMessage,
    payload: aiohttp.StreamReader,
    protocol: web.RequestHandler,
    writer: AbstractStreamWriter,
    task: asyncio.Task[None],
) -> web.BaseRequest:
    """With room for a body as large as the activator takes."""
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=LARGEST_BODY)


async def main() -> None:
    connector = aiohttp.TCPConnector(limit=0)
    no_limit = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=connector, timeout=no_limit, auto_decompress=False) as session:
        proxy = Proxy(session)
        server = web.Server(
            proxy.handle,
            request_factory=_request,
            handler_cancellation=True,  # else a held request outlives its client
            access_log=None,
            auto_decompress=False,
            max_line_size=32 << 10,
            max_field_size=32 << 10,  # as the activator's limit on a head
        )
        listening = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0, backlog=2048)
        print(listening.sockets[0].getsockname()[1], flush=True)
        async for words in lines():
            proxy.tell(words[1:])
            print("told", flush=True)


if __name__ == "__main__":
    logging.disable()  # each refused request has a traceback otherwise
    gc.freeze()
    uvloop.run(main())
