"""Reads config.json files over HTTPS.

Names and revisions are those of specs, so they are quoted, and only the configured hosts are called. Whatever these
answer is bounded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Any, Final, TypeVar
from urllib.parse import quote, urljoin, urlsplit

import aiohttp
from yarl import URL

from slipway.observing.inspection_report import of_config, parsed
from slipway.operator.reconciling.asking import Answer

LARGEST: Final = 1 << 20  # bytes of a file
IN_THE_LOOP: Final = 64 << 10  # bytes; what is larger is parsed in a thread
CHUNK: Final = 64 << 10
TIMEOUT = 15.0  # seconds: for all files of one model
MOST_REDIRECTS = 5
UNREACHABLE = "allow the operator to reach it, or turn planner.hub off"
REDIRECTS = (301, 302, 303, 307, 308)
BUSY = (429, 503)
SHORTEST_PAUSE, LONGEST_PAUSE = 10.0, 900.0  # seconds, when the Hub says that it is busy

Result = TypeVar("Result")


class _FailedError(Exception):
    """Its text becomes a part of the answer's sentence."""


class _AbsentError(_FailedError):
    pass


class HubFiles:
    """`endpoint`: https://HOST; `redirects_to`: further hosts that it may send us to; `on_busy`: called with the
    seconds for which it wants no request."""

    def __init__(self, endpoint: str, redirects_to: Iterable[str], on_busy: Callable[[float], None]) -> None:
        self._endpoint, self._on_busy = endpoint.rstrip("/"), on_busy
        self._hosts = {urlsplit(endpoint).netloc, *redirects_to}

    async def answer(self, session: aiohttp.ClientSession, name: str, revision: str) -> Answer:
        place = f"{self._endpoint}/{quote(name)}/resolve/{quote(revision, safe='')}"
        try:
            async with asyncio.timeout(TIMEOUT):
                return Answer(await self._facts(session, place))
        except _FailedError as failed:
            why = str(failed)
        except TimeoutError:
            why = f"no answer in time: {UNREACHABLE}"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            why = f"{str(error) or type(error).__name__:.200}: {UNREACHABLE}"
        return Answer(None, f"The config.json of {name} can't be read from {self._endpoint}: {why}.")

    async def _facts(self, session: aiohttp.ClientSession, place: str) -> str:
        text = await self._read(session, f"{place}/config.json")
        config = await _computed(len(text), partial(_parsed, text))
        if "quantization_config" not in config:
            with suppress(_AbsentError):
                more = await self._read(session, f"{place}/hf_quant_config.json")
                config |= {"quantization_config": await _computed(len(more), partial(_parsed, more))}
        return await _computed(len(text), partial(_stored, config))

    async def _read(self, session: aiohttp.ClientSession, url: str) -> bytes:
        for _ in range(MOST_REDIRECTS):
            async with session.get(
                URL(url, encoded=True), allow_redirects=False, headers={"Accept-Encoding": "identity"}
            ) as response:
                if response.status in BUSY:
                    self._on_busy(_pause(response.headers.get("Retry-After", "")))
                if response.status not in REDIRECTS:
                    return await _body(response)
                url = self._allowed(urljoin(url, response.headers.get("Location", "")))
        raise _FailedError(f"more than {MOST_REDIRECTS} redirects")

    def _allowed(self, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme != "https" or parts.netloc not in self._hosts:
            raise _FailedError(f"it redirects to {parts.netloc[:100]!r}, which planner.hub.redirectsTo doesn't list")
        return url


async def _body(response: aiohttp.ClientResponse) -> bytes:
    if response.status in (401, 403):
        raise _FailedError(
            "the model is private or gated, and the operator has no credentials: write spec.model.facts, or let an "
            "inspection read the files"
        )
    if response.status == 404:
        raise _AbsentError("there is no such model, revision or file: correct spec.model.uri or spec.model.revision")
    if response.status != 200:
        raise _FailedError(f"it answers {response.status}")
    read = bytearray()
    async for chunk in response.content.iter_chunked(CHUNK):
        read += chunk
        if len(read) > LARGEST:
            raise _FailedError(f"the file has more than {LARGEST} bytes")
    return bytes(read)


def _pause(retry_after: str) -> float:
    seconds = float(retry_after) if retry_after.isascii() and retry_after.isdigit() else 0.0
    return min(max(seconds, SHORTEST_PAUSE), LONGEST_PAUSE)


# --- what they say ---------------------------------------------------------------------------------------------------


async def _computed(size: int, compute: Callable[[], Result]) -> Result:
    """`size`: of what it reads, in bytes."""
    return compute() if size <= IN_THE_LOOP else await asyncio.to_thread(compute)


def _parsed(text: bytes) -> dict[str, Any]:
    try:
        return parsed(text.decode())
    except ValueError:
        raise _FailedError("the file isn't a JSON object") from None


def _stored(config: dict[str, Any]) -> str:
    try:
        return of_config(config)
    except ValueError:
        raise _FailedError("the file has more in it than that of any model") from None
