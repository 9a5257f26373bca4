"""Models that sleep and wake on a cluster with all of Slipway, and clients that record what became of each request.

Every prompt continues a sequence of numbers. The next numbers are practically certain, so the response is the same
whatever else the model is answering, and a response that is cut off, doubled or another client's is noticed.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import aiohttp
from slipway_devcluster.cluster import Cluster

from support.builders.objects import Object
from support.cluster.access import FromTheNode
from support.cluster.kube import Kube, KubectlError
from support.load.completions import RefusedError, events, text_of
from support.waiting import until

PROMPTS = 3
"""The number of different prompts; the model is also asked each of them directly."""
SHORT = 6  # tokens
TEXTS: dict[tuple[int, int], str] = {}
"""A cache of the model's direct responses, by the number of the prompt and of the tokens."""
PATIENCE = aiohttp.ClientTimeout(total=1500, connect=60)
TRY_AGAIN_AFTER = 0.5


def prompt(number: int) -> str:
    first = 10 * (number % PROMPTS) + 1
    return ", ".join(str(first + each) for each in range(4)) + ","


@dataclass
class Request:
    """One request and its result. Times are of the monotonic clock."""

    number: int
    tokens: int
    url: str
    streams: bool = False
    sent: float = 0.0
    ended: float = 0.0
    text: str = ""
    status: int = 0
    error: str = ""
    retry_after: int = 0
    was_held: bool = False
    """Whether it was held, or at least passed through an activator."""
    tries: int = 0
    was_sent: asyncio.Event = field(default_factory=asyncio.Event)
    has_started: asyncio.Event = field(default_factory=asyncio.Event)

    def __str__(self) -> str:
        kind = "stream" if self.streams else "request"
        return f"{kind} {self.number} after {self.ended - self.sent:.1f} s: {self.status} {self.error or self.text!r}"

    async def run(self, session: aiohttp.ClientSession) -> None:
        """Sends the request; a failure is recorded, and raises nothing."""
        self.tries += 1
        self.text, self.error, self.status = "", "", 0
        self.sent = self.sent or time.monotonic()
        try:
            await self._ask(session)
        except RefusedError as refused:
            self.error = str(refused)
        except (aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
            self.error = repr(error)
        self.ended = time.monotonic()
        self.was_sent.set()
        self.has_started.set()

    async def _ask(self, session: aiohttp.ClientSession) -> None:
        body = {
            "prompt": prompt(self.number),
            "max_tokens": self.tokens,
            "temperature": 0,
            "stream": self.streams,
        }
        where = f"{self.url}/v1/completions"
        async with session.post(where, json=body, timeout=PATIENCE, trace_request_ctx=self) as response:
            self.status = response.status
            self.retry_after = int(response.headers.get("Retry-After", 0))
            self.was_held = "Slipway-Held-Ms" in response.headers
            if self.status != 200:
                raise RefusedError(self.status, await response.text())
            if self.streams:
                await self._hear(response)
            else:
                self.text = json.loads(await response.text())["choices"][0]["text"]
                self.has_started.set()

    async def _hear(self, response: aiohttp.ClientResponse) -> None:
        async for data in events(response.content):
            self.text += text_of(data)
            if self.text:
                self.has_started.set()


@dataclass
class SleepingModel:
    """One model, and a session for requests to it."""

    kube: Kube
    name: str
    session: aiohttp.ClientSession
    url: str

    @property
    def selector(self) -> str:
        return f"slipway.dev/llmdeployment={self.name}"

    @property
    def predictor(self) -> str:
        return f"{self.name}-predictor"

    def request(self, number: int, *, tokens: int = SHORT, streams: bool = False, url: str = "") -> Request:
        return Request(number, tokens, url or self.url, streams)

    async def send(self, number: int, *, tokens: int = SHORT) -> Request:
        request = self.request(number, tokens=tokens)
        await request.run(self.session)
        return request

    async def direct_text(self, number: int, *, tokens: int) -> str:
        """Returns the response of an idle replica itself. It is cached: all models are the same."""
        key = number % PROMPTS, tokens
        if key not in TEXTS:
            TEXTS[key] = await self._direct_text(number, tokens)
        return TEXTS[key]

    async def _direct_text(self, number: int, tokens: int) -> str:
        found = ""

        async def is_direct() -> bool:
            nonlocal found
            request = await self.send(number, tokens=tokens)
            found = request.text
            return bool(found) and not request.was_held

        await until(is_direct, timeout=300)
        return found

    async def is_reachable(self) -> bool:
        """Whether anything listens at its Service; the request is one that wakes no model."""
        try:
            async with self.session.options(self.url, headers={"Expect": "nothing"}):
                return True
        except aiohttp.ClientConnectionError:
            return False

    async def pod(self, *, but: Iterable[str] = ()) -> Object:
        """Returns a pod that isn't terminating, and whose uid isn't among `but`."""
        known = set(but)
        return await self.kube.wait_for_any(
            "pods",
            self.selector,
            lambda pod: "deletionTimestamp" not in pod["metadata"] and pod["metadata"]["uid"] not in known,
            timeout=120,
        )

    async def until_replicas(self, number: int) -> None:
        await self.kube.wait_for(
            "deployment", self.predictor, lambda found: found["spec"]["replicas"] == number, timeout=120
        )

    async def change(self, **spec: Any) -> None:
        await self.kube.patch("llmdeployment", self.name, {"spec": spec})

    async def requests(self) -> float:
        """Returns the number of requests that KEDA reports to the autoscaler."""
        where = f"/apis/external.metrics.k8s.io/v1beta1/namespaces/{self.kube.namespace}/s0-requests"
        label = f"scaledobject.keda.sh%2Fname%3D{self.name}"
        found = json.loads(await self.kube.run("get", "--raw", f"{where}?labelSelector={label}"))
        return sum(_quantity(item["value"]) for item in found["items"])

    async def has_requests(self, requests: int) -> bool:
        try:
            return await self.requests() == requests
        except KubectlError:  # KEDA's metrics may be unavailable for a while
            return False


def _quantity(text: str) -> float:
    return float(text[:-1]) / 1000 if text.endswith("m") else float(text)


@asynccontextmanager
async def sleeping_models(cluster: Cluster, kube: Kube, *models: Object) -> AsyncGenerator[list[SleepingModel]]:
    """Creates models at zero. They are deleted before their namespace, or the operator would create their children
    again."""
    names = [model["metadata"]["name"] for model in models]
    await kube.apply(*models)
    try:
        async with existing_sleeping_models(cluster, kube, *names) as found:
            yield found
    finally:
        for name in names:
            await kube.delete("llmdeployment", name, wait=True)


@asynccontextmanager
async def existing_sleeping_models(cluster: Cluster, kube: Kube, *names: str) -> AsyncGenerator[list[SleepingModel]]:
    """Yields models that exist already."""
    for name in names:
        await kube.wait_for_condition("scaledobject", name, "Ready", timeout=120)
    access = FromTheNode(kube, cluster.entered)
    async with access.session() as session:
        session.trace_configs.append(noting_what_is_sent())
        found = [SleepingModel(kube, name, session, await access.url(name)) for name in names]
        for sleeper in found:
            await until(sleeper.is_reachable)
        yield found


def noting_what_is_sent() -> aiohttp.TraceConfig:
    async def note(_: aiohttp.ClientSession, context: SimpleNamespace, __: aiohttp.TraceRequestChunkSentParams) -> None:
        if isinstance(request := context.trace_request_ctx, Request):
            request.was_sent.set()

    config = aiohttp.TraceConfig()
    config.on_request_chunk_sent.append(note)
    config.freeze()
    return config


# --- many at a time --------------------------------------------------------------------------------------------------


class RequestGroup:
    """Requests in progress. `session` replaces the model's own session."""

    def __init__(
        self,
        sleeper: SleepingModel,
        requests: Sequence[Request],
        *,
        tries: int = 1,
        session: aiohttp.ClientSession | None = None,
    ) -> None:
        self.sleeper, self.requests = sleeper, requests
        self._session = session or sleeper.session
        self._tries = tries
        self._tasks = [asyncio.create_task(self._run(request)) for request in requests]

    async def _run(self, request: Request) -> None:
        while True:
            await request.run(self._session)
            if not request.error or request.tries >= self._tries:
                return
            request.url = self.sleeper.url
            await asyncio.sleep(TRY_AGAIN_AFTER)

    async def until_sent(self) -> None:
        """Waits until all have been sent, or have ended."""
        await asyncio.gather(*(request.was_sent.wait() for request in self.requests))

    async def until_first_tokens(self) -> None:
        """Waits until all have received a first token, or have ended."""
        await asyncio.gather(*(request.has_started.wait() for request in self.requests))

    async def has_ended(self, requests: int) -> bool:
        """Whether at least this many have ended."""
        return sum(task.done() for task in self._tasks) >= requests

    async def until_ended(self) -> None:
        await asyncio.gather(*self._tasks)

    async def cancel(self) -> None:
        """Cancels the requests that still wait."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def lost(self) -> list[Request]:
        return [request for request in self.requests if request.error]

    async def wrong(self) -> list[Request]:
        """Returns the requests with another response than a direct call gets."""
        await self.until_ended()
        asked = {(request.number % PROMPTS, request.tokens) for request in self.requests if not request.error}
        texts = {key: await self.sleeper.direct_text(key[0], tokens=key[1]) for key in asked}
        assert len(texts) == len(set(texts.values())), f"prompts with the same response prove nothing: {texts}"
        return [each for each in self.requests if each.text != texts.get((each.number % PROMPTS, each.tokens))]
