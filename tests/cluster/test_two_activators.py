"""A second activator, installed as in docs/sleeping.md, serves the models for which the first has no port left."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from slipway.api.names import ACTIVATOR_FIRST_PORT, ACTIVATOR_LAST_PORT, PORT_TABLE_LABEL
from slipway_devcluster.cluster import Cluster
from slipway_devcluster.components import SLIPWAY_NAMESPACE
from support.cluster import Kube, Object
from support.cluster.model_at_zero import model_at_zero
from support.repository import CHARTS, ROOT

FIRST, SECOND = "slipway-activator", "slipway-activator-2"
PER_MAP = 256
OPERATOR = "deployment/slipway-operator"


@pytest.fixture
async def home(operator_pods: Cluster, neighbour_kube: Kube, tmp_path: Path) -> AsyncIterator[Kube]:
    """Slipway's namespace, with two activators, of which the first has assigned all of its ports."""
    home = neighbour_kube.within(SLIPWAY_NAMESPACE)
    values, command = as_documented()
    (tmp_path / "more-activators.yaml").write_text(values)
    await home.apply(*full_table())
    with contextlib.chdir(tmp_path):
        await asyncio.to_thread(operator_pods.run_helm, [word.replace("charts/", f"{CHARTS}/") for word in command])
    await home.run("rollout", "status", OPERATOR, "--timeout=90s")
    await home.run("rollout", "status", f"deployment/{SECOND}", "--timeout=90s")
    yield home
    await home.run("delete", "configmaps", f"--selector={PORT_TABLE_LABEL}")
    await asyncio.to_thread(operator_pods.run_helm, ["rollback", "slipway", f"--namespace={SLIPWAY_NAMESPACE}"])
    await home.run("rollout", "status", OPERATOR, "--timeout=90s")


def as_documented() -> tuple[str, list[str]]:
    """The values, and the arguments for helm."""
    docs = (ROOT / "docs/sleeping.md").read_text()
    [values] = re.findall(r"```yaml\n# more-activators\.yaml\n(.*?)```", docs, re.DOTALL)
    [command] = re.findall(r"^helm (upgrade .*more-activators\.yaml)$", docs, re.MULTILINE)
    return values, command.split()


def full_table() -> list[Object]:
    """Ports of deleted models aren't reassigned for five minutes."""
    ports = range(ACTIVATOR_FIRST_PORT, ACTIVATOR_LAST_PORT + 1)
    maps = [ports[at : at + PER_MAP] for at in range(0, len(ports), PER_MAP)]
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": f"{FIRST}-ports-{number:02d}", "labels": {PORT_TABLE_LABEL: FIRST}},
            "data": {str(port): f"gone/model-{port} 00000000-0000-0000-0000-0000000{port}" for port in each},
        }
        for number, each in enumerate(maps)
    ]


@pytest.mark.slow
async def test_a_model_without_a_port_at_the_first_activator_sleeps_and_wakes_at_the_second(
    home: Kube, neighbour_kube: Kube
) -> None:
    async with model_at_zero(neighbour_kube) as model:
        address = (await model.activators_port()).rpartition(":")[0]
        of_the_second = await home.select("pods", f"app.kubernetes.io/name={SECOND}")
        assert address in {pod["status"]["podIP"] for pod in of_the_second}
        assert await model.is_asleep()
        await model.wakes()
