"""KEDA scales by Slipway's external-push scaler, which runs in the test."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from slipway.activator.keda.scaler import serve
from slipway.activator.shared.by_times import ByTimes
from slipway.activator.shared.demand import Demand, ModelDemand
from slipway.api.model_key import ModelKey
from support.builders import objects
from support.cluster import Kube, KubectlError, Object, ReachableServer
from support.fakes.callers import ALLOW_EVERY_CALLER

IDLE = ModelDemand(active=False, waiting=0, target_per_replica=1)
FOLLOWING = ModelDemand(active=True, waiting=0, target_per_replica=8)
AUTOSCALER = "keda-hpa-sleeper"


@dataclass(frozen=True)
class Sleeper:
    """A Deployment at zero replicas that KEDA scales by the metrics of the test's scaler."""

    demand: Demand
    name: ModelKey

    def wants(self, replicas: int) -> None:
        self.demand.report(self.name, IDLE._replace(active=replicas > 0, waiting=replicas))


def ready_replicas(deployment: Object) -> int:
    return int(deployment["status"].get("readyReplicas", 0))


def replicas(deployment: Object) -> int:
    return int(deployment["spec"]["replicas"])


def metric(autoscaler: Object) -> tuple[str, str]:
    """Its name, and the target."""
    external = autoscaler["spec"]["metrics"][0]["external"]
    return external["metric"]["name"], external["target"]["averageValue"]


@pytest.fixture
async def sleeper(kube: Kube, tester: ReachableServer, python_image: str) -> AsyncIterator[Sleeper]:
    demand, name = Demand(), ModelKey(kube.namespace, "sleeper")
    demand.report(name, IDLE)
    async with serve(demand, "127.0.0.1", 0, checks=ALLOW_EVERY_CALLER) as own_port, tester.relay(own_port) as port:
        scaled = objects.scaled_object(
            name.name,
            target="sleeper",
            scaler_address=f"scaler.{kube.namespace}:{port}",
            max_replicas=3,
            polling_interval=1,
        )
        sleeping = objects.deployment("sleeper", python_image, ["sleep", "infinity"], replicas=0)
        await kube.apply(*tester.service("scaler", port), sleeping, scaled)
        await kube.wait_for_condition("scaledobject", "sleeper", "Ready")
        yield Sleeper(demand, name)
        await kube.delete("scaledobject", "sleeper", wait=True)  # KEDA may call the scaler until then


async def test_from_zero_to_one_and_back(sleeper: Sleeper, kube: Kube) -> None:
    sleeper.wants(1)
    await kube.wait_for("deployment", "sleeper", lambda found: ready_replicas(found) == 1)
    sleeper.wants(0)
    await kube.wait_for("deployment", "sleeper", lambda found: replicas(found) == 0)


async def test_an_idle_deployment_stays_at_zero(sleeper: Sleeper, kube: Kube) -> None:
    await kube.never("deployments", lambda found: replicas(found) > 0, seconds=4)  # several of KEDA's polls


@pytest.mark.slow
async def test_from_one_to_three_by_the_autoscaler_and_the_external_metric(sleeper: Sleeper, kube: Kube) -> None:
    sleeper.wants(3)
    await kube.wait_for("deployment", "sleeper", lambda found: ready_replicas(found) == 3, timeout=90)
    autoscaler = await kube.wait_for(
        "horizontalpodautoscaler", "keda-hpa-sleeper", lambda found: bool(found["status"].get("currentMetrics"))
    )
    assert autoscaler["status"]["desiredReplicas"] == 3
    assert autoscaler["status"]["currentMetrics"][0]["external"]["current"]["averageValue"] in ("1", "3")


async def test_a_second_scaled_object_for_a_deployment_is_refused(sleeper: Sleeper, kube: Kube) -> None:
    second = objects.scaled_object("second", target="sleeper", scaler_address="any:1", max_replicas=1)
    with pytest.raises(KubectlError, match=r"the workload 'sleeper' .* is already managed by"):
        await kube.apply(second)


async def test_replicas_that_follow_times_are_as_many_as_the_scaler_wants(sleeper: Sleeper, kube: Kube) -> None:
    """However many requests there are."""
    sleeper.demand.report(sleeper.name, FOLLOWING._replace(running=40.0, by_times=ByTimes(2)))
    await kube.wait_for("deployment", "sleeper", lambda found: replicas(found) == 2, timeout=90)
    await kube.never("deployment", lambda found: replicas(found) > 2, seconds=20)


async def test_a_target_that_changes_changes_no_replicas(sleeper: Sleeper, kube: Kube) -> None:
    """KEDA reads the metric of the target that it knows, so that it compares neither with the other."""
    following = FOLLOWING._replace(running=3.0, by_times=ByTimes(1))
    sleeper.demand.report(sleeper.name, following)
    await kube.wait_for("horizontalpodautoscaler", AUTOSCALER, lambda found: metric(found) == ("s0-replicas", "1"))
    sleeper.demand.report(sleeper.name, following._replace(by_times=None))
    async with asyncio.TaskGroup() as group:
        group.create_task(kube.never("deployment", lambda found: replicas(found) > 1, seconds=45))
        group.create_task(
            kube.wait_for("horizontalpodautoscaler", AUTOSCALER, lambda found: metric(found) == ("s0-requests", "8"))
        )
