"""A Job reads the files of a model that the planner doesn't know: from the volume to the plan, on a real cluster."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from slipway.api.llmdeployment import LLMDeployment
from slipway.observing.inspection_record import source_of
from slipway.operator.rendering.inspection import job_name
from support.builders.llmdeployments import NAME, OURS, at_zero, gemma
from support.builders.model_files import LLAMA_CONFIG, write_checkpoint
from support.cluster import (
    AnyCluster,
    Kube,
    Object,
    Operator,
    conditions,
    created,
    current_status,
    folder_claimed,
    is_stalled,
    until_settled,
)
from support.programs import operator

CLAIM = "checkpoints"
JOBS = "slipway.dev/llmdeployment,app.kubernetes.io/component=inspection"
PODS = f"slipway.dev/llmdeployment={NAME}.inspect"


@pytest.fixture(scope="module")
def slipway(cluster: AnyCluster, installed_cluster: Kube) -> Iterator[Operator]:
    """The operator, which may start Jobs in all namespaces."""
    with operator.running(cluster.kubeconfig, "--inspect-namespaces=*") as slipway:
        yield slipway


@pytest.fixture
async def folder(kube: Kube, tmp_path: Path) -> AsyncIterator[Path]:
    """A folder with a tiny checkpoint in `tiny`, as the claim `checkpoints` of the namespace."""
    write_checkpoint(tmp_path / "tiny")
    make_readable(tmp_path)
    async with folder_claimed(kube, CLAIM, tmp_path):
        yield tmp_path


def make_readable(folder: Path) -> None:
    """For the user of the pods, who is another."""
    for place in (folder, *folder.rglob("*")):
        place.chmod(0o755 if place.is_dir() else 0o644)


def unknown(path: str = "tiny", **spec: Any) -> Object:
    """A model at zero that names no profile, and of which only its files say how large it is."""
    return at_zero(**{"model": {"uri": f"pvc://{CLAIM}/{path}"}, "engine": {"name": "vllm"}} | spec)


def is_reading(thing: Object) -> bool:
    return conditions(thing).get("Planned") == ("False", "ReadingModel")


def is_planned(thing: Object) -> bool:
    return conditions(thing).get("Planned", ("", ""))[0] == "True"


def read(thing: Object) -> Object:
    found: Object = current_status(thing).get("model") or {}
    return found


@pytest.mark.timeout(240, func_only=True)
async def test_the_files_are_read_once_and_then_the_model_is_planned(
    slipway: Operator, kube: Kube, folder: Path
) -> None:
    await created(kube, unknown())
    await kube.wait_for("llmdeployment", NAME, is_reading)
    planned = await kube.wait_for("llmdeployment", NAME, is_planned, timeout=120)
    facts = json.loads(read(planned)["facts"])
    assert facts["config"]["num_hidden_layers"] == LLAMA_CONFIG["num_hidden_layers"]
    assert facts["tensors"]["parameters"] == 106816
    assert (read(planned)["source"], read(planned)["evidence"]) == (f"pvc://{CLAIM}/tiny", "exact")
    assert current_status(planned)["plan"]["memory"]["evidence"]["weights"] == "exact"
    assert "failure" not in read(planned)
    await until_settled(kube, NAME)
    async with kube.recording("job", selector=JOBS) as jobs:
        await kube.patch("llmdeployment", NAME, {"spec": {"scaling": {"maxReplicas": 2}}})
        await until_settled(kube, NAME)
    assert [each for each in jobs if "deletionTimestamp" not in each["metadata"]] == []


async def test_the_pod_that_reads_is_no_replica_and_can_do_nothing_else(
    slipway: Operator, kube: Kube, folder: Path
) -> None:
    await created(kube, unknown())
    pod = await kube.wait_for_any("pod", PODS, lambda _: True)
    assert await kube.select("pods", OURS) == []
    spec = pod["spec"]
    assert (spec["serviceAccountName"], spec["automountServiceAccountToken"]) == ("slipway-inspect", False)
    assert not [volume for volume in spec["volumes"] if "projected" in volume or "secret" in volume]
    assert spec["containers"][0]["securityContext"]["capabilities"] == {"drop": ["ALL"]}


@pytest.mark.timeout(240, func_only=True)
async def test_a_wrong_path_is_the_reason_on_the_object_and_is_not_created_in_the_volume(
    slipway: Operator, kube: Kube, folder: Path
) -> None:
    await created(kube, unknown("tinny"))
    found = await kube.wait_for("llmdeployment", NAME, is_stalled("ModelNotFound", "tinny doesn't exist"), timeout=120)
    assert current_status(found)["state"] == "Failed"
    assert read(found)["failure"]["tries"] == 1
    assert not (folder / "tinny").exists()
    await kube.patch("llmdeployment", NAME, {"spec": {"model": {"uri": f"pvc://{CLAIM}/tiny"}}})
    await kube.wait_for("llmdeployment", NAME, is_planned, timeout=120)


def with_length(digits: str) -> str:
    return json.dumps(LLAMA_CONFIG | {"max_position_embeddings": 4711}).replace("4711", digits)


@pytest.mark.timeout(240, func_only=True)
@pytest.mark.parametrize(
    ("config", "reason", "words"),
    [
        (with_length("9" * 400), "ModelCorrupt", "max_position_embeddings is 999"),
        ("[" * 100_000, "ModelCorrupt", "config.json isn't valid JSON"),
        ('{"architectures": ["\\u001b[31m"]}', "ModelCorrupt", "architectures is"),
    ],
    ids=["a number without end", "depth without end", "a control sequence"],
)
async def test_a_hostile_config_is_a_sentence_on_the_object(
    slipway: Operator, kube: Kube, folder: Path, config: str, reason: str, words: str
) -> None:
    (folder / "tiny/config.json").write_text(config)
    await created(kube, unknown())
    found = await kube.wait_for("llmdeployment", NAME, is_stalled(reason, words), timeout=120)
    assert current_status(found)["message"].isprintable()


@pytest.mark.timeout(240, func_only=True)
async def test_a_model_that_has_a_plan_is_created_while_its_files_are_read(
    slipway: Operator, kube: Kube, gemma_volume: None
) -> None:
    await created(kube, gemma(min_replicas=0))
    await kube.wait_for("inferenceservice", "gemma", lambda _: True)
    found = await kube.wait_for("llmdeployment", "gemma", lambda it: "facts" in read(it), timeout=120)
    assert json.loads(read(found)["facts"])["gguf"]["general.architecture"] == "gemma3"
    await until_settled(kube, "gemma")


async def test_a_deleted_model_takes_its_job_and_the_pod_with_it(slipway: Operator, kube: Kube, folder: Path) -> None:
    await created(kube, unknown())
    job = await kube.wait_for_any("job", JOBS, lambda _: True)
    pod = await kube.wait_for_any("pod", PODS, lambda _: True)
    await kube.delete("llmdeployment", NAME, wait=True)
    await kube.wait_gone("job", job["metadata"]["name"])
    await kube.wait_gone("pod", pod["metadata"]["name"])


async def test_a_job_of_the_same_name_that_is_not_ours_is_left_alone(
    slipway: Operator, kube: Kube, folder: Path
) -> None:
    """Its name is known only after the LLMDeployment has a uid, so that a paused one is created first."""
    paused = unknown()
    paused["metadata"]["annotations"] = {"slipway.dev/paused": "true"}
    thing = await created(kube, paused)
    await kube.wait_for("llmdeployment", NAME, lambda it: "not read while" in current_status(it).get("message", ""))
    theirs = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name_of_first_job(thing)},
        "spec": {"suspend": True, "template": {"spec": {"restartPolicy": "Never", "containers": [CONTAINER]}}},
    }
    await kube.apply(theirs)
    await kube.patch("llmdeployment", NAME, {"metadata": {"annotations": {"slipway.dev/paused": None}}})
    await kube.wait_for("llmdeployment", NAME, is_stalled("NameTaken"))
    assert "ownerReferences" not in (await kube.get("job", name_of_first_job(thing)))["metadata"]


CONTAINER = {"name": "x", "image": "localhost/pause:1", "imagePullPolicy": "IfNotPresent"}


def name_of_first_job(thing: Object) -> str:
    deployment = LLMDeployment.model_validate({name: each for name, each in thing.items() if name != "status"})
    return job_name(deployment, source_of(deployment), 1)
