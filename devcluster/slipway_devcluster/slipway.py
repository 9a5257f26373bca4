"""Slipway itself in a devcluster: its images built and loaded, its manifests applied, its operator available.

Safe to repeat, and quick where nothing has changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from . import platform
from .cluster import Cluster
from .components import SLIPWAY_NAMESPACE as NAMESPACE
from .errors import Refusal
from .images import build_image
from .paths import Cache
from .platform import Object
from .progress import Steps

ROOT = Path(__file__).parents[2]
MANIFESTS = ROOT / "manifests"
OPERATOR, ACTIVATOR = "slipway-operator", "slipway-activator"
ARCHIVE_ANNOTATION = "slipway.dev/image-archive"
READY_TIMEOUT = 90


@dataclass(frozen=True)
class OwnImage:
    """An image of this repository, under the name by which the manifests ask for it."""

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
    """All of manifests/, with this checkout's images; back when all of its replicas are available."""
    LLAMACPP_IMAGE.loaded(cluster, cache, steps)
    archive = OPERATOR_IMAGE.loaded(cluster, cache, steps)
    with steps.step("installing Slipway"):
        objects = platform.documents(cluster.run_kubectl(["kustomize", str(MANIFESTS)]))
        platform.install(marked(objects, archive.name), cluster.run_kubectl)
        for name in (OPERATOR, ACTIVATOR):
            _wait_for(name, cluster)


def remove_programs(cluster: Cluster) -> None:
    """Back when no pod of operator and activator runs any more. All else stays, and so does what they made.

    The activator's Service goes, too: while it is there, an operator expects an activator behind it.
    """
    cluster.run_kubectl(["delete", "deployment", OPERATOR, ACTIVATOR, "-n", NAMESPACE, "--cascade=foreground"])
    cluster.run_kubectl(["delete", "service", ACTIVATOR, "-n", NAMESPACE])


def marked(objects: list[Object], archive: str) -> list[Object]:
    """Our pods name the archive of their image: another one, under the same name, replaces them."""
    for thing in objects:
        if thing["kind"] == "Deployment" and thing["metadata"]["name"] in (OPERATOR, ACTIVATOR):
            thing["spec"]["template"]["metadata"].setdefault("annotations", {})[ARCHIVE_ANNOTATION] = archive
    return objects


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
