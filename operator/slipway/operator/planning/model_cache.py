"""Where the files of a model can outlive a pod: the spec, its size and the storage classes → what to claim, or why
nothing. Pure."""

from __future__ import annotations

import math

from slipway.api.llmdeployment import LLMDeploymentSpec
from slipway.api.names import NODE_CACHE_DRIVER
from slipway.operator.planning.compile_cache import Pulled
from slipway.operator.planning.volumes import (
    NO_VOLUMES,
    Asked,
    Claim,
    Classes,
    Nowhere,
    OnNode,
    SiteStorage,
    as_asked,
    automatic,
    no_volumes,
)

GIB = 1 << 30
MORE = 1.15  # tokenizers, adapters, and what a file system takes for itself
BESIDES = GIB
VERSIONS = 2  # on a volume that pods share, where the one before stays


NOWHERE = {
    "None": Nowhere("model.cache.kind is None"),
    "Node": Nowhere(
        f"the cluster has no CSIDriver {NODE_CACHE_DRIVER}",
        "its administrator can add the node plugin by the chart's value modelCache.node.enabled",
    ),
}


def where(
    spec: LLMDeploymentSpec,
    files: int | None,
    classes: Classes,
    site: SiteStorage,
    *,
    image: str = "",
    no_images: str = "",
    has_node_plugin: bool = False,
) -> Claim | Pulled | OnNode | Nowhere:
    """`files`: bytes of the model's files; None: unknown. `image`: what a Job has pushed for these pods; `no_images`:
    why pods can't mount images."""
    asked = _asked(spec, files, site)
    match spec.model.cache.kind:
        case "Node" | "Auto" if has_node_plugin:
            return OnNode()
        case "None" | "Node" as kind:
            return NOWHERE[kind]
        case "Image":
            return _pulled(image, no_images)
        case _ if site.size == NO_VOLUMES:
            return no_volumes(asked)
        case "PVC":
            return as_asked(spec, asked, classes, site)
        case _:
            return automatic(spec, asked, classes, site)


def _pulled(image: str, no_images: str) -> Pulled | Nowhere:
    if no_images:
        return Nowhere(no_images, "let model.cache.kind be Auto or PVC")
    return Pulled(image) if image else Nowhere("no image was pushed yet")


def _asked(spec: LLMDeploymentSpec, files: int | None, site: SiteStorage) -> Asked:
    cache = spec.model.cache
    return Asked(
        field="model.cache",
        value="modelCache",
        size=cache.size or _size(spec, files) or site.size,
        storage_class=cache.storage_class_name,
        access_mode=cache.access_mode,
        shared_size=cache.size or _size(spec, files, versions=VERSIONS),
    )


def _size(spec: LLMDeploymentSpec, files: int | None, *, versions: int = 1) -> str:
    """Empty: it isn't known. Of a draft model it never is."""
    has_draft = spec.engine.speculative is not None and spec.engine.speculative.model is not None
    if not files or has_draft:
        return ""
    return f"{math.ceil((versions * files * MORE + BESIDES) / GIB)}Gi"
