"""A second activator, installed as docs/sleeping.md says: it serves the models for which the first has no port left."""

from __future__ import annotations

import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from slipway.api.names import ACTIVATOR_FIRST_PORT, ACTIVATOR_LAST_PORT, PORT_TABLE_LABEL
from slipway_devcluster.cluster import Cluster
from slipway_devcluster.components import SLIPWAY_NAMESPACE
from support.kube import Kube, Object
from support.rendered import MANIFESTS, ROOT
from support.zero_scene import scene

FIRST, SECOND = "slipway-activator", "slipway-activator-2"
PER_MAP = 256
OPERATOR = "deployment/slipway-operator"


@pytest.fixture
async def home(operator_pods: Cluster, neighbour_kube: Kube, tmp_path: Path) -> AsyncIterator[Kube]:
    """Slipway's namespace, with two activators, of which the first has given all of its ports away."""
    home = neighbour_kube.within(SLIPWAY_NAMESPACE)
    second = await home.run("kustomize", str(as_documented(tmp_path)))
    await home.apply(second, *full_table())
    await home.run("set", "env", OPERATOR, f"SLIPWAY_ACTIVATORS={FIRST},{SECOND}")
    await home.run("rollout", "status", OPERATOR, "--timeout=90s")
    await home.run("rollout", "status", f"deployment/{SECOND}", "--timeout=90s")
    yield home
    await home.run("set", "env", OPERATOR, "SLIPWAY_ACTIVATORS-")
    await home.run("delete", "configmaps", f"--selector={PORT_TABLE_LABEL}")
    await home.run("rollout", "status", OPERATOR, "--timeout=90s")
    await home.run("delete", "--ignore-not-found", "--filename=-", stdin=second)


def as_documented(folder: Path) -> Path:
    """The folder of a kustomization."""
    [text] = re.findall(r"```yaml\n(# kustomization\.yaml\n.*?)```", (ROOT / "docs/sleeping.md").read_text(), re.DOTALL)
    shutil.copytree(MANIFESTS / "activator", folder / "manifests/activator")
    (folder / "second").mkdir()
    (folder / "second/kustomization.yaml").write_text(text)
    return folder / "second"


def full_table() -> list[Object]:
    """Ports of models that are gone aren't given to others for five minutes."""
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
async def test_a_model_for_which_the_first_has_no_port_sleeps_and_wakes_at_the_second(
    home: Kube, neighbour_kube: Kube
) -> None:
    async with scene(neighbour_kube) as asked:
        address = (await asked.activators_port()).rpartition(":")[0]
        of_the_second = await home.select("pods", f"app.kubernetes.io/name={SECOND}")
        assert address in {pod["status"]["podIP"] for pod in of_the_second}
        assert await asked.sleeps()
        await asked.wakes()
