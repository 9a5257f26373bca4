"""Two models in use while a fault occurs: one streams, requests for the other are held, and none may be lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from support.faults.slipway_pods import PodFaults
from support.load.sleeping_models import Request, RequestGroup, SleepingModel

STREAMS, HELD = 10, 50
LONG = 40
"""Tokens of a stream: even on an idle machine, they take a second."""


@dataclass
class TwoModels:
    """`awake` streams through the activators, since its streams started when it was at zero; `asleep` is woken."""

    breaking: PodFaults
    awake: SleepingModel
    asleep: SleepingModel
    streams: RequestGroup = field(init=False)
    held: RequestGroup = field(init=False)
    struck_at: float = 0.0

    @property
    def both(self) -> tuple[SleepingModel, SleepingModel]:
        return self.awake, self.asleep

    @asynccontextmanager
    async def under_way(self, *, urls: dict[str, list[str]] | None = None, tries: int = 1) -> AsyncGenerator[None]:
        """Starts 10 streams and 50 held requests; the fault occurs in the block. After it, all of them have ended."""
        to = urls or {each.name: [each.url] for each in self.both}
        self.streams = self._crowd(self.awake, to, STREAMS, tokens=LONG, streams=True, tries=tries)
        await self.streams.until_first_tokens()
        self.held = self._crowd(self.asleep, to, HELD, tries=tries)
        await self.held.until_sent()
        self.struck_at = time.monotonic()
        yield
        await asyncio.gather(self.streams.until_ended(), self.held.until_ended())

    def _crowd(
        self, whom: SleepingModel, to: dict[str, list[str]], count: int, *, tries: int, **kind: Any
    ) -> RequestGroup:
        urls = to[whom.name]
        return RequestGroup(
            whom, [whom.request(each, url=urls[each % len(urls)], **kind) for each in range(count)], tries=tries
        )

    async def nothing_is_lost(self) -> None:
        """Checks that all were in progress when the fault occurred, and got the response that a direct call gets."""
        requests = [*self.streams.requests, *self.held.requests]
        no("lost", *self.streams.lost, *self.held.lost)
        no("over before anything broke", *self.not_under_way())
        no("wrong", *await self.streams.wrong(), *await self.held.wrong())
        # On a busy machine, the last requests may connect after the model has woken, and so may retries.
        assert sum(each.was_held for each in requests) > len(requests) / 3

    def not_under_way(self) -> list[Request]:
        """Returns the requests that ended before the fault."""
        return [each for each in (*self.streams.requests, *self.held.requests) if each.ended < self.struck_at]


def no(what: str, *requests: Request) -> None:
    assert not requests, f"{len(requests)} {what}, such as: " + "\n".join(map(str, requests[:5]))
