"""`kubectl llm` on a real cluster: it shows what is there, names what is wrong, and its next command heals it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from support.builders.llmdeployments import NAME, at_zero, gemma
from support.cluster import Kube, Operator, folder_claimed, settled, until_settled
from support.cluster.command_line import llm, shell
from support.faults.healed import healed_by_why
from support.faults.healing import FAILURES, WEIGHTS, Healing
from support.faults.model_failures import MODEL_FAILURES, USUAL, ModelFailure
from support.faults.runbook_faults import Given

NO_MODEL = Path("/srv")
OF_THE_DOWNLOADER = ("download-failed", "model-not-found", "model-access-denied")  # test_operator_causes.py has them
HEALED = [each for each in FAILURES if each.name in ("no-such-node", "image-name-wrong", "quota-of-pods", "too-large")]
"""Quickly; test_why_heals.py has all that can be healed."""
QUICK = [
    each
    for each in MODEL_FAILURES
    if each.timeout <= USUAL and each.name not in (*OF_THE_DOWNLOADER, *(healed.name for healed in HEALED))
]
MOST_COMMANDS = 5
"""By which a model with a sixteenth of the memory that it needs is healed, since each gives it twice as much."""
PERSON = "--as=nobody-in-particular"


async def test_a_model_at_zero_is_well(slipway: Operator, kube: Kube) -> None:
    await settled(kube, at_zero())
    listed = await llm(kube, "status")
    assert (listed.code, listed.err) == (0, "")
    assert listed.out.splitlines()[1].split()[:3] == [NAME, "Idle", "0/0"]
    one = await llm(kube, "status", NAME, "-o", "json")
    assert {each["evidence"] for each in one.document["values"]} >= {"declared", "reported"}
    why = await llm(kube, "why", NAME)
    assert (why.code, why.err) == (0, "")
    assert "Nothing is wrong." in why.out
    tree = await llm(kube, "tree", NAME)
    assert f"service/{NAME}" in tree.out
    assert f"inferenceservice/{NAME}" in tree.out
    assert (await llm(kube, "wait", NAME, "--for=idle", "--timeout=30s")).code == 0
    assert (await llm(kube, "timeline", NAME)).code == 3  # it has never started
    assert "Idle" in (await llm(kube, "events", NAME)).out


async def test_wait_follows_a_model_until_it_is_there(slipway: Operator, kube: Kube) -> None:
    await kube.apply(at_zero())
    found = await llm(kube, "wait", NAME, "--for=idle", "--timeout=60s")
    assert found.code == 0, found.err
    assert "is idle: no replica runs" in found.out


async def test_wait_and_tree_end_when_the_time_is_over_or_nothing_helps(slipway: Operator, kube: Kube) -> None:
    await settled(kube, at_zero())
    late = await llm(kube, "wait", NAME, "--for=serving", "--timeout=3s")
    assert late.code == 3
    assert f"{NAME} was not serving within 3 s" in late.err
    tree = await llm(kube, "tree", NAME, "--watch")
    assert tree.code == 0


@pytest.mark.parametrize("failure", QUICK, ids=lambda each: each.name)
async def test_why_names_what_is_wrong(slipway: Operator, kube: Kube, python_image: str, failure: ModelFailure) -> None:
    async with folder_claimed(kube, "weights", NO_MODEL):
        await kube.apply(*failure.objects(python_image))
        found = await _until_named(kube, failure)
    assert found["well"] is False
    assert found["next"]["command"].startswith("kubectl ")
    everything = str(found["chain"]) + found["message"]
    assert failure.words in everything


async def _until_named(kube: Kube, failure: ModelFailure) -> dict[str, Any]:
    async with asyncio.timeout(failure.timeout):
        while True:
            found = (await llm(kube, "why", NAME, "-o", "json")).document
            if found.get("reason") == failure.reason:
                return found


@pytest.mark.parametrize("failure", HEALED, ids=lambda each: each.name)
async def test_the_next_command_heals_the_model(
    slipway: Operator, kube: Kube, python_image: str, failure: Healing
) -> None:
    async with folder_claimed(kube, WEIGHTS, NO_MODEL):
        await kube.apply(*failure.objects(Given(python_image, "")))
        await healed_by_why(kube, failure)


async def test_the_next_command_resumes_a_paused_model(slipway: Operator, kube: Kube) -> None:
    await settled(kube, at_zero())
    assert (await llm(kube, "pause", NAME, "--dry-run")).code == 0
    assert (await llm(kube, "why", NAME)).code == 0
    assert (await llm(kube, "pause", NAME, "--yes")).code == 0
    await kube.wait_for("llmdeployment", NAME, lambda it: "Paused" in str(it["status"]["conditions"]))
    why = await llm(kube, "why", NAME, "-o", "json")
    assert (why.code, why.document["reason"]) == (1, "Paused")
    assert (await shell(kube, why.document["next"]["command"])).code == 0
    assert (await llm(kube, "wait", NAME, "--for=ready", "--timeout=30s")).code == 0
    assert (await llm(kube, "why", NAME)).code == 0


async def test_the_next_command_heals_a_model_without_memory(slipway: Operator, kube: Kube, gemma_volume: None) -> None:
    """A real model on a real engine."""
    limits = {"resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "128Mi"}}}
    await kube.apply(gemma(min_replicas=1, pod=limits))
    commands = []
    for _ in range(MOST_COMMANDS):
        if (await llm(kube, "wait", "gemma", "--for=serving", "--timeout=3m", within=200)).code == 0:
            break
        why = await llm(kube, "why", "gemma", "-o", "json")
        if why.code == 0:
            continue  # the version that is enough is being rolled out
        assert why.document["reason"] == "HostOutOfMemory"
        assert why.document["next"]["fixes"] is True
        commands.append(why.document["next"]["command"])
        healed = await shell(kube, commands[-1])
        assert healed.code == 0, healed.err
    await until_settled(kube, "gemma", "Serving")
    assert commands  # it was ill before
    assert (await llm(kube, "why", "gemma")).code == 0
    logs = await llm(kube, "logs", "gemma", "--tail=5")
    assert logs.code == 0
    assert "kserve-container" in logs.out


async def test_without_rights_it_says_so_and_what_would_help(slipway: Operator, kube: Kube) -> None:
    await settled(kube, at_zero())
    found = await llm(kube, "status", PERSON)
    assert (found.code, found.out) == (3, "")
    assert "You may not read LLMDeployments" in found.err
    assert "role view" in found.err


async def test_with_the_role_view_why_sees_pods_and_logs(slipway: Operator, kube: Kube) -> None:
    await settled(kube, at_zero())
    rules = "--verb=get,list --resource=llmdeployments.slipway.dev"
    await shell(kube, f"kubectl create role models -n {kube.namespace} {rules}")
    await shell(
        kube, f"kubectl create rolebinding models -n {kube.namespace} --role=models --user=nobody-in-particular"
    )
    lacking = await llm(kube, "why", NAME, PERSON)
    assert lacking.code == 0, lacking.err
    assert "pods can't be read (Forbidden)" in lacking.out
    view = "--clusterrole=view --user=nobody-in-particular"
    await shell(kube, f"kubectl create rolebinding view -n {kube.namespace} {view}")
    found = await llm(kube, "why", NAME, PERSON)
    assert "pods can't be read" not in found.out
    assert "events can't be read" not in found.out


async def test_accelerators_are_shown(slipway: Operator, kube: Kube) -> None:
    found = await llm(kube, "accelerators", "--all", "-o", "json")
    assert found.code == 0, found.err
    assert "cpu" in {each["profile"] for each in found.document["items"]}
    table = await llm(kube, "accelerators")
    assert table.out.startswith("PROFILE")


async def test_doctor_names_what_is_not_installed(slipway: Operator, kube: Kube) -> None:
    """The operator of the tests is a process, so that its Deployment is missing."""
    found = await llm(kube, "doctor", "-o", "json")
    marks = {each["check"]: each["mark"] for each in found.document["items"]}
    assert found.code == 1
    assert marks["slipway-operator"] == "wrong"
    assert marks["LLMDeployment (slipway.dev/v1alpha1)"] == "well"
    assert marks["kserve-controller-manager"] == "well"
    assert marks["keda-operator"] == "well"
    assert marks["Clocks"] == "well"


async def test_completion_knows_the_models_of_the_cluster(slipway: Operator, kube: Kube) -> None:
    await settled(kube, at_zero())
    found = await shell(kube, f"kubectl_complete-llm why --namespace {kube.namespace} ''")
    assert found.out.splitlines()[0].split("\t")[0] == NAME
