"""Alerts about models that can't start or wake: each is fired by its real cause, and resolves after the remedy."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.builders.llmdeployments import NAME, on_own_engine, own_runtime
from support.cluster import Kube, folder_claimed, until_settled
from support.faults.pod_failures import GPU_FULL, UNKNOWN_ARGUMENT, says_and_fails
from support.faults.scripted_models import scripted
from support.monitoring.on_cluster import ClusterMonitoring


@pytest.fixture
async def weights_kube(kube: Kube) -> AsyncIterator[Kube]:
    async with folder_claimed(kube, "weights", Path("/usr")):
        yield kube


async def test_a_model_that_fails(alerts: ClusterMonitoring, weights_kube: Kube, python_image: str) -> None:
    kube = weights_kube
    firing = alerts.expects(
        "SlipwayModelFailed",
        cause="An engine that ends with `unrecognized arguments: --nope`.",
        remedy="The ServingRuntime with a command that runs.",
        namespace=kube.namespace,
        llmdeployment=NAME,
    )
    fails = own_runtime(
        image=python_image, command=says_and_fails(UNKNOWN_ARGUMENT), terminationMessagePolicy="FallbackToLogsOnError"
    )
    async with scripted(alerts, kube, fails):
        fired = await firing.fires()
        assert "BadEngineArguments" in fired.labels["reason"]
        await kube.apply(own_runtime())
        await kube.apply(on_own_engine())
        await until_settled(kube, NAME, "Serving")
        await firing.resolves()


async def test_a_gpu_without_memory(alerts: ClusterMonitoring, weights_kube: Kube, python_image: str) -> None:
    kube = weights_kube
    firing = alerts.expects(
        "SlipwayGpuOutOfMemory",
        cause=f"An engine that ends with `{GPU_FULL}`, as recorded on a GPU.",
        remedy="The ServingRuntime with a command that runs.",
        namespace=kube.namespace,
        llmdeployment=NAME,
    )
    fails = own_runtime(
        image=python_image, command=says_and_fails(GPU_FULL), terminationMessagePolicy="FallbackToLogsOnError"
    )
    async with scripted(alerts, kube, fails):
        await firing.fires()
        await kube.apply(own_runtime())
        await until_settled(kube, NAME, "Serving")
        await firing.resolves()
