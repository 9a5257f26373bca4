"""A required component fails: the objects that depend on it report it within seconds, and recover."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from slipway.activator.keda.scaler import serve
from slipway.activator.shared.demand import Demand, ModelDemand
from slipway.api.model_key import ModelKey
from slipway.api.names import ACTIVATOR_LABEL, ACTIVATOR_SERVICE, SERVICE_LABEL
from support.builders.llmdeployments import NAME, at_zero
from support.cluster import (
    AnyCluster,
    Kube,
    Object,
    Operator,
    Predicate,
    ReachableServer,
    conditions,
    current_status,
    is_stalled,
    until_settled,
)
from support.cluster.llmdeployments import is_in
from support.fakes.callers import ALLOW_EVERY_CALLER
from support.faults.healed import run_what_why_says
from support.programs.operator import NAMESPACE as HOME

WITHIN_SECONDS = 30.0
KSERVE, KEDA = ("kserve", "kserve-controller-manager"), ("keda", "keda-operator")


@pytest.fixture(autouse=True)
def _ours(cluster: AnyCluster) -> None:
    """KServe isn't stopped in a cluster that others use."""
    cluster.devcluster()


def because_of(reason: str, words: str = "") -> Predicate:
    """Not ready for this reason, with these words in the message."""

    def is_so(obj: Object) -> bool:
        found = conditions(obj)
        return found.get("Ready") == ("False", reason) and words in str(current_status(obj).get("message"))

    return is_so


Change = Callable[[Object], Object]
"""Computes the change of a Deployment's spec from its spec."""


@asynccontextmanager
async def broken(kube: Kube, where: tuple[str, str], change: Change) -> AsyncGenerator[None]:
    """Changes the component's Deployment during the block; afterwards it is as before, and available."""
    namespace, name = where
    arguments = ("--namespace", namespace, "deployment", name)
    before = json.loads(await kube.run("get", *arguments, "--output=json"))["spec"]
    await kube.run("patch", *arguments, "--type=merge", "--patch", json.dumps({"spec": change(before)}))
    try:
        yield
    finally:
        spec = {"replicas": 1, "template": before["template"], "strategy": before["strategy"]}
        await kube.run("patch", *arguments, "--type=merge", "--patch", json.dumps({"spec": spec}))
        await kube.run("rollout", "status", "--namespace", namespace, f"deployment/{name}", "--timeout=120s")


def without_replicas(_: Object) -> Object:
    return {"replicas": 0}


def that_ends(before: Object) -> Object:
    """Passes an unknown flag; no pod of the previous version keeps running."""
    [container] = before["template"]["spec"]["containers"]
    broken = {**container, "args": ["--no-such-flag"]}
    strategy = {"type": "Recreate", "rollingUpdate": None}
    return {"strategy": strategy, "template": {"spec": {"containers": [broken]}}}


async def test_a_model_at_zero_reports_that_kserve_is_down_and_recovers_when_it_is_back(
    slipway: Operator, kube: Kube
) -> None:
    await kube.apply(at_zero())
    await until_settled(kube)
    async with broken(kube, KSERVE, without_replicas):
        words = "KServe's controller kserve/kserve-controller-manager is scaled to 0 replicas"
        await kube.wait_for("llmdeployment", NAME, because_of("KServeDown", words), timeout=WITHIN_SECONDS)
        await run_what_why_says(kube, "KServeDown")
        await kube.wait_for("llmdeployment", NAME, is_in("Idle"), timeout=60)
    await kube.wait_for("llmdeployment", NAME, is_in("Idle"), timeout=WITHIN_SECONDS)


@pytest.mark.slow
async def test_a_new_model_reports_that_kserve_is_down_and_is_created_when_it_is_back(
    slipway: Operator, kube: Kube
) -> None:
    async with broken(kube, KSERVE, without_replicas):
        await kube.apply(at_zero())
        await kube.wait_for("llmdeployment", NAME, because_of("KServeDown"), timeout=WITHIN_SECONDS)
    await kube.wait_for("llmdeployment", NAME, is_in("Idle"), timeout=90)


async def test_a_crash_looping_kserve_is_reported_with_the_state_of_its_pods(slipway: Operator, kube: Kube) -> None:
    await kube.apply(at_zero())
    await until_settled(kube)
    async with broken(kube, KSERVE, that_ends):
        crashed = because_of("KServeDown", "again and again; see kubectl --namespace kserve describe pods")
        await kube.wait_for("llmdeployment", NAME, crashed, timeout=60)
        await run_what_why_says(kube, "KServeDown")
        await kube.wait_for("llmdeployment", NAME, is_in("Idle"), timeout=60)
    await kube.wait_for("llmdeployment", NAME, is_in("Idle"), timeout=60)


def activator_at(address: str, port: int) -> list[Object]:
    """The activator's Service, and its slice as if its only replica were here: with one, KEDA is used for scaling."""
    service = {"metadata": {"name": ACTIVATOR_SERVICE}, "spec": {"ports": [{"name": "scaler", "port": 9090}]}}
    labels = {ACTIVATOR_LABEL: ACTIVATOR_SERVICE, SERVICE_LABEL: ACTIVATOR_SERVICE}
    endpoints = {
        "metadata": {"name": f"{ACTIVATOR_SERVICE}-tester", "labels": labels},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
        "ports": [{"name": "scaler", "port": port}],
    }
    return [
        {"apiVersion": "v1", "kind": "Service", **service},
        {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", **endpoints},
    ]


async def at_home(kube: Kube, command: str, manifests: list[Object]) -> None:
    for obj in manifests:
        await kube.run(command, "--namespace", HOME, "--filename=-", stdin=json.dumps(obj))


@asynccontextmanager
async def called_at(kube: Kube, address: str, port: int) -> AsyncGenerator[None]:
    """KEDA calls this address until the end of the block."""
    manifests = activator_at(address, port)
    await at_home(kube, "apply", manifests)
    try:
        yield
    finally:
        await at_home(kube, "delete", manifests)


@asynccontextmanager
async def answering(tester: ReachableServer, namespace: str) -> AsyncGenerator[int]:
    """The port of a scaler that reports no demand to KEDA."""
    demand = Demand()
    demand.report(ModelKey(namespace, NAME), ModelDemand(active=False, waiting=0, target_per_replica=1))
    async with serve(demand, "127.0.0.1", 0, checks=ALLOW_EVERY_CALLER) as own_port, tester.relay(own_port) as port:
        yield port


@pytest.fixture
async def activator(
    slipway: Operator, installed_cluster: Kube, kube: Kube, tester: ReachableServer
) -> AsyncIterator[None]:
    async with answering(tester, kube.namespace) as port, called_at(installed_cluster, tester.address, port):
        yield


async def test_a_model_at_zero_reports_that_keda_is_down_and_recovers_when_it_is_back(
    slipway: Operator, kube: Kube, activator: None
) -> None:
    await kube.apply(at_zero())
    await kube.wait_for_condition("scaledobject", NAME, "Ready")
    await kube.wait_for("llmdeployment", NAME, is_in("Idle"), timeout=WITHIN_SECONDS)
    async with broken(kube, KEDA, without_replicas):
        words = "KEDA's controller keda/keda-operator is scaled to 0 replicas"
        await kube.wait_for("llmdeployment", NAME, because_of("KedaDown", words), timeout=WITHIN_SECONDS)
        await run_what_why_says(kube, "KedaDown")
        await kube.wait_for("llmdeployment", NAME, is_in("Idle"), timeout=60)
    await kube.wait_for("llmdeployment", NAME, is_in("Idle"), timeout=WITHIN_SECONDS)


CANNOT_REACH = because_of(
    "ScalerUnavailable", f"KEDA can't reach the activator at {ACTIVATOR_SERVICE}.{HOME}:9090, which"
)
CLOSED_PORT = 1  # a port without a listener


@pytest.mark.slow
async def test_a_model_whose_scaler_keda_never_reached_reports_it_and_recovers_when_keda_can(
    slipway: Operator, kube: Kube, installed_cluster: Kube, tester: ReachableServer
) -> None:
    async with called_at(installed_cluster, tester.address, CLOSED_PORT):
        await kube.apply(at_zero())
        await kube.wait_for("llmdeployment", NAME, CANNOT_REACH, timeout=60)
        async with answering(tester, kube.namespace) as port:
            await at_home(installed_cluster, "apply", activator_at(tester.address, port))
            await kube.wait_for("llmdeployment", NAME, is_in("Idle"), timeout=100)


@pytest.mark.slow
async def test_a_model_whose_scaler_keda_can_no_longer_reach_reports_it(
    slipway: Operator, kube: Kube, installed_cluster: Kube, tester: ReachableServer
) -> None:
    async with AsyncExitStack() as to_the_end:
        async with answering(tester, kube.namespace) as port:
            await to_the_end.enter_async_context(called_at(installed_cluster, tester.address, port))
            await kube.apply(at_zero())
            await kube.wait_for_condition("scaledobject", NAME, "Ready")
            await kube.wait_for("llmdeployment", NAME, is_in("Idle"), timeout=WITHIN_SECONDS)
        await kube.wait_for("llmdeployment", NAME, CANNOT_REACH, timeout=60)


async def test_a_missing_claim_is_reported_before_any_request(slipway: Operator, kube: Kube) -> None:
    await kube.apply(at_zero(model={"uri": "pvc://absent/llama"}))
    words = "spec.model.uri names PersistentVolumeClaim absent, which doesn't exist"
    stalled = await kube.wait_for("llmdeployment", NAME, is_stalled("PodConfigError", words), timeout=WITHIN_SECONDS)
    assert current_status(stalled)["state"] == "Failed"
    claimed = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    await kube.apply(
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "absent"}, "spec": claimed}
    )
    await kube.wait_for("llmdeployment", NAME, is_in("Idle"), timeout=WITHIN_SECONDS)


async def test_a_config_map_that_is_missing_or_lacks_a_key_is_reported_before_any_request(
    slipway: Operator, kube: Kube
) -> None:
    source = {"configMapKeyRef": {"name": "absent", "key": "a"}}
    await kube.apply(at_zero(pod={"env": [{"name": "APP_A", "valueFrom": source}]}))
    words = "spec.pod.env[APP_A] names ConfigMap absent, which doesn't exist"
    await kube.wait_for("llmdeployment", NAME, is_stalled("PodConfigError", words), timeout=WITHIN_SECONDS)
    config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "absent"}, "data": {"b": "b"}}
    await kube.apply(config_map)
    words = "spec.pod.env[APP_A] names the key a of ConfigMap absent, which doesn't exist in it"
    await kube.wait_for("llmdeployment", NAME, is_stalled("PodConfigError", words), timeout=60)
    await kube.apply({**config_map, "data": {"a": "b"}})
    await kube.wait_for("llmdeployment", NAME, is_in("Idle"), timeout=60)
