"""Installs Slipway in a devcluster: builds and loads its images, installs its charts, and waits for its programs.

Safe to repeat, and quick where nothing has changed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway_devcluster.cluster import Cluster
from slipway_devcluster.components import SLIPWAY_NAMESPACE as NAMESPACE
from slipway_devcluster.containerfiles import build_image, is_built
from slipway_devcluster.errors import Refusal
from slipway_devcluster.paths import Cache
from slipway_devcluster.progress import Steps

ROOT = Path(__file__).parents[2]
MANIFESTS = ROOT / "manifests"
CRDS_CHART, CHART = ROOT / "charts/slipway-crds", ROOT / "charts/slipway"
TAG = "dev"
OPERATOR, ACTIVATOR = "slipway-operator", "slipway-activator"
ARCHIVE_ANNOTATION = "slipway.dev/image-archive"
READY_TIMEOUT = 90
INSTALL_STEP = "installing Slipway"
HOME: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Namespace",
    "metadata": {"name": NAMESPACE, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
}
"""Its pods need no privileges on their node."""


@dataclass(frozen=True)
class OwnImage:
    """An image of this repository, under the name by which the charts refer to it."""

    name: str
    containerfile: Path

    def built(self, cache: Cache, steps: Steps) -> Path:
        """Return the archive of the image; build it first if it is not in the cache."""
        return build_image(self.containerfile, name=self.name, cache=cache, steps=steps)

    def is_built(self, cache: Cache) -> bool:
        return is_built(self.containerfile, name=self.name, cache=cache)

    def loaded(self, cluster: Cluster, cache: Cache, steps: Steps) -> Path:
        """Return the archive of the image when the node has the image."""
        archive = self.built(cache, steps)
        cluster.load_image(archive)
        return archive


OPERATOR_IMAGE = OwnImage("localhost/slipway-operator:dev", ROOT / "operator/Containerfile")
FETCHER_IMAGE = OwnImage("localhost/slipway-fetcher:dev", ROOT / "fetcher/Containerfile")
LLAMACPP_IMAGE = OwnImage("localhost/slipway-llamacpp:dev", ROOT / "runtime-image/llamacpp.Containerfile")
VLLM_CPU_IMAGE = OwnImage("localhost/slipway-vllm-cpu:dev", ROOT / "runtime-image/vllm-cpu.Containerfile")
"""Some gigabytes, so `install` leaves it out; `devcluster load-image` loads it."""
INSTALLED_IMAGES = (OPERATOR_IMAGE, FETCHER_IMAGE, LLAMACPP_IMAGE)


def prepare(cluster: Cluster, *, cache: Cache, steps: Steps) -> None:
    """Do the part of `install` that needs neither KServe nor KEDA, so that it can run while they start."""
    for image in INSTALLED_IMAGES:
        image.loaded(cluster, cache, steps)
    cluster.run_kubectl(["apply", "--server-side", "--filename=-"], json.dumps(HOME).encode())
    _upgrade(cluster, CRDS_CHART, "--wait")


def install(cluster: Cluster, *, cache: Cache, steps: Steps) -> None:
    """Install both charts with this checkout's images; returns when all replicas are available."""
    prepare(cluster, cache=cache, steps=steps)
    install_programs(cluster, cache=cache, steps=steps)


def install_programs(cluster: Cluster, *, cache: Cache, steps: Steps) -> None:
    """Do the part of `install` that comes after `prepare`, and needs KServe's webhooks."""
    archive = OPERATOR_IMAGE.built(cache, steps)
    with steps.step(INSTALL_STEP):
        _upgrade(cluster, CHART, values=values_with(archive.name))
        for name in (OPERATOR, ACTIVATOR):
            _wait_for(name, cluster)


def values_with(archive: str) -> dict[str, Any]:
    """Values that name the archive of the pods' image, so that a new image under the same name replaces the pods."""
    program = {"podAnnotations": {ARCHIVE_ANNOTATION: archive}}
    return {"images": {"tag": TAG}, "operator": program, "activator": program}


def remove_programs(cluster: Cluster) -> None:
    """Remove operator and activator; returns when none of their pods runs. What they created stays, like all else.

    The activator's Service is removed too: while it exists, an operator expects an activator behind it.
    """
    cluster.run_kubectl(["delete", "deployment", OPERATOR, ACTIVATOR, "-n", NAMESPACE, "--cascade=foreground"])
    cluster.run_kubectl(["delete", "service", ACTIVATOR, "-n", NAMESPACE])


def _upgrade(cluster: Cluster, chart: Path, *how: str, values: dict[str, Any] | None = None) -> None:
    """Install or upgrade a chart; objects that exist already, from an older checkout or by hand, are taken over."""
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
            f"`devcluster shell --name {cluster.name} -- {logs}` shows its log"
        ) from refusal
