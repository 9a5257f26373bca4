"""Another version of KServe on a devcluster: an older one from which a test upgrades, and the usual one again.

Each is installed as a devcluster installs it: upstream's own manifests, applied on the server.
"""

from __future__ import annotations

from base64 import b64decode

from slipway_devcluster import platform
from slipway_devcluster.builds import ensure_on_demand
from slipway_devcluster.cluster import Cluster
from slipway_devcluster.images import PlatformImage, ensure_platform_images
from slipway_devcluster.pki import Certificate
from slipway_devcluster.platform import WebhookCertificates

from support.cluster.clusters import Settings
from support.cluster.kube import Kube

USUAL, OLDER = "kserve", "older-kserve"
READY_WITHIN = 180


async def install_kserve(upstream: str, cluster: Cluster, kube: Kube, settings: Settings) -> str:
    """Replaces KServe by this build, `USUAL` or `OLDER`; returns its version."""
    build = ensure_on_demand(upstream, settings.cache, settings.steps)
    image = PlatformImage(f"docker.io/kserve/kserve-controller:{build.version}", "manager", "/manager")
    programs = {image.binary: build.binary(image.binary)}
    for archive in ensure_platform_images(programs, settings.cache, settings.steps, images=[image]):
        cluster.load_image(archive)
    objects = platform.adapt(platform.kserve_objects(build, cluster.helm), await _certificates(kube))
    platform.install(objects, cluster.run_kubectl)
    for name in platform.ROLLOUTS["kserve"]:
        wait = ["rollout", "status", f"deployment/{name}", f"--timeout={READY_WITHIN}s"]
        await kube.within("kserve").run(*wait)
    return build.version.removeprefix("v")


async def _certificates(kube: Kube) -> WebhookCertificates:
    """Those that the cluster has, so that its webhooks stay trusted."""
    kserve, authority = await _certificate(kube.within("kserve"), "kserve-webhook-server-cert")
    keda, _ = await _certificate(kube.within("keda"), "kedaorg-certs")
    return WebhookCertificates(authority, kserve, keda)


async def _certificate(kube: Kube, secret: str) -> tuple[Certificate, bytes]:
    files = {name: b64decode(each) for name, each in (await kube.get("secret", secret))["data"].items()}
    return Certificate(files["tls.crt"], files["tls.key"]), files["ca.crt"]
