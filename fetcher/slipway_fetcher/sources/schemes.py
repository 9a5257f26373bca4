"""Which source has a scheme."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from slipway_fetcher.problem import FetchError, Reason
from slipway_fetcher.request import Request
from slipway_fetcher.settings import Settings
from slipway_fetcher.sources.azure import BlobStorage
from slipway_fetcher.sources.base import Source
from slipway_fetcher.sources.gcs import CloudStorage
from slipway_fetcher.sources.hub import Hub
from slipway_fetcher.sources.mlflow import ModelRegistry
from slipway_fetcher.sources.oci import Image
from slipway_fetcher.sources.s3 import S3
from slipway_fetcher.sources.web import Website
from slipway_fetcher.web.client import Client
from slipway_fetcher.web.repeating import Patience


def source_of(request: Request, settings: Settings, client: Client, patience: Patience) -> Source:
    """The model that a URI names."""
    if request.scheme not in SOURCES:
        raise FetchError(
            Reason.INVALID,
            f"The URI {request.uri!r} has none of the schemes that can be fetched.",
            f"Start it with {', '.join(f'{scheme}://' for scheme in SOURCES)}.",
        )
    return SOURCES[request.scheme](request, settings, client, patience)


SOURCES: dict[str, Callable[[Request, Settings, Client, Patience], Source]] = {
    "hf": Hub,
    "s3": S3,
    "gs": CloudStorage,
    "az": BlobStorage,
    "https": Website,
    "oci": Image,
    "mlflow": partial(ModelRegistry, source_of=source_of),
}
