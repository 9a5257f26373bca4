"""What walks of pages about one model share: its namespace, its clients, and the page with its names."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

from slipway_devcluster.cluster import Cluster

from support.builders.llmdeployments import NAME
from support.cluster import FromTheNode, Kube, folder_claimed, own_namespace
from support.faults.refusals import Client
from support.faults.runbook_faults import CLAIM
from support.pages.shell import Shell
from support.pages.walking import Walk, runbook


@asynccontextmanager
async def namespace_with_models(whole: Kube, models: Path, *claims: str) -> AsyncGenerator[Kube]:
    """With the tiny models in the usual claim, and in others."""
    async with own_namespace(whole) as kube, AsyncExitStack() as claimed:
        for claim in (CLAIM, *claims):
            await claimed.enter_async_context(folder_claimed(kube, claim, models))
        yield kube
        with suppress(Exception):
            await kube.run("delete", "llmdeployments", "--all")


@asynccontextmanager
async def client_of(node: Cluster, kube: Kube, name: str = NAME) -> AsyncGenerator[Client]:
    access = FromTheNode(kube, node.entered)
    async with access.session() as session:
        client = Client(session, await access.url(name))
        try:
            yield client
        finally:
            await client.ended()


def walk_of(page: str, shell: Shell, kube: Kube, fault: str, **values: str) -> Walk:
    return Walk(runbook(page), shell, {"NAMESPACE": kube.namespace, "NAME": NAME, **values}, fault)
