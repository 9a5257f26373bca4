"""The volume of a model's files in an InferenceService: each pod's own, a claim or an image that outlives it. Pure.

As for compiled code, which of them it is belongs to no part that an upgrade keeps: it is taken out before that is
compared, and put in afterwards.
"""

from __future__ import annotations

from slipway.objects.kinds import Object
from slipway.operator.rendering.compiled_store import Store, writable_by
from slipway.operator.rendering.weights import IN_EACH_POD, VOLUME


def has_weights(inference_service: Object) -> bool:
    """Whether its pods fetch files, so that these could be kept."""
    return any(each.get("name") == VOLUME for each in _volumes(inference_service))


def weights_store_in(inference_service: Object) -> Store | None:
    for volume in _volumes(inference_service):
        if volume.get("name") != VOLUME:
            continue
        if image := (volume.get("image") or {}).get("reference"):
            return Store(image=str(image))
        if claim := (volume.get("persistentVolumeClaim") or {}).get("claimName"):
            return Store(str(claim))
    return None


def without_weights_store(inference_service: Object) -> Object:
    """As it is where each pod fetches for itself."""
    if weights_store_in(inference_service) is None:
        return inference_service
    predictor = inference_service["spec"]["predictor"]
    bare = {name: each for name, each in predictor.items() if name != "securityContext"}
    return _with_volume(inference_service, bare, IN_EACH_POD.source)


def with_weights_store(inference_service: Object, store: Store | None, serving_runtime: Object) -> Object:
    if store is None or not has_weights(inference_service):
        return inference_service
    ownership = {} if store.image else writable_by(serving_runtime)
    predictor = {**inference_service["spec"]["predictor"], **ownership}
    return _with_volume(inference_service, predictor, store.volume)


def _with_volume(inference_service: Object, predictor: Object, source: Object) -> Object:
    volume = {"name": VOLUME, **source}
    volumes = [volume if each.get("name") == VOLUME else each for each in predictor["volumes"]]
    spec = {**inference_service["spec"], "predictor": {**predictor, "volumes": volumes}}
    return {**inference_service, "spec": spec}


def _volumes(inference_service: Object) -> list[Object]:
    predictor = (inference_service.get("spec") or {}).get("predictor") or {}
    return predictor.get("volumes") or []
