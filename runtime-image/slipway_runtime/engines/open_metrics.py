"""OpenMetrics, the format of metrics in which histograms name traces: who wants it, and the page of a registry."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from slipway_runtime.guard.exchange import App, Receive, Scope, Send

MEDIA_TYPE = "application/openmetrics-text"
CONTENT_TYPE = f"{MEDIA_TYPE}; version=1.0.0; charset=utf-8"
NAMES_AS_THEY_ARE = f"{MEDIA_TYPE}; version=1.0.0; escaping=allow-utf-8"
"""By default, prometheus_client 0.26 replaces the colon in the names of samples, and not in those of their families."""


def is_wanted(accept: str) -> bool:
    """Returns whether a client prefers it to the classic format, by its header Accept."""
    shares = dict(map(_preference, accept.split(",")))
    return 0 < shares.get(MEDIA_TYPE, 0.0) >= shares.get("text/plain", 0.0)


def is_wanted_by(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    return is_wanted(",".join(value.decode("latin-1") for name, value in headers if name == b"accept"))


def page_of(registry: CollectorRegistry) -> bytes:
    from prometheus_client.exposition import choose_encoder  # noqa: PLC0415 - process 1 doesn't need it

    encode, _ = choose_encoder(NAMES_AS_THEY_ARE)
    return encode(registry)


def with_open_metrics(app: App, registry: CollectorRegistry) -> App:
    """Adds it to an app that serves its metrics in the classic format alone."""

    async def answering(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != "/metrics" or not is_wanted_by(scope["headers"]):
            await app(scope, receive, send)
            return
        page = await asyncio.to_thread(page_of, registry)
        headers = [(b"content-type", CONTENT_TYPE.encode()), (b"content-length", b"%d" % len(page))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": page})

    return answering


def _preference(choice: str) -> tuple[str, float]:
    """Parses one of the choices in Accept: a media type, and how much it is wanted, from 0 to 1."""
    kind, *parameters = (part.strip() for part in choice.split(";"))
    word = next((each.removeprefix("q=") for each in parameters if each.startswith("q=")), "1")
    try:
        share = float(word)
    except ValueError:
        share = 0.0
    return kind.lower(), share if 0 <= share <= 1 else 0.0
