"""Slipway itself in a devcluster: its images built and loaded, its charts installed, its programs available.

Safe to repeat, and quick where nothing has changed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway_devcluster.cluster import Cluster
from slipway_devcluster.components import SLIPWAY_NAMESPACE as NAMESPACE
from slipway_devcluster.errors import Refusal
from slipway_devcluster.images import build_image
from slipway_devcluster.paths import Cache
from slipway_devcluster.progress import Steps

ROOT = Path(__file__).parents[2]
MANIFESTS = ROOT / "manifests"
CRDS_CHART, CHART = ROOT / "charts/slipway-crds", ROOT / "charts/slipway"
TAG = "dev"
OPERATOR, ACTIVATOR = "slipway-operator", "slipway-activator"
ARCHIVE_ANNOTATION = "slipway.dev/image-archive"
READY_TIMEOUT = 90
HOME: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Namespace",
    "metadata": {"name": NAMESPACE, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
}
"""Nothing in it needs a right on its node."""


@dataclass(frozen=True)
class OwnImage:
    """An image of this repository, under the name by which the charts ask for it."""

    name: str
    containerfile: Path

    def loaded(self, cluster: Cluster, cache: Cache, steps: Steps) -> Path:
        """Its archive; the image is in the node then."""
        archive = build_image(self.containerfile, name=self.name, cache=cache, steps=steps)
        cluster.load_image(archive)
        return archive


OPERATOR_IMAGE = OwnImage("localhost/slipway-operator:dev", ROOT / "operator/Containerfile")
LLAMACPP_IMAGE = OwnImage("localhost/slipway-llamacpp:dev", ROOT / "runtime-image/llamacpp.Containerfile")
VLLM_CPU_IMAGE = OwnImage("localhost/slipway-vllm-cpu:dev", ROOT / "runtime-image/vllm-cpu.Containerfile")
"""Some gigabytes, so `install` leaves it out; `devcluster load-image` brings it."""


def install(cluster: Cluster, *, cache: Cache, steps: Steps) -> None:
    """Both charts, with this checkout's images; back when all of its replicas are available."""
    LLAMACPP_IMAGE.loaded(cluster, cache, steps)
    archive = OPERATOR_IMAGE.loaded(cluster, cache, steps)
    with steps.step("installing Slipway"):
        cluster.run_kubectl(["apply", "--server-side", "--filename=-"], json.dumps(HOME).encode())
        _upgrade(cluster, CRDS_CHART, "--wait")
        _upgrade(cluster, CHART, values=values_with(archive.name))
        for name in (OPERATOR, ACTIVATOR):
            _wait_for(name, cluster)


def values_with(archive: str) -> dict[str, Any]:
    """Pods name the archive of their image: another one, under the same name, replaces them."""
    program = {"podAnnotations": {ARCHIVE_ANNOTATION: archive}}
    return {"images": {"tag": TAG}, "operator": program, "activator": program}


def remove_programs(cluster: Cluster) -> None:
    """Back when no pod of operator and activator runs any more. All else stays, and so does what they made.

    The activator's Service goes, too: while it is there, an operator expects an activator behind it.
    """
    cluster.run_kubectl(["delete", "deployment", OPERATOR, ACTIVATOR, "-n", NAMESPACE, "--cascade=foreground"])
    cluster.run_kubectl(["delete", "service", ACTIVATOR, "-n", NAMESPACE])


def _upgrade(cluster: Cluster, chart: Path, *how: str, values: dict[str, Any] | None = None) -> None:
    """What is there already, from an older checkout or by hand, becomes the release's."""
    command = ["upgrade", "--install", chart.name, str(chart), f"--namespace={NAMESPACE}", "--take-ownership"]
    cluster.run_helm([*command, "--values=-", *how], json.dumps(values or {}).encode())


def _wait_for(name: str, cluster: Cluster) -> None:
    wait = ["rollout", "status", "-n", NAMESPACE, f"deployment/{name}", f"--timeout={READY_TIMEOUT}s"]
    try:
        cluster.run_kubectl(wait)
    except Refusal as refusal:
        logs = f"kubectl logs -n {NAMESPACE} -l app.kubernetes.io/name={name} --prefix"
        raise Refusal(
            f"{name} is not available after {READY_TIMEOUT} s; "
            f"`devcluster shell --name {cluster.name} -- {logs}` shows what it says"
        ) from refusal
