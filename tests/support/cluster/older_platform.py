"""Other versions of KServe and KEDA on a devcluster: older ones from which a test upgrades, and the usual ones again.

Each is installed as a devcluster installs it: upstream's own manifests, applied on the server.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass

from slipway_devcluster import platform
from slipway_devcluster.builds import Build, ensure_on_demand
from slipway_devcluster.cluster import Cluster
from slipway_devcluster.images import KEDA as KEDA_IMAGES
from slipway_devcluster.images import PlatformImage, ensure_platform_images
from slipway_devcluster.pki import Certificate
from slipway_devcluster.platform import Object, WebhookCertificates

from support.cluster.clusters import Settings
from support.cluster.kube import Kube

READY_WITHIN = 180


@dataclass(frozen=True)
class Other:
    """`upstream`: the older build's name; `images`: those of a version."""

    upstream: str
    namespace: str
    images: Callable[[str], tuple[PlatformImage, ...]]

    @property
    def usual(self) -> str:
        return self.upstream.removeprefix("older-")


KSERVE = Other(
    "older-kserve",
    "kserve",
    lambda version: (PlatformImage(f"docker.io/kserve/kserve-controller:v{version}", "manager", "/manager"),),
)
KEDA = Other(
    "older-keda",
    "keda",
    lambda version: (
        PlatformImage(f"{KEDA_IMAGES}/keda:{version}", "operator", "/keda"),
        PlatformImage(f"{KEDA_IMAGES}/keda-metrics-apiserver:{version}", "adapter", "/keda-adapter"),
        PlatformImage(f"{KEDA_IMAGES}/keda-admission-webhooks:{version}", "webhooks", "/keda-admission-webhooks"),
    ),
)


async def install_older(other: Other, cluster: Cluster, kube: Kube, settings: Settings) -> str:
    """Replaces the usual version by the older one; returns its number."""
    return await _install(other, other.upstream, cluster, kube, settings)


async def install_usual(other: Other, cluster: Cluster, kube: Kube, settings: Settings) -> str:
    """Replaces the older version by that of every devcluster; returns its number."""
    return await _install(other, other.usual, cluster, kube, settings)


async def _install(other: Other, upstream: str, cluster: Cluster, kube: Kube, settings: Settings) -> str:
    build = ensure_on_demand(upstream, settings.cache, settings.steps)
    version = build.version.removeprefix("v")
    programs = {name: build.binary(name) for name in build.upstream.binaries}
    for archive in ensure_platform_images(programs, settings.cache, settings.steps, images=other.images(version)):
        cluster.load_image(archive)
    objects = platform.adapt(_objects(other, build, cluster), await _certificates(kube))
    for thing in objects:
        if thing["kind"] == "Deployment":
            _name_images(thing, version)
    platform.install(objects, cluster.run_kubectl)
    for name in platform.ROLLOUTS[other.namespace]:
        wait = ["rollout", "status", f"deployment/{name}", f"--timeout={READY_WITHIN}s"]
        await kube.within(other.namespace).run(*wait)
    return version


def _objects(other: Other, build: Build, cluster: Cluster) -> list[Object]:
    if other is KSERVE:
        return platform.kserve_objects(build, cluster.helm)
    return platform.keda_objects(build, cluster.kubectl)


def _name_images(deployment: Object, version: str) -> None:
    for container in deployment["spec"]["template"]["spec"]["containers"]:
        if container["image"].startswith(KEDA_IMAGES):
            container["image"] = f"{container['image'].rpartition(':')[0]}:{version}"


async def _certificates(kube: Kube) -> WebhookCertificates:
    """Those that the cluster has, so that its webhooks stay trusted."""
    kserve, authority = await _certificate(kube.within("kserve"), "kserve-webhook-server-cert")
    keda, _ = await _certificate(kube.within("keda"), "kedaorg-certs")
    return WebhookCertificates(authority, kserve, keda)


async def _certificate(kube: Kube, secret: str) -> tuple[Certificate, bytes]:
    files = {name: b64decode(each) for name, each in (await kube.get("secret", secret))["data"].items()}
    return Certificate(files["tls.crt"], files["tls.key"]), files["ca.crt"]
