"""A namespace for each test."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from support.builders import objects
from support.cluster.kube import Kube


@asynccontextmanager
async def own_namespace(kube: Kube, name: str = "") -> AsyncGenerator[Kube]:
    """Creates a namespace, so that tests can run in parallel; it is deleted at the end without waiting for that.

    `name`: for a test whose results are shown to people; it can't run twice at the same time.
    """
    name = name or f"test-{secrets.token_hex(4)}"
    await kube.apply(objects.namespace(name))
    inside = kube.within(name)
    try:
        await inside.wait_for("serviceaccount", "default", lambda _: True)  # without it, pods are rejected
        yield inside
    finally:
        await kube.delete("namespace", name)
