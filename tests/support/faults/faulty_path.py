"""A proxy between an operator and the API server that causes faults when a test wants them.

It listens on loopback, forwards each request with the credentials of the kubeconfig, and records it: the request, the
response, when each arrived, and which fault hit it. The faults are in `api_faults`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
import time
from collections.abc import AsyncGenerator, Callable, Generator, Iterable
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from slipway.kube.connection import load_configuration

from support.builders import objects
from support.faults.api_faults import Answer, ApiCall, BrokenError, Fault, Request

logger = logging.getLogger(__name__)

PASSED_ON = ("Content-Type", "Accept", "User-Agent")
PASSED_BACK = ("Content-Type", "Retry-After")
LINE_LIMIT = 1 << 24
LINES_SHOWN = 60


class FaultyPath:
    """`requests`: all requests, the newest last. `faults`: those that are active; the first that applies wins."""

    def __init__(self, api_server: aiohttp.ClientSession, name: str) -> None:
        self._api_server, self.name = api_server, name
        self.requests: list[Request] = []
        self.faults: list[Fault] = []
        self._watches: set[asyncio.Transport] = set()

    # --- what tests do with it --------------------------------------------------------------------------------------

    @contextmanager
    def broken_by(self, *faults: Fault) -> Generator[None]:
        """Activates faults while the block lasts. Requests that a fault still holds are cut off at the end."""
        logger.warning("%s: from now on %s", self.name, ", ".join(map(repr, faults)))
        self.faults += faults
        try:
            yield
        finally:
            for fault in faults:
                self.faults.remove(fault)
                fault.end()
            logger.warning("%s: no longer %s", self.name, ", ".join(map(repr, faults)))

    def cut_watches(self) -> int:
        """Ends all open watches, in the middle of whatever they deliver; returns how many there were."""
        cut = list(self._watches)
        for transport in cut:
            transport.abort()
        return len(cut)

    async def until(self, holds: Callable[[], object], *, within: float = 20) -> None:
        """Polls, since the recorded requests send no event."""
        async with asyncio.timeout(within):
            while not holds():  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    def writes(self, namespace: str, since: float = 0.0) -> list[Request]:
        """Returns the writes to LLMDeployments' namespaces: those of the Lease are elsewhere."""
        within = f"/namespaces/{namespace}/"
        return [each for each in self.requests if each.call.is_write and within in each.call.path and each.at >= since]

    def hits(self) -> str:
        """Returns the newest requests that a fault hit, one per line, for a failed test's report."""
        return "\n".join([str(each) for each in self.requests if each.fault][-LINES_SHOWN:])

    # --- one request ------------------------------------------------------------------------------------------------

    async def handle(self, incoming: web.Request) -> web.StreamResponse:
        ask = await _read(incoming)
        request = Request(ask, at=time.monotonic())
        self.requests.append(request)
        try:
            return await self._answered(incoming, request)
        except (BrokenError, aiohttp.ClientError, ConnectionError) as error:
            request.fault = request.fault or repr(error)
            if incoming.transport:
                incoming.transport.abort()
            return web.Response()
        finally:
            request.ended_at = time.monotonic()

    async def _answered(self, incoming: web.Request, request: Request) -> web.StreamResponse:
        faults = [fault for fault in self.faults if fault.hits(request.call)]
        for fault in faults:
            request.fault = repr(fault)
            if answer := await fault.before(request.call):
                request.code = answer.code
                return web.Response(status=answer.code, headers=answer.headers, body=answer.data)
        request.passed_on_at = time.monotonic()
        async with self._asked(incoming, request.call) as response:
            request.code = response.status
            if request.call.is_watch and response.status == 200:
                return await self._watched(incoming, request, response)
            answer = Answer(response.status, _kept(response.headers, PASSED_BACK), await response.read())
        request.result = answer.data
        for fault in faults:
            answer = await fault.after(request.call, answer)
        return await _said(incoming, answer)

    def _asked(self, incoming: web.Request, ask: ApiCall) -> Any:
        return self._api_server.request(
            ask.method,
            incoming.raw_path,
            data=ask.body or None,
            headers={**_kept(incoming.headers, PASSED_ON), "Accept-Encoding": "identity"},
        )

    async def _watched(
        self, incoming: web.Request, request: Request, response: aiohttp.ClientResponse
    ) -> web.StreamResponse:
        onward = web.StreamResponse(headers=_kept(response.headers, PASSED_BACK))
        await onward.prepare(incoming)
        assert isinstance(incoming.transport, asyncio.Transport)
        transport = incoming.transport
        self._watches.add(transport)
        deaf_to: set[Fault] = set()
        try:
            async for line in response.content:
                for fault in {*self.faults, *deaf_to}:
                    if fault.is_deaf_to(request.call):
                        deaf_to.add(fault)
                if all(fault.lets_through(line) for fault in deaf_to):
                    await onward.write(line)
        finally:
            self._watches.discard(transport)
        return onward


@asynccontextmanager
async def faulty_path(
    kubeconfig: Path, folder: Path, name: str = "operator"
) -> AsyncGenerator[tuple[FaultyPath, Path]]:
    """Runs a proxy; yields it, and a kubeconfig that leads to it."""
    configuration = await load_configuration(kubeconfig)
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
    context.load_cert_chain(configuration.cert_file, configuration.key_file)
    async with aiohttp.ClientSession(
        configuration.host,
        connector=aiohttp.TCPConnector(limit=0, ssl=context),
        timeout=aiohttp.ClientTimeout(total=None),
        read_bufsize=LINE_LIMIT,
    ) as session:
        path = FaultyPath(session, name)
        async with _served(path) as port:
            own = folder / f"{name}.kubeconfig"
            own.write_text(json.dumps(objects.kubeconfig(f"http://127.0.0.1:{port}")))
            yield path, own


@asynccontextmanager
async def _served(path: FaultyPath) -> AsyncGenerator[int]:
    app = web.Application(client_max_size=LINE_LIMIT)
    app.router.add_route("*", "/{path:.*}", path.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


async def _read(incoming: web.Request) -> ApiCall:
    return ApiCall(
        method=incoming.method,
        path=incoming.path,
        query=dict(incoming.query),
        accept=incoming.headers.get("Accept", ""),
        body=await incoming.read(),
    )


async def _said(incoming: web.Request, answer: Answer) -> web.StreamResponse:
    """Sends the response; one that was cut short, as far as it goes, and then ends the connection."""
    if answer.length is None:
        return web.Response(status=answer.code, headers=answer.headers, body=answer.data)
    partial = web.StreamResponse(status=answer.code, headers=answer.headers)
    partial.content_length = answer.length
    await partial.prepare(incoming)
    await partial.write(answer.data)
    raise BrokenError("cut short")


def _kept(headers: Any, names: Iterable[str]) -> dict[str, str]:
    return {name: headers[name] for name in names if name in headers}
