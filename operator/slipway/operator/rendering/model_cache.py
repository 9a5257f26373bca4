"""Where a model's files are kept now: on a claim, in an image, or nowhere, so that each replica fetches them. Pure."""

from __future__ import annotations

from contextlib import suppress

from pydantic import ValidationError

from slipway.api.llmdeployment import LLMDeployment
from slipway.api.model import ModelCache
from slipway.api.names import RUNTIME_LABEL, weights_claim_name
from slipway.objects.kinds import Object
from slipway.objects.metadata import labels_of, name_of
from slipway.observing.fetching import VOLUME
from slipway.observing.giving_up import WEIGHTS
from slipway.observing.push_record import PushRecord, record_of
from slipway.observing.snapshot import Snapshot
from slipway.operator.planning.model_cache import where
from slipway.operator.planning.volumes import ONE_POD, Claim, Nowhere, SiteStorage
from slipway.operator.rendering.compiled_store import Store, writable_by
from slipway.operator.rendering.fields import set_by_us
from slipway.operator.rendering.image_job import identity_of
from slipway.operator.rendering.pinning import made_in
from slipway.operator.rendering.placing import Kept, Making, Placed, Placing, because
from slipway.operator.rendering.wanted import Wanted, classes_of, compared
from slipway.operator.rendering.weights_store import has_weights, weights_store_in


def place(
    deployment: LLMDeployment,
    snapshot: Snapshot,
    site: SiteStorage,
    making: Making,
    *,
    inference_service: Object,
    runtime: Object,
    files: int | None,
) -> Placed:
    """`inference_service`: as it is to be, but for its stores; `runtime`: of its pods; `files`: bytes of the model's
    files, if known."""
    live = set_by_us(snapshot.inference_service) if snapshot.inference_service else {}
    kept = Kept(
        field=WEIGHTS,
        nothing="None",
        name=weights_claim_name(deployment.metadata.name),
        claim=snapshot.weights_claim,
        mounted=weights_store_in(live),
        volume=VOLUME,
    )
    wanted: Wanted = None
    if has_weights(inference_service):
        identity = identity_of(deployment, inference_service)
        wanted = _not_writable(deployment, runtime) or wanted_of(deployment, snapshot, site, files, identity)
    return _OfWeights(deployment, snapshot, making, kept, wanted, is_made=bool(live)).placed()


class _OfWeights(Placing):
    def _store_of(self, claim: Claim) -> Store:
        return Store(self._name, is_for_one=claim.access_mode == ONE_POD)

    def _is_demanded(self) -> bool:
        return self._deployment.spec.model.cache.kind == "PVC"

    def _kept_words(self, shared: str) -> str:
        return f"The model's files are kept on the volume of the claim {self._name}, {shared}."

    def _pulled_words(self) -> str:
        return "The model's files are mounted from an image, which each node pulls once."

    def _costs(self, why: Nowhere | None) -> str:
        return because("Each replica fetches the model's files for itself", why)


def _not_writable(deployment: LLMDeployment, runtime: Object) -> Nowhere | None:
    """Where nothing says to which group a volume should belong. A release's runtime leaves it to the cluster, if it
    does."""
    is_a_releases = RUNTIME_LABEL in labels_of(runtime)
    if deployment.spec.model.cache.kind != "Auto" or is_a_releases or writable_by(runtime):
        return None
    name = name_of(runtime)
    return Nowhere(
        f"the ServingRuntime {name} names no user, so that it isn't known who must be able to write to a volume",
        "set runAsUser in the securityContext of its container, or model.cache.kind to PVC",
    )


def wanted_of(
    deployment: LLMDeployment, snapshot: Snapshot, site: SiteStorage, files: int | None, identity: str
) -> Wanted:
    """`identity`: of the image that these pods could mount; empty: of none."""
    pushed = snapshot.image_push or recorded_image(deployment, snapshot.status)
    image, no_images = pushed.image_for(identity) if identity else "", snapshot.no_image_volumes
    return where(deployment.spec, files, classes_of(snapshot), site, image=image, no_images=no_images)


def recorded_image(deployment: LLMDeployment, status: Object | None) -> PushRecord:
    """What the status has of an image that a Job has pushed."""
    return record_of((status or {}).get(WEIGHTS), deployment.spec.model.cache.repository or "")


def asks_for_another(deployment: LLMDeployment, snapshot: Snapshot, site: SiteStorage, files: int | None) -> bool:
    """Whether the spec's `model.cache` has changed since the pods were made, and that leads elsewhere in this cluster,
    as with compiled code."""
    then = _asked_before(snapshot)
    if then is None or then == deployment.spec.model.cache:
        return False
    live = set_by_us(snapshot.inference_service) if snapshot.inference_service else {}
    if not has_weights(live):
        return False
    each_way = (_with_cache(deployment, then), deployment)
    # An image is no reason to replace pods: until they end, they have what they fetched.
    one, other = (wanted_of(each, snapshot, site, files, identity="") for each in each_way)
    if weights_store_in(live) is None and isinstance(one, Claim) and isinstance(other, Claim):
        return False
    return compared(one) != compared(other)


def _asked_before(snapshot: Snapshot) -> ModelCache | None:
    """None: it wasn't recorded, or others have written something invalid."""
    made = made_in(snapshot.status or {})
    with suppress(ValidationError):
        return ModelCache.model_validate_json(made.model_cache) if made and made.model_cache else None
    return None


def _with_cache(deployment: LLMDeployment, cache: ModelCache) -> LLMDeployment:
    model = deployment.spec.model.model_copy(update={"cache": cache})
    return deployment.model_copy(update={"spec": deployment.spec.model_copy(update={"model": model})})
