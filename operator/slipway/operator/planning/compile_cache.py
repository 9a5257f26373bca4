"""Where compiled code can outlive a pod: the spec and the storage classes → what to claim or to mount, or why nothing.
Pure."""

from __future__ import annotations

from dataclasses import dataclass

from slipway.api.llmdeployment import LLMDeploymentSpec
from slipway.contract.engines import BUILT_IN
from slipway.operator.planning.volumes import (
    NO_VOLUMES,
    Asked,
    Claim,
    Classes,
    Nowhere,
    SiteStorage,
    as_asked,
    automatic,
    no_volumes,
)

COMPILING = frozenset(each.name for each in BUILT_IN if each.compile_cache)


@dataclass(frozen=True)
class Pulled:
    """An image to mount, with its digest."""

    image: str


def where(
    spec: LLMDeploymentSpec, classes: Classes, site: SiteStorage, *, pushed: str = "", no_images: str = ""
) -> Claim | Pulled | Nowhere | None:
    """None: its engine compiles nothing that could be kept. `pushed`: the image that a Job pushed last; `no_images`:
    why pods can't mount images."""
    if spec.engine.name not in COMPILING:
        return None
    asked = _asked(spec, site)
    match spec.engine.compile_cache.kind:
        case "None":
            return Nowhere("engine.compileCache.kind is None")
        case "Image":
            return _image(spec, pushed, no_images)
        case _ if site.size == NO_VOLUMES:
            return no_volumes(asked)
        case "PVC":
            return as_asked(spec, asked, classes, site)
        case _:
            return automatic(spec, asked, classes, site)


def _asked(spec: LLMDeploymentSpec, site: SiteStorage) -> Asked:
    cache = spec.engine.compile_cache
    return Asked(
        field="engine.compileCache",
        value="compileCache",
        size=cache.size or site.size,
        storage_class=cache.storage_class_name,
        access_mode=cache.access_mode,
    )


def _image(spec: LLMDeploymentSpec, pushed: str, no_images: str) -> Pulled | Nowhere:
    if no_images:
        return Nowhere(no_images, "let engine.compileCache.kind be Auto, or enable image volumes in the cluster")
    image = spec.engine.compile_cache.image or pushed
    return Pulled(image) if image else Nowhere("no image was pushed yet")
