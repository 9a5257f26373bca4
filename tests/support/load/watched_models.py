"""Models for tests of what Prometheus shows: the demo model, and one that can't start; and clients of them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractContextManager, asynccontextmanager, suppress
from dataclasses import dataclass

import aiohttp

from support.builders.llmdeployments import GEMMA_CLAIM, llmdeployment, merged
from support.builders.objects import Object
from support.cluster import FromTheNode, Kube
from support.load.completions import RefusedError, complete

NAME, BROKEN = "gemma", "broken"
EMPTY_CLAIM = "empty"
PAUSE = 2.0  # seconds between two requests of a trickle
SLOWEST = 5
REPEATED = "One two three four five six seven eight. " * 12
"""A prompt that the prefix cache keeps, and from which tokens can be drafted."""

OBSERVED: Object = {
    "slo": {"ttftP95": "2s", "tpotP95": "500ms", "e2eP99": "20s", "availability": "99.9%"},
    "budget": {"perDay": 100},
}


def sleeping(**spec: object) -> Object:
    """The demo model at zero, with objectives and a budget."""
    small: Object = {
        "model": {"uri": f"pvc://{GEMMA_CLAIM}/"},
        "engine": {"name": "llamacpp", "contextLength": 1024, "maxConcurrency": 2},
        "scaling": {"minReplicas": 0, "maxReplicas": 1},
        "pod": {"resources": {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"memory": "2Gi"}}},
        **OBSERVED,
    }
    return llmdeployment(NAME, merged(small, dict(spec)))


def broken() -> Object:
    """The same, but there is no model in its claim."""
    model = sleeping(model={"uri": f"pvc://{EMPTY_CLAIM}/"}, scaling={"hold": {"timeout": "20s"}})
    return merged(model, {"metadata": {"name": BROKEN}})


@dataclass(frozen=True)
class Clients:
    """Clients on the node of the cluster."""

    kube: Kube
    entered: Callable[[], AbstractContextManager[object]]

    async def ask(self, name: str = NAME, *, within: float = 300) -> str:
        """Sends one request; returns `answered`, or status and error."""
        access = FromTheNode(self.kube, self.entered)
        async with access.session() as session, asyncio.timeout(within):
            return await _answer(session, await access.url(name), name, "Kubernetes is")

    async def until_answered(self, *, within: float = 120) -> None:
        """Asks again and again: the pods of a spec that was wrong may still be there."""
        loop = asyncio.get_running_loop()
        end = loop.time() + within
        while (said := await self.ask()) != "answered":
            assert loop.time() < end, said
            await asyncio.sleep(PAUSE)

    async def load(self, *, seconds: float, at_once: int, answered: int = 0) -> Counter[str]:
        """Sends requests, several at a time; returns how many had each outcome, as `ask` names them.

        On a busy machine it takes up to `SLOWEST` times as long, until as many requests are answered.
        """
        access = FromTheNode(self.kube, self.entered)
        loop = asyncio.get_running_loop()
        start = loop.time()

        outcomes: Counter[str] = Counter()

        def goes_on() -> bool:
            took = loop.time() - start
            return took < seconds or (outcomes["answered"] < answered and took < SLOWEST * seconds)

        async def client(url: str, number: int) -> None:
            while goes_on():
                outcomes[await _answer(session, url, NAME, f"{REPEATED}{number % 2}")] += 1

        async with access.session() as session:
            url = await access.url(NAME)
            await asyncio.gather(*(client(url, number) for number in range(at_once)))
        return outcomes

    @asynccontextmanager
    async def trickle(self) -> AsyncGenerator[None]:
        """Sends a request now and then while the block lasts."""
        task = asyncio.create_task(self._forever())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _forever(self) -> None:
        while True:
            await self.ask()
            await asyncio.sleep(PAUSE)


async def _answer(session: aiohttp.ClientSession, url: str, model: str, prompt: str) -> str:
    try:
        await complete(session, url, prompt, model=model, max_tokens=24)
    except RefusedError as refusal:
        return str(refusal)
    except TimeoutError:
        return "the client has waited too long"
    return "answered"
