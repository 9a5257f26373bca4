"""KEDA's HTTP add-on in a devcluster, for benchmarks that compare with it. It is installed only on demand.

Upstream's own manifests are used, with images that are built here.
"""

from __future__ import annotations

from slipway_devcluster import platform
from slipway_devcluster.builds import ensure_on_demand
from slipway_devcluster.cluster import Cluster
from slipway_devcluster.images import KEDA, PlatformImage, ensure_platform_images
from slipway_devcluster.paths import Cache
from slipway_devcluster.platform import Object
from slipway_devcluster.progress import Steps

UPSTREAM = "http-add-on"
NAMESPACE = "keda"
INTERCEPTOR = "keda-add-ons-http-interceptor-proxy"
"""The Service that requests go to; its port is 8080."""
SCALER = f"keda-add-ons-http-external-scaler.{NAMESPACE}:9090"
"""The scaler's address, for the triggers of ScaledObjects."""
SOURCE = "ko://github.com/kedacore/http-add-on/"
READY_TIMEOUT = 90


def install(cluster: Cluster, *, cache: Cache, steps: Steps) -> None:
    """Install it, and return when all of its programs are available. The first time, they are built from source."""
    build = ensure_on_demand(UPSTREAM, cache, steps)
    images = tuple(PlatformImage(image_name(name, build.version), name, f"/{name}") for name in build.upstream.binaries)
    programs = {name: build.binary(name) for name in build.upstream.binaries}
    for archive in ensure_platform_images(programs, cache, steps, images=images):
        cluster.load_image(archive)
    with steps.step("installing KEDA's HTTP add-on"):
        manifests = cluster.run_kubectl(["kustomize", str(build.source / "config/default")])
        objects = adapted(platform.documents(manifests), build.version)
        platform.install(objects, cluster.run_kubectl)
        deployments = [f"deployment/{each['metadata']['name']}" for each in objects if each["kind"] == "Deployment"]
        wait = ["wait", "-n", NAMESPACE, "--for=condition=Available", f"--timeout={READY_TIMEOUT}s"]
        cluster.run_kubectl([*wait, *deployments])


def adapted(objects: list[Object], version: str) -> list[Object]:
    """Replace image names, which are source paths for a build tool, by names of our images. Changes its argument."""
    for thing in objects:
        if thing["kind"] == "Deployment":
            platform.adjust_deployment(thing)
            for container in thing["spec"]["template"]["spec"]["containers"]:
                container["image"] = image_name(container["image"].removeprefix(SOURCE), version)
    return objects


def image_name(program: str, version: str) -> str:
    return f"{KEDA}/http-add-on-{program}:{version.removeprefix('v')}"
