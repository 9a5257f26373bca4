"""Plain HTTP questions, asked again and again where nothing can be watched."""

from __future__ import annotations

import asyncio

import aiohttp

from support.cluster.access import ServiceAccess


async def get_text(session: aiohttp.ClientSession, url: str) -> str:
    """The text of the answer, or why there was none."""
    try:
        async with session.get(url) as response:
            return await response.text()
    except aiohttp.ClientConnectionError as error:
        return repr(error)


async def reachable(access: ServiceAccess, service: str, *, path: str = "/health", timeout: float = 30) -> str:
    """The URL of a Service, once it answers: a pod is ready a moment before every node's packet filter knows it."""
    url, last = await access.url(service), "nothing"
    async with access.session() as session:
        try:
            async with asyncio.timeout(timeout):
                while last != "200":
                    last = await _status(session, url + path)
        except TimeoutError:
            raise AssertionError(f"{service} did not answer; the last was {last}") from None
    return url


async def _status(session: aiohttp.ClientSession, url: str) -> str:
    try:
        async with session.get(url) as response:
            return str(response.status)
    except aiohttp.ClientConnectionError as error:
        return repr(error)


async def until_answers(session: aiohttp.ClientSession, url: str, wanted: set[str], *, timeout: float = 30) -> None:
    """Until each of these answers has come at least once."""
    seen: list[str] = []
    try:
        async with asyncio.timeout(timeout):
            while not wanted <= set(seen):
                seen.append(await get_text(session, url))
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"{wanted} was not answered; the last answers were {seen[-3:]}") from None


async def until_only(session: aiohttp.ClientSession, url: str, wanted: str, *, timeout: float = 30) -> None:
    """Until this answer has come twenty times in a row: by chance, another would have come in between."""
    streak, last = 0, ""
    try:
        async with asyncio.timeout(timeout):
            while streak < 20:
                last = await get_text(session, url)
                streak = streak + 1 if last == wanted else 0
    except TimeoutError:
        raise AssertionError(f"{wanted!r} was not the only answer; the last one was {last!r}") from None
