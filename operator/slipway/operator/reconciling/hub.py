"""Fetches config.json files from the Hugging Face Hub, where the installation allows it.

A reconcile never waits for it: it notes which file it lacks, and is queued again when the file, or the reason why there
is none, is here. Names and revisions are those of specs, so they are quoted, and only the configured hosts are called.
"""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urljoin, urlsplit

import aiohttp
from yarl import URL

from slipway.api.model_key import ModelKey
from slipway.models.catalogue import hub_name
from slipway.observing.inspection_report import of_config, parsed
from slipway.operator.reconciling.asking import MAIN, Answer, is_on_hub

logger = logging.getLogger(__name__)

LARGEST: Final = 1 << 20  # bytes of a file
CHUNK: Final = 64 << 10
TIMEOUT = 15.0  # seconds: for all files of one model
MOST_REDIRECTS = 5
AT_ONCE = 4
MOST_KEPT = 2_000  # answers
AGAIN_AFTER = 3_600.0  # seconds: a branch may have moved, and a failure may be over
AFTER_A_FAILURE = 300.0
COMMIT = re.compile(r"[0-9a-f]{40}")
UNREACHABLE = "allow the operator to reach it, or turn planner.hub off"
REDIRECTS = (301, 302, 303, 307, 308)

Wanted = tuple[str, str]  # ORGANIZATION/MODEL and the revision


class _Failed(Exception):  # noqa: N818 - it becomes a sentence of the answer
    pass


class _Absent(_Failed):
    pass


class _Kept(NamedTuple):
    answer: Answer
    until: float  # on the clock; afterwards it is fetched again, and this one stays meanwhile


class Hub:
    """`endpoint`: https://HOST; `redirects_to`: further hosts that it may send us to; `changed`: queues a model."""

    def __init__(
        self,
        endpoint: str,
        *,
        changed: Callable[[ModelKey], object],
        redirects_to: Iterable[str] = (),
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._endpoint, self._changed, self._tls, self._clock = endpoint.rstrip("/"), changed, tls, clock
        self._hosts = {urlsplit(endpoint).netloc, *redirects_to}
        self._kept: OrderedDict[Wanted, _Kept] = OrderedDict()
        self._waiting: dict[Wanted, set[ModelKey]] = {}
        self._queue: asyncio.Queue[Wanted] = asyncio.Queue()
        self._answers: Mapping[Wanted, Answer] = {}

    @property
    def answers(self) -> Mapping[Wanted, Answer]:
        """All; another object after each change."""
        return self._answers

    def want(self, key: ModelKey, uri: str, revision: str | None) -> None:
        """Notes that this LLMDeployment lacks what the Hub may know of its model."""
        wanted = hub_name(uri), revision or MAIN
        kept = self._kept.get(wanted)
        if not is_on_hub(uri) or (kept and self._clock() < kept.until):
            return
        if wanted not in self._waiting:
            self._waiting[wanted] = set()
            self._queue.put_nowait(wanted)
        self._waiting[wanted].add(key)

    async def run(self) -> None:
        connector = aiohttp.TCPConnector(ssl=self._tls or True, limit=AT_ONCE)
        async with (
            aiohttp.ClientSession(connector=connector, trust_env=True) as session,
            asyncio.TaskGroup() as group,
        ):
            for _ in range(AT_ONCE):
                group.create_task(self._work(session))

    async def _work(self, session: aiohttp.ClientSession) -> None:
        while True:
            wanted = await self._queue.get()
            try:
                answer = await self._answer(session, *wanted)
            except Exception:
                logger.exception("The config of %s could not be fetched; please report this bug", wanted[0])
                answer = Answer(None, f"The config.json of {wanted[0]} could not be read; please report this bug.")
            self._keep(wanted, answer)

    def _keep(self, wanted: Wanted, answer: Answer) -> None:
        self._kept[wanted] = _Kept(answer, self._clock() + _lasts(answer, wanted))
        self._kept.move_to_end(wanted)
        while len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        self._answers = {each: kept.answer for each, kept in self._kept.items()}
        for key in self._waiting.pop(wanted, ()):
            self._changed(key)

    # --- one file ---------------------------------------------------------------------------------------------------

    async def _answer(self, session: aiohttp.ClientSession, name: str, revision: str) -> Answer:
        place = f"{self._endpoint}/{quote(name)}/resolve/{quote(revision, safe='')}"
        try:
            async with asyncio.timeout(TIMEOUT):
                config = _parsed(await self._read(session, f"{place}/config.json"))
                if "quantization_config" not in config:
                    with suppress(_Absent):
                        of_quantization = _parsed(await self._read(session, f"{place}/hf_quant_config.json"))
                        config |= {"quantization_config": of_quantization}
            return Answer(_facts(config))
        except _Failed as failed:
            why = str(failed)
        except TimeoutError:
            why = f"no answer in time: {UNREACHABLE}"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            why = f"{str(error) or type(error).__name__:.200}: {UNREACHABLE}"
        problem = f"The config.json of {name} can't be read from {self._endpoint}: {why}."
        logger.info("%s", problem)
        return Answer(None, problem)

    async def _read(self, session: aiohttp.ClientSession, url: str) -> bytes:
        for _ in range(MOST_REDIRECTS):
            async with session.get(
                URL(url, encoded=True), allow_redirects=False, headers={"Accept-Encoding": "identity"}
            ) as response:
                if response.status not in REDIRECTS:
                    return await _body(response)
                url = self._allowed(urljoin(url, response.headers.get("Location", "")))
        raise _Failed(f"more than {MOST_REDIRECTS} redirects")

    def _allowed(self, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme != "https" or parts.netloc not in self._hosts:
            raise _Failed(f"it redirects to {parts.netloc[:100]!r}, which planner.hub.redirectsTo doesn't list")
        return url


async def _body(response: aiohttp.ClientResponse) -> bytes:
    if response.status in (401, 403):
        raise _Failed(
            "the model is private or gated, and the operator has no credentials: write spec.model.facts, or let an "
            "inspection read the files"
        )
    if response.status == 404:
        raise _Absent("there is no such model, revision or file: correct spec.model.uri or spec.model.revision")
    if response.status != 200:
        raise _Failed(f"it answers {response.status}")
    read = b""
    async for chunk in response.content.iter_chunked(CHUNK):
        read += chunk
        if len(read) > LARGEST:
            raise _Failed(f"the file has more than {LARGEST} bytes")
    return read


def _parsed(text: bytes) -> dict[str, Any]:
    try:
        return parsed(text.decode())
    except ValueError:
        raise _Failed("the file isn't a JSON object") from None


def _facts(config: dict[str, Any]) -> str:
    try:
        return of_config(config)
    except ValueError:
        raise _Failed("the file has more in it than that of any model") from None


def _lasts(answer: Answer, wanted: Wanted) -> float:
    """In seconds."""
    if answer.facts is None:
        return AFTER_A_FAILURE
    return float("inf") if COMMIT.fullmatch(wanted[1]) else AGAIN_AFTER
