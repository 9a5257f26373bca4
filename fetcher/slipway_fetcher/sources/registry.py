"""Which source has a scheme."""

from __future__ import annotations

from slipway_fetcher.problem import FetchError, Reason
from slipway_fetcher.request import Request
from slipway_fetcher.settings import Settings
from slipway_fetcher.sources.base import Source
from slipway_fetcher.sources.hub import Hub
from slipway_fetcher.sources.s3 import S3
from slipway_fetcher.sources.web import Website
from slipway_fetcher.web.client import Client
from slipway_fetcher.web.repeating import Patience

SCHEMES = ("hf", "s3", "https")


def source_of(request: Request, settings: Settings, client: Client, patience: Patience, *, anonymous: bool) -> Source:
    """`anonymous`: without the credentials that the environment has."""
    if anonymous:
        settings = Settings({}, None)
    match request.scheme:
        case "hf":
            return Hub(request, settings, client, patience)
        case "s3":
            return S3(request, settings, client, patience)
        case "https":
            return Website(request, settings, client, patience)
    raise FetchError(
        Reason.INVALID,
        f"The URI {request.uri!r} has none of the schemes that can be fetched.",
        f"Start it with {', '.join(f'{scheme}://' for scheme in SCHEMES)}.",
    )
