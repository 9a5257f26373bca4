"""A missing object or kind is a condition, and is used when it appears, without a restart."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from slipway.api.names import PAUSED_ANNOTATION
from slipway.objects.kinds import INFERENCE_SERVICE, POD_MONITOR, SCALED_OBJECT, Kind
from support import repository
from support.builders import llmdeployments, objects
from support.builders.llmdeployments import NAME, OWN_ENGINE, at_zero, on_own_engine, own_runtime
from support.cluster import (
    Kube,
    Neighbour,
    Object,
    Operator,
    children,
    conditions,
    created,
    installation,
    is_stalled,
    settled,
    until_settled,
)
from support.cluster.llmdeployments import message
from support.programs import operator

# --- missing objects -------------------------------------------------------------------------------------------------


async def specs(kube: Kube) -> dict[str, Object]:
    """Of its children."""
    return {kind: each["spec"] for kind, each in (await children(kube)).items()}


async def test_a_missing_runtime_is_waited_for(slipway: Operator, kube: Kube, weights: None) -> None:
    await kube.apply(on_own_engine())
    words = f"There is no ServingRuntime or ClusterServingRuntime {OWN_ENGINE}: create one, or choose vllm or llamacpp"
    await kube.wait_for("llmdeployment", NAME, is_stalled("RuntimeMissing", words))
    assert await children(kube) == {}
    await kube.apply(own_runtime())
    await until_settled(kube, state="Serving")


@pytest.mark.parametrize("annotations", [{}, {PAUSED_ANNOTATION: "true"}], ids=["", "paused"])
async def test_a_sleeping_model_whose_engine_is_changed_to_none_that_exists_says_so(
    slipway: Operator, kube: Kube, annotations: dict[str, str]
) -> None:
    sleeping = at_zero()
    sleeping["metadata"]["annotations"] = annotations
    await settled(kube, sleeping)
    before = await specs(kube)
    await kube.patch("llmdeployment", NAME, {"spec": {"engine": {"name": OWN_ENGINE}}})
    await kube.wait_for("llmdeployment", NAME, is_stalled("RuntimeMissing", f"ClusterServingRuntime {OWN_ENGINE}"))
    assert await specs(kube) == before
    await kube.patch("llmdeployment", NAME, {"spec": {"engine": {"name": "llamacpp"}}})
    await until_settled(kube)


async def test_a_running_model_whose_engine_is_changed_to_none_that_exists_keeps_its_pods(
    slipway: Operator, kube: Kube, weights: None
) -> None:
    await kube.apply(own_runtime())
    await settled(kube, on_own_engine(), "Serving")
    before = await specs(kube)
    await kube.patch("llmdeployment", NAME, {"spec": {"engine": {"name": "nothing"}}})
    stalled = await kube.wait_for("llmdeployment", NAME, is_stalled("RuntimeMissing"))
    assert stalled["status"]["state"] == "Degraded"
    assert stalled["status"]["message"].endswith("Once no replica answers, requests are refused.")
    assert await specs(kube) == before


async def test_what_a_runtime_of_the_namespace_names_is_missed_at_zero(slipway: Operator, kube: Kube) -> None:
    source = {"secretKeyRef": {"name": "token", "key": "it"}}
    await kube.apply(own_runtime(env=[{"name": "TOKEN", "valueFrom": source}]))
    await kube.apply(at_zero(engine={"name": OWN_ENGINE}))
    words = f"ServingRuntime {OWN_ENGINE} names Secret token, which doesn't exist: create it, or correct the name"
    await kube.wait_for("llmdeployment", NAME, is_stalled("PodConfigError", words), timeout=60)


async def test_a_missing_profile_is_waited_for(slipway: Operator, kube: Kube) -> None:
    profile = f"profile-{kube.namespace}"
    await kube.apply(at_zero(accelerator={"profiles": [profile]}))
    words = f"{profile}: there is no AcceleratorProfile of this name"
    await kube.wait_for("llmdeployment", NAME, is_stalled("ProfileMissing", words))
    spec = {"vendor": "CPU", "resource": {"name": "cpu", "count": 1}, "memory": "1Gi"}
    await kube.apply(llmdeployments.acceleratorprofile(profile, spec))
    try:
        idle = await until_settled(kube)
    finally:
        await kube.delete("acceleratorprofile", profile)
    assert idle["status"]["plan"]["accelerator"] == profile


async def test_a_running_model_keeps_running_when_its_runtime_is_deleted(
    slipway: Operator, kube: Kube, weights: None
) -> None:
    """Its status reports this, and its children stay unchanged."""
    await kube.apply(own_runtime())
    await settled(kube, on_own_engine(), "Serving")
    before = await specs(kube)
    await kube.delete("servingruntime", OWN_ENGINE)
    stalled = await kube.wait_for("llmdeployment", NAME, is_stalled("RuntimeMissing"))
    assert stalled["status"]["state"] == "Degraded"
    assert conditions(stalled)["Ready"] == ("True", "Serving")
    assert await specs(kube) == before
    await kube.apply(own_runtime())
    await until_settled(kube, state="Serving")


# --- missing kinds ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def operator_alone(neighbour: Neighbour, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """The operator of a cluster whose kinds may be installed and removed."""
    cache_folder = tmp_path_factory.getbasetemp() / "kubectl"
    kube = Kube(neighbour.cluster.kubectl, neighbour.cluster.kubeconfig, cache_folder)
    asyncio.run(installation.install(kube, "not needed here"))
    with operator.running(neighbour.cluster.kubeconfig) as slipway:
        yield slipway


@asynccontextmanager
async def without(kube: Kube, kind: Kind) -> AsyncGenerator[Object]:
    """Removes a CRD and yields it, for the block to apply again; at the end it exists in any case."""
    name = f"{kind.plural}.{kind.group}"
    found = await kube.get("customresourcedefinition", name)
    definition = {part: found[part] for part in ("apiVersion", "kind", "spec")} | {
        "metadata": {
            part: found["metadata"][part] for part in ("name", "annotations", "labels") if part in found["metadata"]
        }
    }
    await kube.delete("customresourcedefinition", name, wait=True)
    try:
        yield definition
    finally:
        await make(kube, definition)


async def make(kube: Kube, definition: Object) -> None:
    """Creates it instead of applying it: others own its fields."""
    try:
        await kube.get("customresourcedefinition", definition["metadata"]["name"])
    except Exception:
        await kube.run("create", "--filename=-", stdin=json.dumps(definition))
    await kube.wait_for_condition("customresourcedefinition", definition["metadata"]["name"], "Established")


@pytest.mark.slow
async def test_a_missing_kserve_is_reported_and_reconciling_continues_when_it_appears(
    operator_alone: Operator, neighbour_kube: Kube
) -> None:
    kube = neighbour_kube
    async with without(kube, INFERENCE_SERVICE) as definition:
        await kube.apply(at_zero())
        stalled = await kube.wait_for("llmdeployment", NAME, is_stalled("KServeMissing"))
        assert conditions(stalled)["Ready"] == ("False", "KServeMissing")
        assert (await kube.get("service", NAME))["spec"]
        await make(kube, definition)
        await kube.wait_for("inferenceservice", NAME, lambda _: True)
        await kube.wait_for("llmdeployment", NAME, lambda it: "KServeMissing" not in str(it["status"]))


@pytest.mark.slow
async def test_a_missing_keda_is_reported_and_reconciling_continues_when_it_appears(
    operator_alone: Operator, neighbour_kube: Kube
) -> None:
    kube = neighbour_kube
    async with without(kube, SCALED_OBJECT) as definition:
        await kube.apply(at_zero())
        stalled = await kube.wait_for("llmdeployment", NAME, is_stalled("KedaMissing"))
        assert conditions(stalled)["Scaled"] == ("False", "KedaMissing")
        await make(kube, definition)
        await kube.wait_for("llmdeployment", NAME, lambda it: "KedaMissing" not in str(it["status"]))


async def test_a_pod_monitor_is_created_as_soon_as_the_cluster_has_the_kind(
    operator_alone: Operator, neighbour_kube: Kube
) -> None:
    kube, name = neighbour_kube, f"{POD_MONITOR.plural}.{POD_MONITOR.group}"
    await kube.delete("customresourcedefinition", name, wait=True)
    await created(kube, at_zero())
    await kube.wait_for("inferenceservice", NAME, lambda _: True)
    await kube.apply(objects.definition(POD_MONITOR))
    try:
        await kube.wait_for_condition("customresourcedefinition", name, "Established")
        monitor = await kube.wait_for("podmonitor", NAME, lambda _: True)
        assert monitor["metadata"]["ownerReferences"][0]["kind"] == "LLMDeployment"
        await kube.patch("llmdeployment", NAME, {"spec": {"observability": {"monitor": False}}})
        await kube.wait_gone("podmonitor", NAME)
    finally:
        await kube.delete("customresourcedefinition", name, wait=True)


# --- objects that no version of the CRDs would admit -----------------------------------------------------------------


@pytest.fixture
async def lenient(neighbour_kube: Kube) -> AsyncIterator[Kube]:
    """A cluster that accepts any spec."""
    strict = await neighbour_kube.get("customresourcedefinition", installation.DEFINITIONS[0])
    await neighbour_kube.run("replace", "--filename=-", stdin=json.dumps(relaxed(strict)))
    yield neighbour_kube
    await neighbour_kube.run("apply", "--server-side", "--force-conflicts", "--filename", str(repository.CRDS))


async def test_an_unreadable_object_is_reported_and_the_others_continue(
    operator_alone: Operator, lenient: Kube
) -> None:
    await until_it_takes(lenient, at_zero("unreadable", scaling={"minReplicas": "many"}))
    await lenient.apply(at_zero("next"))
    words = "The object is invalid: spec.scaling.minReplicas: "
    await lenient.wait_for("llmdeployment", "unreadable", is_stalled("InvalidSpec", words))
    await lenient.wait_for("inferenceservice", "next", lambda _: True)
    assert await children(lenient, "unreadable") == {}
    await lenient.delete("llmdeployment", "unreadable", wait=True)


async def test_a_refusal_by_kserve_is_reported_with_kserves_message(operator_alone: Operator, lenient: Kube) -> None:
    """The CRD refuses all of this, so only a lenient one lets it get this far."""
    await until_it_takes(lenient, at_zero(scaling={"minReplicas": 3, "maxReplicas": 2}))
    words = "'MinReplicas' cannot be greater than MaxReplicas"
    stalled = await lenient.wait_for("llmdeployment", NAME, is_stalled("AdmissionDenied", words))
    assert conditions(stalled)["Ready"] == ("False", "AdmissionDenied")
    assert "kserve-webhook-server" in message(stalled, "Stalled")
    assert set(await children(lenient)) == {"service", "networkpolicy"}


def relaxed(definition: Object) -> Object:
    """The same CRD, but accepting any spec."""
    any_object = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    found: Object = json.loads(json.dumps(definition))
    schema = found["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema.pop("x-kubernetes-validations", None)
    schema["properties"]["spec"] = any_object
    return found


async def until_it_takes(kube: Kube, obj: Object) -> None:
    """A changed CRD takes effect a moment later, and there is no event for it."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await kube.apply(obj)
            except Exception:
                await asyncio.sleep(0.2)
