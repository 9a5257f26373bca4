"""Whether the API server accepts pods that mount an image as a volume: a dry run, since no list of features is served.

Kubernetes knows such volumes from 1.31 on, and has them on from 1.35 on; before, a feature gate decides. A server that
lacks them refuses the volume, or drops it without a word. What the nodes can do shows only when a pod starts there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from slipway.kube.client import KubeClient
from slipway.kube.errors import ForbiddenError, InvalidError, KubeError
from slipway.objects.kinds import POD_TEMPLATE, Object
from slipway.observing import words

logger = logging.getLogger(__name__)

FRESH = 3600.0  # seconds; a server gets the feature by a restart
AGAIN = 60.0  # after a failure
IMAGE = f"registry.invalid/image@sha256:{'0' * 64}"
MOUNT = {"name": "image", "mountPath": "/image", "subPath": "folder"}  # as of weights; the first versions refuse it
OFF = "the API server has no volumes of images: they need Kubernetes 1.33 or newer with the feature ImageVolume"
FORBIDDEN = "the operator may not find out whether pods can mount images: it lacks the right to create PodTemplates"


class ImageVolumes:
    """`clock` is monotonic."""

    def __init__(self, client: KubeClient, *, namespace: str, clock: Callable[[], float]) -> None:
        self._client, self._namespace, self._clock = client, namespace, clock
        self._tried_at, self._is_known = float("-inf"), False
        self._answer: str | None = None  # None: there is none yet
        self._asking = asyncio.Lock()

    async def obstacle(self) -> str:
        """Why pods can't mount images, in words; empty: they can."""
        async with self._asking:  # the others wait: with an image that is refused, a model could never start
            if self._answer is None or self._clock() - self._tried_at >= (FRESH if self._is_known else AGAIN):
                self._answer, self._is_known = await self._try()
                self._tried_at = self._clock()
            return self._answer

    async def _try(self) -> tuple[str, bool]:
        """The answer, and whether it will stay the same for a while."""
        try:
            kept = await self._client.create(POD_TEMPLATE, template(self._namespace), dry_run=True)
        except InvalidError:
            return OFF, True
        except ForbiddenError as error:
            return f"{FORBIDDEN} ({words.shorten(error.words)})", False
        except KubeError as error:
            logger.warning("Could not find out whether pods can mount images: %s", error)
            return OFF if self._answer is None else self._answer, False
        volumes = kept["template"]["spec"].get("volumes") or [{}]
        return "" if (volumes[0].get("image") or {}).get("reference") == IMAGE else OFF, True


def mounts_image(llm_deployment: Object) -> bool:
    """Whether its spec wants one; an older CRD may have admitted a spec of any form."""
    return any(
        _is_image(llm_deployment.get("spec"), *cache) for cache in (("engine", "compileCache"), ("model", "cache"))
    )


def _is_image(found: object, *names: str) -> bool:
    for name in names:
        found = found.get(name) if isinstance(found, dict) else None
    return isinstance(found, dict) and found.get("kind") == "Image"


def template(namespace: str) -> Object:
    """An object that makes no pod, and isn't stored."""
    container = {"name": "none", "image": IMAGE, "volumeMounts": [MOUNT]}
    return {
        "apiVersion": POD_TEMPLATE.api_version,
        "kind": POD_TEMPLATE.name,
        "metadata": {"name": "slipway-image-volumes", "namespace": namespace},
        "template": {
            "spec": {
                "containers": [container],
                "volumes": [{"name": "image", "image": {"reference": IMAGE, "pullPolicy": "IfNotPresent"}}],
            }
        },
    }
