"""Requests that are refused: the runbook of each code shows what is seen, and its remedy helps."""

from __future__ import annotations

import asyncio
import ipaddress
import json
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from slipway_devcluster.addresses import POD_RANGE
from slipway_devcluster.cluster import Cluster
from support.builders.llmdeployments import NAME, at_zero
from support.builders.objects import manifest
from support.cluster import Kube, folder_claimed, own_namespace, settled, until_settled
from support.faults import refusals
from support.faults.model_walks import client_of
from support.faults.refusals import KEYS, REFUSALS, SECRET, Client, Refusal
from support.faults.runbook_faults import CLAIM
from support.monitoring.alert_walks import newest_pod
from support.pages.placeholders import Values
from support.pages.shell import Shell
from support.pages.walking import Walk, runbook
from support.repository import in_checkout
from support.waiting import until

pytestmark = pytest.mark.slow

LIMITED, BUSY = NAME, "busy"
PATIENCE = 180.0
NODE_TO_PODS = str(next(ipaddress.ip_network(POD_RANGE).hosts()))
"""The address from which a process on the node calls pods."""


@pytest.fixture(scope="module")
def awake(whole: Kube, models: Path) -> Iterator[Kube]:
    """A namespace with two models that serve: one with limits, and one that is easily busy."""
    with asyncio.Runner() as runner:
        models_that_serve = serving(whole, models)
        yield runner.run(anext(models_that_serve))
        runner.run(models_that_serve.aclose())


async def serving(whole: Kube, models: Path) -> AsyncGenerator[Kube]:
    async with own_namespace(whole) as kube, folder_claimed(kube, CLAIM, models):
        await kube.apply(secret(), refusals.limited(), refusals.busy())
        for name in (LIMITED, BUSY):
            await until_settled(kube, name, "Serving", timeout=180)
        try:
            yield kube
        finally:
            await kube.run("delete", "llmdeployments", "--all")


def secret() -> dict[str, object]:
    return manifest("v1", "Secret", SECRET, stringData=KEYS)


@pytest.mark.parametrize("refusal", [each for each in REFUSALS if isinstance(each.model, str)], ids=lambda it: it.page)
async def test_the_runbook_of_a_replicas_refusal_says_what_one_sees(
    refusal: Refusal, node: Cluster, awake: Kube, shell: Shell
) -> None:
    name = BUSY if refusal.model == "busy" else LIMITED
    [pod] = await awake.select("pods", f"slipway.dev/llmdeployment={name}")
    values = {"POD": pod["metadata"]["name"]}
    await walked(refusal, node, awake, shell, name, values)


@pytest.mark.parametrize(
    "refusal", [each for each in REFUSALS if not isinstance(each.model, str)], ids=lambda it: it.page
)
async def test_the_runbook_of_a_refusal_by_a_model_of_its_own_says_what_one_sees(
    refusal: Refusal, node: Cluster, whole: Kube, models: Path, shell: Shell, python_image: str
) -> None:
    assert not isinstance(refusal.model, str)
    async with (
        own_namespace(whole) as kube,
        folder_claimed(kube, CLAIM, models),
        folder_claimed(kube, "weights", models),
    ):
        await kube.apply(secret(), *refusal.model(python_image))
        try:
            await until_settled(kube, state=refusal.state, timeout=PATIENCE)
            values: Values = {"POD": lambda: newest_pod(kube, NAME), "ADDRESS": NODE_TO_PODS}
            await walked(refusal, node, kube, shell, NAME, values)
        finally:
            await kube.run("delete", "llmdeployments", "--all")


async def test_the_runbook_of_rules_that_the_activator_cannot_read_says_what_one_sees(
    node: Cluster, whole: Kube, shell: Shell
) -> None:
    async with own_namespace(whole) as kube, newer_definition(whole):
        await settled(kube, at_zero())
        await kube.patch("llmdeployment", NAME, {"spec": {"access": {refusals.NEWER_FIELD: ["a"]}}})
        try:
            await walked(refusals.RULES_UNREADABLE, node, kube, shell, NAME, {})
        finally:
            await kube.run("delete", "llmdeployments", "--all")


@asynccontextmanager
async def newer_definition(kube: Kube) -> AsyncGenerator[None]:
    """The CRD is of a newer version: it has a field that no program knows."""
    command = ["patch", "customresourcedefinition", "llmdeployments.slipway.dev", "--type=json", "--patch"]
    where = {"path": f"{refusals.ACCESS_SCHEMA}/{refusals.NEWER_FIELD}"}
    field = {"type": "array", "items": {"type": "string"}}
    await kube.run(*command, json.dumps([{"op": "add", **where, "value": field}]))
    try:
        yield
    finally:
        await kube.run(*command, json.dumps([{"op": "remove", **where}]))


async def walked(refusal: Refusal, node: Cluster, kube: Kube, shell: Shell, name: str, values: Values) -> None:
    in_checkout(shell.home)
    given = {"NAMESPACE": kube.namespace, "NAME": name, "SECRET": SECRET, **values, **refusal.values}
    walk = Walk(runbook(refusal.page), shell, given, refusal.words)
    async with client_of(node, kube, name) as client:
        await until(lambda: gets(client, refusal, (refusal.status, refusal.page)), timeout=PATIENCE)
        walk.saw(f"The client got {refusal.status}.")
        for part in refusal.parts:
            await walk.through(*part)
        if refusal.afterwards:
            await until(lambda: gets(client, refusal, refusal.afterwards or (0, "")), timeout=PATIENCE)
            walk.saw(f"After the remedy the same request got {refusal.afterwards[0]}.")
    walk.record()


async def gets(client: Client, refusal: Refusal, expected: tuple[int, str]) -> bool:
    """Rules and rights take a moment to reach the activator."""
    return await refusal.ask(client) == expected
