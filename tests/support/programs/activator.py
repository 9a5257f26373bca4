"""The activator's data path on loopback with one model, and clients that send exactly the bytes that a test wants."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from slipway.activator.proxy.access.authorization import Authorizer
from slipway.activator.proxy.admission import GlobalLimits
from slipway.activator.proxy.config import ProxyConfig
from slipway.activator.proxy.listeners import Listeners, serve
from slipway.activator.shared.demand import Demand, ModelDemand
from slipway.activator.shared.hold_limits import HoldLimits
from slipway.activator.shared.model_state import ModelState, ModelStates
from slipway.activator.shared.replica import Replica
from slipway.activator.shared.request_rules import RequestRules
from slipway.api.model_key import ModelKey

from support.fakes.scripted_engine import ScriptedEngine

LLAMA = ModelKey("chat", "llama")
ANY_POST_WAKES = RequestRules(engine="somebody-elses")


def refusals(limits: GlobalLimits) -> Counter[str]:
    """By their reasons, of all models."""
    counters = limits.counters
    return sum((each.refused for each in [*counters.models.values(), counters.rest]), Counter())


def replica(engine: ScriptedEngine, *, at_a_time: int = 100) -> Replica:
    return Replica("127.0.0.1", engine.port, at_a_time)


@dataclass
class Activator:
    listeners: Listeners
    deployments: ModelStates
    demand: Demand
    known: ModelState

    async def port(self) -> int:
        return await self.listeners.port(LLAMA)

    def update(self, **changes: Any) -> None:
        self.known = replace(self.known, **changes)
        self.deployments.update(self.known)

    def ready(self, *engines: ScriptedEngine, at_a_time: int = 100) -> None:
        self.update(replicas=tuple(replica(engine, at_a_time=at_a_time) for engine in engines))

    @property
    def wanted(self) -> ModelDemand:
        return self.demand.of(LLAMA)

    async def until_waiting(self, number: int) -> None:
        async with asyncio.timeout(10):
            await self.demand.until(LLAMA, lambda wanted: wanted.waiting == number)

    async def until_inactive(self) -> None:
        async with asyncio.timeout(10):
            await self.demand.until(LLAMA, lambda wanted: not wanted.active)


@asynccontextmanager
async def activated(
    *,
    limits: HoldLimits | None = None,
    config: ProxyConfig | None = None,
    global_limits: GlobalLimits | None = None,
    grace: float = 0,
    rules: RequestRules = ANY_POST_WAKES,
    authorizer: Authorizer | None = None,
) -> AsyncIterator[Activator]:
    deployments, demand = ModelStates(), Demand()
    known = ModelState(key=LLAMA, port=0, rules=rules, limits=limits or HoldLimits(timeout=20))
    deployments.update(known)
    config = config or ProxyConfig(linger=0.2)
    serving = serve(
        deployments,
        demand,
        limits=global_limits,
        config=config,
        host="127.0.0.1",
        grace=grace,
        authorizer=authorizer,
    )
    async with serving as listeners:
        yield Activator(listeners, deployments, demand, known)


@dataclass
class Answer:
    """A response as it arrived, byte by byte."""

    status: int
    headers: dict[str, str]
    body: bytes = b""
    trailers: dict[str, str] = field(default_factory=dict)

    @property
    def error(self) -> dict[str, Any]:
        error: dict[str, Any] = json.loads(self.body)["error"]
        return error


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, raw: bytes) -> None:
        self.writer.write(raw)

    def post(self, body: bytes = b"{}", *, headers: str = "", path: str = "/v1/completions") -> None:
        head = f"POST {path} HTTP/1.1\r\nHost: llama\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
        self.send(head.encode() + body)

    async def head(self) -> Answer:
        async with asyncio.timeout(20):
            raw = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first_line, *lines = raw.rstrip("\r\n").split("\r\n")
        assert first_line.startswith("HTTP/1.1 ")
        return Answer(int(first_line.split(" ")[1]), _headers(lines))

    async def answer(self) -> Answer:
        answer = await self.head()
        async with asyncio.timeout(20):
            if answer.headers.get("transfer-encoding") == "chunked":
                while piece := await self.chunk():
                    answer.body += piece
                answer.trailers = _headers(await self._lines())
            elif "content-length" in answer.headers:
                answer.body = await self.reader.readexactly(int(answer.headers["content-length"]))
            else:
                answer.body = await self.reader.read()
        return answer

    async def chunk(self) -> bytes:
        """Reads the next chunk; empty for the last."""
        async with asyncio.timeout(20):
            size = int(await self.reader.readline(), 16)
            return (await self.reader.readexactly(size + 2))[:-2] if size else b""

    async def is_closed(self) -> bool:
        """Whether the activator closes the connection; it may also reset it."""
        try:
            async with asyncio.timeout(10):
                return await self.reader.read(1) == b""
        except ConnectionError:
            return True

    async def _lines(self) -> list[str]:
        lines = []
        while line := (await self.reader.readline()).decode().rstrip("\r\n"):
            lines.append(line)
        return lines

    def close(self) -> None:
        self.writer.close()


def _headers(lines: list[str]) -> dict[str, str]:
    return {name: value for name, _, value in (line.partition(": ") for line in lines)}


@asynccontextmanager
async def connected(activator: Activator, *, source: str = "127.0.0.1") -> AsyncIterator[Client]:
    """Opens a connection; `source` is the client's address, any of 127.0.0.0/8 on Linux."""
    port = await activator.port()
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20, local_addr=(source, 0))
    try:
        yield Client(reader, writer)
    finally:
        writer.close()


async def ask(activator: Activator, body: bytes = b"{}", *, headers: str = "", source: str = "127.0.0.1") -> Answer:
    """Sends one request on a new connection."""
    async with connected(activator, source=source) as client:
        client.post(body, headers=headers)
        return await client.answer()
