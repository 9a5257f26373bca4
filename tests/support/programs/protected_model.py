"""A model at zero with access rules, and an attacker that sends requests from any address."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from slipway.activator.proxy.config import ProxyConfig
from slipway.activator.shared.hold_limits import HoldLimits
from slipway.activator.shared.request_rules import RequestRules
from slipway.activator.tracking.rules_from_spec import rules_of

from support.fakes.access_api import AccessApi
from support.programs.activator import Activator, Answer, Client, activated

GOOD = b"sk-good-key-1234"
KEYS = "chat/keys"
BEARER = f"Authorization: Bearer {GOOD.decode()}\r\n"
HERE = "127.0.0.1"


def rules(**spec: Any) -> RequestRules:
    metadata = {"namespace": "chat", "name": "llama", "creationTimestamp": "2026-11-21T10:00:00Z"}
    return rules_of({"metadata": metadata, "spec": {"model": {"uri": "pvc://models/llama"}, **spec}})


def only_from(*peers: dict[str, Any], **access: Any) -> RequestRules:
    return rules(access={"allowFrom": list(peers), **access})


WITH_KEYS = rules(access={"apiKeysSecret": "keys"})


@dataclass
class ProtectedModel:
    """A model at zero, an API server with the clients' pods, and an attacker with a new connection for each request."""

    activator: Activator
    neighbours: AccessApi

    async def send(self, raw: bytes, *, address: str = HERE) -> Answer:
        port = await self.activator.port()
        reader, writer = await asyncio.open_connection(HERE, port, local_addr=(address, 0), limit=1 << 20)
        try:
            client = Client(reader, writer)
            client.send(raw)
            return await (client.head() if raw.startswith(b"HEAD") else client.answer())
        finally:
            writer.close()

    async def request(
        self, line: str = "POST /v1/completions", *, headers: str = "", body: bytes = b"{}", address: str = HERE
    ) -> Answer:
        head = f"{line} HTTP/1.1\r\nHost: llama\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
        return await self.send(head.encode("utf-8") + body, address=address)

    @property
    def is_asleep(self) -> bool:
        """Whether there is no demand for the model; a request that was held leaves some, whatever its outcome."""
        return not self.activator.wanted.active and self.activator.wanted.waiting == 0


@asynccontextmanager
async def protected_model(
    of: RequestRules, *, limits: HoldLimits | None = None, config: ProxyConfig | None = None
) -> AsyncIterator[ProtectedModel]:
    neighbours = AccessApi(secrets={KEYS: {"alice": GOOD}})
    async with activated(rules=of, authorizer=neighbours.authorizer, limits=limits, config=config) as activator:
        yield ProtectedModel(activator, neighbours)


async def holds(
    scene: ProtectedModel, *, headers: str = "", line: str = "POST /v1/completions", address: str = HERE
) -> None:
    """Checks that such a request is held, and that there is demand for the model."""
    asked = asyncio.create_task(scene.request(line, headers=headers, address=address))
    await scene.activator.until_waiting(1)
    assert scene.activator.wanted.active
    asked.cancel()
    await scene.activator.until_waiting(0)
