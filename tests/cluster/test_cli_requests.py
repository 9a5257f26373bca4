"""`kubectl llm` talks with a model on a real cluster, and shows what it does: all of Slipway runs as pods.

The engine is llama.cpp with the demo model, which needs an API key.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from slipway_devcluster import model
from slipway_devcluster.cluster import Cluster
from support.builders.llmdeployments import GEMMA_CLAIM, gemma
from support.builders.objects import Object, manifest
from support.cluster import Kube, Settings, folder_claimed
from support.cluster.command_line import llm, shell

KEY = "a-key-of-alice"
PERSON = "nobody-in-particular"


def secret() -> Object:
    return manifest("v1", "Secret", "keys", stringData={"alice": f"{KEY}\n"})


@pytest.fixture
async def kube(operator_pods: Cluster, neighbour_kube: Kube, settings: Settings) -> AsyncIterator[Kube]:
    """A namespace with the model at zero."""
    weights = model.ensure_gguf(settings.cache, settings.steps)
    async with folder_claimed(neighbour_kube, GEMMA_CLAIM, weights):
        await neighbour_kube.apply(secret(), gemma(min_replicas=0, access={"apiKeysSecret": "keys"}))
        await neighbour_kube.wait_for_condition("scaledobject", "gemma", "Ready", timeout=60)
        yield neighbour_kube
        await neighbour_kube.delete("llmdeployment", "gemma", wait=True)


async def test_chat_wakes_a_model_and_needs_its_key_and_top_shows_what_it_does(kube: Kube) -> None:
    without = await llm(kube, "chat", "gemma", "--once", "Hello")
    assert (without.code, without.out) == (3, "")
    assert "gemma is Waking (" in without.err
    assert "answered 401 missing_api_key: " in without.err
    assert "Give a key by --key-secret NAME" in without.err
    wrong = await shell(kube, f"SLIPWAY_API_KEY=a-wrong-key kubectl llm complete gemma Hello -n {kube.namespace}")
    assert (wrong.code, wrong.out) == (3, "")
    chat = await llm(kube, "chat", "gemma", "--once", "Hello", "--key-secret=keys", "--max-tokens=4")
    assert chat.code == 0, chat.err
    assert chat.out.strip()
    command = f"SLIPWAY_API_KEY={KEY} kubectl llm complete gemma -n {kube.namespace} --max-tokens=4 --temperature=0"
    completed = await shell(kube, f"echo 'Kubernetes is' | {command} -o json")
    assert completed.code == 0, completed.err
    assert completed.document["usage"]["completion_tokens"] == 4
    assert completed.document["finishReason"] == "length"
    await _until_seen_by_top(kube, command.replace("--max-tokens=4", "--max-tokens=400") + " 'Once upon'")
    await _a_person_sees_which_rights_are_missing(kube)


async def _until_seen_by_top(kube: Kube, request: str) -> None:
    """One request follows another until top has seen one. A request is long, since top looks only once in a second.
    llama.cpp counts the tokens of a request when it has ended, so they may be in another reading than it."""
    in_flight = tokens = False

    async def requests() -> None:
        while not (in_flight and tokens):
            completed = await shell(kube, request)
            assert completed.code == 0, completed.err

    async with asyncio.TaskGroup() as tasks, asyncio.timeout(120):
        tasks.create_task(requests())
        while not (in_flight and tokens):
            top = await llm(kube, "top", "-o", "json", "--interval=1s")
            assert (top.code, top.document.get("gaps")) == (0, None), top.err
            [use] = top.document["items"]
            assert (use["state"], use["ready"], use["held"]) == ("Serving", 1, 0)
            assert use["secondsToFirstTokenP95"] > 0
            in_flight, tokens = in_flight or use["inFlight"] > 0, tokens or use["tokensPerSecond"] > 0


async def _a_person_sees_which_rights_are_missing(kube: Kube) -> None:
    await _may(kube, "get,list,watch", "llmdeployments.slipway.dev,pods")
    top = await llm(kube, "top", f"--as={PERSON}")
    assert top.code == 0, top.err
    assert top.out.splitlines()[1].split()[:5] == ["gemma", "Serving", "1/1", "-", "-"]
    assert f"the right to get pods/proxy in namespace {kube.namespace} is missing" in top.out
    assert "HELD: the right to list pods in namespace slipway-system is missing." in top.out


async def _may(kube: Kube, verbs: str, resources: str) -> None:
    name = verbs.replace(",", "-")
    await shell(kube, f"kubectl create role {name} -n {kube.namespace} --verb={verbs} --resource={resources}")
    await shell(kube, f"kubectl create rolebinding {name} -n {kube.namespace} --role={name} --user={PERSON}")


async def test_without_rights_chat_says_which_are_missing(kube: Kube) -> None:
    await _may(kube, "get,list,watch", "llmdeployments.slipway.dev,pods")
    refused = await llm(kube, "chat", "gemma", "--once", "Hello", f"--as={PERSON}")
    assert (refused.code, refused.out) == (3, "")
    assert f"ask for create on services/proxy in namespace {kube.namespace}" in refused.err
    await _may(kube, "create", "services/proxy")
    asleep = await llm(kube, "chat", "gemma", "--once", "Hello", f"--as={PERSON}")
    assert (asleep.code, asleep.out) == (3, "")
    assert "is at zero replicas, and you may not wake it: ask for patch on llmdeployments" in asleep.err
