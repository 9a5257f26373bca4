"""Third-party engines under all of Slipway: each wakes, stays while it has requests, scales out, finishes, and sleeps.

The pods that KServe creates from the chart's runtimes run scripted engines, which respond, count and end as the real
ones do. They run in parallel, once for all tests of this file.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Mapping, Sequence
from pathlib import Path

import aiohttp
import pytest
from slipway.contract.engines import OTHER_RUNTIMES
from slipway_devcluster.cluster import Cluster
from slipway_devcluster.slipway import OPERATOR_IMAGE
from support.builders.llmdeployments import llmdeployment
from support.charts.third_party_runtimes import BY_ENGINE, container_of
from support.cluster import FromTheNode, Kube, Object, folder_claimed, is_ready, own_namespace
from support.cluster.rendering import strictly_applied
from support.fakes import third_party_engine
from support.fakes.third_party_engine import ENGINES
from support.waiting import until

CLAIM, PROGRAM, FOLDER = "weights", "scripted", "/scripted"
LOADING_SECONDS = 3  # seconds
IDLE_AFTER, LONG = 10, 16
"""A request that takes longer than `idleAfter`: only the engine's own metric shows that it is in flight."""
IN_A_ROW = 8  # if half of the requests still went through the activator, all were direct once in 256 times
SHORT, DRAIN_TIMEOUT = 8, 20
LONGEST = 40
"""A request that is still in flight when an autoscaler polls, which it does every 15 s."""
PATIENCE = aiohttp.ClientTimeout(total=120)

Outcomes = Mapping[str, BaseException | None]


@pytest.fixture(scope="module")
def outcomes(operator_pods: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    """The error of each engine, if there was one."""
    cache_folder = tmp_path_factory.getbasetemp() / "kubectl"
    kube = Kube(operator_pods.kubectl, operator_pods.kubeconfig, cache_folder)
    return asyncio.run(side_by_side(operator_pods, kube))


@pytest.mark.slow
@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_wakes_stays_while_used_finishes_scales_out_and_sleeps(name: str, outcomes: Outcomes) -> None:
    if error := outcomes[name]:
        raise error


async def test_kserve_accepts_the_runtimes_of_the_chart(operator_pods: Cluster, neighbour_kube: Kube) -> None:
    await strictly_applied(neighbour_kube, *BY_ENGINE.values(), dry_run=True)


@pytest.mark.parametrize("name", OTHER_RUNTIMES)
async def test_a_model_may_name_the_runtime_of_the_chart(
    name: str, operator_pods: Cluster, neighbour_kube: Kube
) -> None:
    deployment = llmdeployment("model", {"model": {"uri": "hf://org/model"}, "engine": {"name": name}})
    await strictly_applied(neighbour_kube, deployment, dry_run=True)


# --- the life of a model ---------------------------------------------------------------------------------------------


async def side_by_side(cluster: Cluster, cluster_kube: Kube) -> Outcomes:
    async with own_namespace(cluster_kube) as kube, folder_claimed(kube, CLAIM, Path("/usr")):
        await kube.apply(program(), *map(runtime, ENGINES), *map(model, ENGINES))
        try:
            async with FromTheNode(kube, cluster.entered).session() as session:
                lives = [Life(kube, cluster, session, name).run() for name in ENGINES]
                done: Sequence[BaseException | None] = await asyncio.gather(*lives, return_exceptions=True)
        finally:
            for name in ENGINES:  # before the namespace; otherwise the operator would recreate what is deleted with it
                await kube.delete("llmdeployment", name, wait=True)
    return dict(zip(ENGINES, done, strict=True))


class Life:
    """The life of one model, from its first request until it sleeps."""

    def __init__(self, kube: Kube, cluster: Cluster, session: aiohttp.ClientSession, name: str) -> None:
        self._kube, self._session, self._name = kube, session, name
        self._access = FromTheNode(kube, cluster.entered)
        self._url = ""
        self._ours = f"slipway.dev/llmdeployment={name}"

    async def run(self) -> None:
        await self._kube.wait_for_condition("scaledobject", self._name, "Ready", timeout=120)
        self._url = await self._access.url(self._name) + ENGINES[self._name].asked
        await self.wakes()
        await self.stays_while_it_is_used()
        await self.finishes_its_requests()
        await self.scales_out()
        await self.sleeps()

    async def wakes(self) -> None:
        """The request is held until the engine is ready: before that, the engine would respond with an error."""
        await until(self._is_held, timeout=120)
        deployment = await self._kube.get("llmdeployment", self._name)
        why = deployment["status"]["plan"]["why"]
        assert not [each for each in why if f"ServingRuntime {self._name} " in each and "no accelerator" not in each]
        await until(self._is_direct)

    async def stays_while_it_is_used(self) -> None:
        before = await self._pod()
        status, was_held = await self._ask(LONG)
        assert (status, was_held) == (200, False)
        pods = await self._kube.select(
            "pods", self._ours
        )  # a second replica that was started for the wake may exist, too
        assert before["metadata"]["uid"] in [pod["metadata"]["uid"] for pod in pods]

    async def finishes_its_requests(self) -> None:
        pod = await self._pod()
        request = asyncio.create_task(self._ask(SHORT))
        await asyncio.sleep(1)  # by now the request is in flight
        await self._kube.delete("pod", pod["metadata"]["name"])
        assert await request == (200, False)

    async def scales_out(self) -> None:
        """A second replica starts because of the engine's own metrics: no request goes through the activator."""
        await until(self._is_direct, timeout=60)
        requests = [asyncio.create_task(self._ask(LONGEST)) for _ in range(3)]
        await self._kube.wait_for(
            "deployment", f"{self._name}-predictor", lambda found: found["spec"]["replicas"] == 2, timeout=60
        )
        assert await asyncio.gather(*requests) == [(200, False)] * 3

    async def sleeps(self) -> None:
        """All replicas stop, also replacements and second ones that have received no request."""
        await self._kube.wait_for(
            "deployment", f"{self._name}-predictor", lambda found: found["spec"]["replicas"] == 0, timeout=120
        )

    async def _is_held(self) -> bool:
        """Whether a request is held, or at least goes through the activator. At first, the port may be closed."""
        try:
            status, was_held = await self._ask(0)
        except aiohttp.ClientConnectionError:
            return False
        assert status == 200
        return was_held

    async def _is_direct(self) -> bool:
        """Whether several requests in a row go to the replica: while the activator is still an endpoint of the
        Service, one of them may at random."""
        return all([await self._ask(0) == (200, False) for _ in range(IN_A_ROW)])

    async def _ask(self, seconds: float) -> tuple[int, bool]:
        async with self._session.post(self._url, json={"seconds": seconds}, timeout=PATIENCE) as answer:
            await answer.read()
            return answer.status, "Slipway-Held-Ms" in answer.headers

    async def _pod(self) -> Object:
        return await self._kube.wait_for_any(
            "pods", self._ours, lambda pod: is_ready(pod) and "deletionTimestamp" not in pod["metadata"]
        )


# --- objects ---------------------------------------------------------------------------------------------------------


def program() -> Object:
    text = Path(third_party_engine.__file__).read_text()
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": PROGRAM}, "data": {"engine.py": text}}


def runtime(name: str) -> Object:
    """The runtime of the chart, except for its image and resources: it runs the scripted engine."""
    found = copy.deepcopy(BY_ENGINE[name]) | {"kind": "ServingRuntime", "metadata": {"name": name}}
    found["spec"]["volumes"].append({"name": PROGRAM, "configMap": {"name": PROGRAM}})
    container = container_of(found)
    container["image"] = OPERATOR_IMAGE.name
    container["command"] = ["python3", f"{FOLDER}/engine.py", name]
    container["resources"] = {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "128Mi"}}
    container["env"] = [*container.get("env", []), {"name": "LOADING", "value": str(LOADING_SECONDS)}]
    container["volumeMounts"].append({"name": PROGRAM, "mountPath": FOLDER, "readOnly": True})
    return found


def model(name: str) -> Object:
    spec = {
        "model": {"uri": f"pvc://{CLAIM}/"},
        "engine": {"name": name},
        "scaling": {"minReplicas": 0, "maxReplicas": 2, "idleAfter": f"{IDLE_AFTER}s", "target": {"inFlight": 1}},
        "rollout": {"drainTimeout": f"{DRAIN_TIMEOUT}s"},
    }
    return llmdeployment(name, spec)
