"""HTTP requests to Services, repeated where there is no event to wait for."""

from __future__ import annotations

import asyncio

import aiohttp

from support.cluster.access import ServiceAccess


async def get_text(session: aiohttp.ClientSession, url: str) -> str:
    """Returns the text of the response, or the error."""
    try:
        async with session.get(url) as response:
            return await response.text()
    except aiohttp.ClientConnectionError as error:
        return repr(error)


async def reachable(access: ServiceAccess, service: str, *, path: str = "/health", timeout: float = 30) -> str:
    """Returns the URL of a Service once it responds: kube-proxy learns of a pod a moment after it is ready."""
    url, last = await access.url(service), "nothing"
    async with access.session() as session:
        try:
            async with asyncio.timeout(timeout):
                while last != "200":
                    last = await _status(session, url + path)
        except TimeoutError:
            raise AssertionError(f"{service} did not respond with 200; the last response was {last}") from None
    return url


async def _status(session: aiohttp.ClientSession, url: str) -> str:
    try:
        async with session.get(url) as response:
            return str(response.status)
    except aiohttp.ClientConnectionError as error:
        return repr(error)


async def until_answers(session: aiohttp.ClientSession, url: str, wanted: set[str], *, timeout: float = 30) -> None:
    """Waits until each of these strings was the response at least once."""
    seen: list[str] = []
    try:
        async with asyncio.timeout(timeout):
            while not wanted <= set(seen):
                seen.append(await get_text(session, url))
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"{wanted} were not all seen; the last responses were {seen[-3:]}") from None


async def until_only(session: aiohttp.ClientSession, url: str, wanted: str, *, timeout: float = 30) -> None:
    """Waits until this string was the response twenty times in a row: another possible one would have come up."""
    streak, last = 0, ""
    try:
        async with asyncio.timeout(timeout):
            while streak < 20:
                last = await get_text(session, url)
                streak = streak + 1 if last == wanted else 0
    except TimeoutError:
        raise AssertionError(f"{wanted!r} was not the only response; the last one was {last!r}") from None
