"""Random requests for a soak: a model gets some requests, then none until it sleeps or nearly sleeps, and so on."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, field

from support.load.sleeping_models import PROMPTS, SHORT, Request, SleepingModel

TRIES = 5
LONGEST_PAUSE = 40.0  # seconds: twice the time in which it falls asleep


@dataclass
class RandomArrivals:
    """Sends random requests. Like OpenAI's clients, it retries a request whose connection breaks."""

    sleeper: SleepingModel
    chance: random.Random
    requests: list[Request] = field(default_factory=list)

    async def run(self, *, until: float) -> None:
        while time.monotonic() < until:
            count = self.chance.randint(1, 8)
            await asyncio.gather(*(self._one() for _ in range(count)))
            await asyncio.sleep(self.chance.uniform(0, LONGEST_PAUSE))

    async def _one(self) -> None:
        number, streams = self.chance.randrange(PROMPTS), self.chance.random() < 0.5
        request = self.sleeper.request(number, tokens=SHORT, streams=streams)
        self.requests.append(request)
        await asyncio.sleep(self.chance.uniform(0, 3))
        while request.tries < TRIES:
            await request.run(self.sleeper.session)
            if not request.error:
                return
            await asyncio.sleep(0.5)

    def lost(self) -> list[str]:
        return [str(each) for each in self.requests if each.error]

    def retried(self) -> list[Request]:
        return [each for each in self.requests if each.tries > 1]

    async def wrong(self) -> list[str]:
        """Returns the requests with another response than a direct call gets."""
        texts = [await self.sleeper.direct_text(number, tokens=SHORT) for number in range(PROMPTS)]
        assert len(set(texts)) == PROMPTS, f"prompts with the same response prove nothing: {texts}"
        return [str(each) for each in self.requests if each.text != texts[each.number]]
