"""A cluster of a test's own whose pods can mount images, with a registry that nodes and pods reach under one name."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import pytest
from slipway_devcluster import lifecycle, registry
from slipway_devcluster.cluster import Cluster, named
from slipway_devcluster.errors import Refusal
from slipway_devcluster.images import ensure_base_image
from slipway_devcluster.record import Options

from support.builders.objects import Object, manifest
from support.cluster.clusters import Settings


@contextmanager
def imaging_cluster(settings: Settings) -> Iterator[Cluster]:
    """With containerd 2."""
    if settings.kind != "embedded":
        pytest.skip("only a cluster that the tests create is known to mount images")
    own = named(f"{settings.name[:12]}-images", settings.cache)
    lifecycle.up(own.name, cache=settings.cache, steps=settings.steps, options=Options(image_volumes=True))
    own.load_image(ensure_base_image(settings.cache, settings.steps))
    yield own
    if not settings.keep:
        with suppress(Refusal):
            lifecycle.down(own.name, cache=settings.cache, steps=settings.steps)


def registry_secret(name: str, config: str, authority: str = "") -> Object:
    content = {".dockerconfigjson": config, **({"ca.crt": authority} if authority else {})}
    data = {key: base64.b64encode(text.encode()).decode() for key, text in content.items()}
    return manifest("v1", "Secret", name, type="kubernetes.io/dockerconfigjson", data=data)


@asynccontextmanager
async def without_registry(cluster: Cluster) -> AsyncIterator[None]:
    await asyncio.to_thread(cluster.stop, registry.OF_PODS)
    yield
    await asyncio.to_thread(cluster.start, registry.OF_PODS)
