"""Alerts about models that can't start or wake: each is fired by its real cause, and resolves after the remedy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from slipway.api.names import SLEEP_ANNOTATION
from slipway_devcluster.cluster import Cluster
from support.builders.llmdeployments import GEMMA_CLAIM, NAME, PREDICTOR, own_runtime
from support.builders.objects import Object
from support.cluster import FromTheNode, Kube, folder_claimed, until_settled
from support.faults.pod_failures import GPU_FULL, UNKNOWN_ARGUMENT, says_and_fails
from support.faults.scripted_models import answering, scripted
from support.load.sleeping_models import RequestGroup, SleepingModel
from support.load.watched_models import EMPTY_CLAIM, Clients, sleeping
from support.load.watched_models import NAME as DEMO
from support.monitoring.firing import Firing
from support.monitoring.on_cluster import ClusterMonitoring

REPAIRED = "A ServingRuntime whose engine runs."
NOWHERE = {"nodeSelector": {"slipway.dev/test": "nowhere"}}


@pytest.fixture
async def weights(kube: Kube) -> AsyncIterator[Kube]:
    """The namespace, with the claim that models on an engine of the test need."""
    async with folder_claimed(kube, "weights", Path("/usr")):
        yield kube


def about(alerts: ClusterMonitoring, kube: Kube, alert: str, cause: str, remedy: str) -> Firing:
    return alerts.expects(alert, cause=cause, remedy=remedy, namespace=kube.namespace, llmdeployment=NAME)


def failing(image: str, words: str) -> Object:
    """A runtime whose engine prints these words and ends."""
    return own_runtime(image=image, command=says_and_fails(words), terminationMessagePolicy="FallbackToLogsOnError")


@asynccontextmanager
async def requests_to(node: Cluster, kube: Kube, number: int = 1) -> AsyncGenerator[RequestGroup]:
    """Sends requests to the model; those that still wait are cancelled at the end."""
    access = FromTheNode(kube, node.entered)
    async with access.session() as session:
        model = SleepingModel(kube, NAME, session, await access.url(NAME))
        group = RequestGroup(model, [model.request(each) for each in range(number)])
        try:
            yield group
        finally:
            await group.cancel()


async def test_a_model_that_fails(alerts: ClusterMonitoring, weights: Kube, python_image: str) -> None:
    firing = about(
        alerts, weights, "SlipwayModelFailed", "An engine that ends with `unrecognized arguments: --nope`.", REPAIRED
    )
    async with scripted(alerts, weights, failing(python_image, UNKNOWN_ARGUMENT)):
        assert "BadEngineArguments" in (await firing.fires()).annotations["summary"]
        await weights.apply(own_runtime())
        await until_settled(weights, NAME, "Serving")
        await firing.resolves()


async def test_an_engine_that_does_not_start_and_a_gpu_that_is_full(
    alerts: ClusterMonitoring, weights: Kube, python_image: str
) -> None:
    cause = f"An engine that ends with `{GPU_FULL}`, as recorded on a GPU."
    full = about(alerts, weights, "SlipwayGpuOutOfMemory", cause, REPAIRED)
    async with scripted(alerts, weights, failing(python_image, GPU_FULL)):
        await full.fires()
        await weights.apply(own_runtime())
        await until_settled(weights, NAME, "Serving")
        await full.resolves()


async def test_an_engine_whose_model_is_missing(alerts: ClusterMonitoring, weights: Kube, python_image: str) -> None:
    missing = "RuntimeError: Cannot find any model weights with `/mnt/models`"
    firing = about(alerts, weights, "SlipwayModelLoadFailing", f"An engine that ends with `{missing}`.", REPAIRED)
    async with scripted(alerts, weights, failing(python_image, missing)):
        assert (await firing.fires()).labels["reason"] == "ModelNotFound"
        await weights.apply(own_runtime())
        await until_settled(weights, NAME, "Serving")
        await firing.resolves()


async def test_requests_that_are_held_too_long(
    alerts: ClusterMonitoring, node: Cluster, weights: Kube, python_image: str
) -> None:
    firing = about(
        alerts,
        weights,
        "SlipwayRequestsHeldTooLong",
        "A request to a model at zero whose pod finds no node, because of its nodeSelector.",
        "The nodeSelector is removed, so that the request is answered.",
    )
    async with scripted(alerts, weights, answering(python_image), replicas=0, pod=NOWHERE):
        await weights.wait_for_condition("scaledobject", NAME, "Ready")
        async with requests_to(node, weights) as requests:
            await firing.fires()
            await weights.patch("llmdeployment", NAME, {"spec": {"pod": {"nodeSelector": None}}})
            await requests.until_ended()
        await firing.resolves()


async def test_a_model_that_does_not_wake(
    alerts: ClusterMonitoring, node: Cluster, weights: Kube, python_image: str
) -> None:
    cause = "Requests to a model at zero whose engine ends with `unrecognized arguments: --nope`."
    wake = about(alerts, weights, "SlipwayWakeFailing", cause, REPAIRED)
    async with scripted(alerts, weights, failing(python_image, UNKNOWN_ARGUMENT), replicas=0):
        await weights.wait_for_condition("scaledobject", NAME, "Ready")
        async with requests_to(node, weights, 4):
            await wake.fires()
        await weights.apply(answering(python_image))
        async with requests_to(node, weights, 1) as answered:
            await answered.until_ended()
        await until_settled(weights, NAME, "Serving")
        await wake.resolves(within=120)


async def test_a_model_whose_requests_are_refused(
    alerts: ClusterMonitoring, node: Cluster, gemma_kube: Kube, empty_folder: Path
) -> None:
    """On an engine of Slipway: only those have objectives."""
    kube = gemma_kube
    firing = alerts.expects(
        "SlipwayAvailabilityBudgetBurning",
        cause="Requests to a model at zero whose folder is empty.",
        remedy="spec.model.uri names the right folder, and requests are answered.",
        namespace=kube.namespace,
        llmdeployment=DEMO,
    )
    clients = Clients(kube, node.entered)
    async with folder_claimed(kube, EMPTY_CLAIM, empty_folder):
        await kube.apply(sleeping(model={"uri": f"pvc://{EMPTY_CLAIM}/"}, slo={"availability": "99%"}))
        await kube.wait_for_condition("scaledobject", DEMO, "Ready", timeout=300)
        await alerts.follow()
        for _ in range(16):  # over several scrapes: a counter's first value is no growth
            assert "ModelNotFound" in await clients.ask()
            await asyncio.sleep(1)
        await firing.fires()
        await kube.patch("llmdeployment", DEMO, {"spec": {"model": {"uri": f"pvc://{GEMMA_CLAIM}/"}}})
        await clients.until_answered()
        await firing.resolves(within=400)
        await kube.delete("llmdeployment", DEMO, wait=True)


async def test_a_cold_start_that_takes_longer_than_usual(
    alerts: ClusterMonitoring, node: Cluster, weights: Kube, python_image: str
) -> None:
    firing = about(
        alerts,
        weights,
        "SlipwayColdStartSlow",
        "An engine that starts in a moment the first time, and in 20 seconds the next.",
        "Time passes: a start is reported for a while only.",
    )
    async with scripted(alerts, weights, answering(python_image), replicas=0):
        await weights.wait_for_condition("scaledobject", NAME, "Ready")
        for starts_for in (0, 20):
            await weights.apply(answering(python_image, starts_for=starts_for))
            async with requests_to(node, weights) as requests:
                await requests.until_ended()
            await until_settled(weights, NAME, "Serving")
            if not starts_for:
                await asyncio.sleep(25)  # it becomes the usual
                now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
                await weights.run("annotate", "llmdeployment", NAME, f"{SLEEP_ANNOTATION}={now}", "--overwrite")
                await weights.wait_for("deployment", PREDICTOR, lambda it: it["spec"]["replicas"] == 0, timeout=180)
                await until_settled(weights, NAME, "Idle")
        await firing.fires()
        await firing.resolves()
