"""A namespace of its own for whoever needs one."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from support.cluster.kube import Kube


@asynccontextmanager
async def own_namespace(kube: Kube) -> AsyncGenerator[Kube]:
    """New, so that tests can run side by side. At its end it goes by itself; nobody waits for that."""
    name = f"test-{secrets.token_hex(4)}"
    await kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    inside = kube.within(name)
    try:
        await inside.wait_for("serviceaccount", "default", lambda _: True)  # without it, pods are refused
        yield inside
    finally:
        await kube.delete("namespace", name)
