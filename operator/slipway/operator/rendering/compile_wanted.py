"""What the spec wants to have of a compile cache in this cluster, and whether that has changed. Pure."""

from __future__ import annotations

from contextlib import suppress

from pydantic import ValidationError

from slipway.api.compile_cache import CompileCache
from slipway.api.llmdeployment import LLMDeployment
from slipway.api.status import MadeStatus
from slipway.observing.push_record import PushRecord, record_in
from slipway.observing.snapshot import Snapshot
from slipway.operator.planning.compile_cache import where
from slipway.operator.planning.volumes import Claim, SiteStorage
from slipway.operator.rendering.compiled_store import store_in
from slipway.operator.rendering.fields import set_by_us
from slipway.operator.rendering.pinning import made_in
from slipway.operator.rendering.wanted import Wanted, classes_of, compared


def asks_for_another(deployment: LLMDeployment, snapshot: Snapshot, site: SiteStorage) -> bool:
    """Whether the spec's `compileCache` has changed since the pods were made, and that leads elsewhere in this cluster.
    Where the pods have no store yet, although it was requested, other details of it are no reason to restart them."""
    then = _asked_before(made_in(snapshot.status or {}))
    if then is None or then == deployment.spec.engine.compile_cache:
        return False
    live = set_by_us(snapshot.inference_service) if snapshot.inference_service else {}
    each_way = (_with_cache(deployment, then), deployment)
    one, other = (wanted_of(each, snapshot, site, record_in(snapshot.status, each)) for each in each_way)
    if store_in(live) is None and isinstance(one, Claim) and isinstance(other, Claim):
        return False
    return compared(one) != compared(other)


def _asked_before(made: MadeStatus | None) -> CompileCache | None:
    """None: it wasn't recorded, or others have written something invalid."""
    with suppress(ValidationError):
        return CompileCache.model_validate_json(made.compile_cache) if made else None
    return None


def _with_cache(deployment: LLMDeployment, cache: CompileCache) -> LLMDeployment:
    engine = deployment.spec.engine.model_copy(update={"compile_cache": cache})
    return deployment.model_copy(update={"spec": deployment.spec.model_copy(update={"engine": engine})})


def wanted_of(deployment: LLMDeployment, snapshot: Snapshot, site: SiteStorage, push: PushRecord) -> Wanted:
    classes, no_images = classes_of(snapshot), snapshot.no_image_volumes
    return where(deployment.spec, classes, site, pushed=push.image, no_images=no_images)
