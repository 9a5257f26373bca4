"""The volume of a model's files in an InferenceService: each pod's own, a claim or an image that outlives it. Pure.

As for compiled code, which of them it is belongs to no part that an upgrade keeps: it is taken out before that is
compared, and put in afterwards.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from slipway.objects.kinds import Object
from slipway.observing.fetching import VOLUME
from slipway.operator.rendering.compiled_store import Store, writable_by
from slipway.operator.rendering.weights import FOLDER, IN_EACH_POD

OURS = re.compile(r"--(remove-others|keep)=.*")
"""Arguments of the fetcher that are written here."""


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
            is_for_one = any(OURS.fullmatch(each) for each in _arguments(_predictor(inference_service)))
            return Store(str(claim), is_for_one=is_for_one)
    return None


def without_weights_store(inference_service: Object) -> Object:
    """As it is where each pod fetches for itself."""
    if weights_store_in(inference_service) is None:
        return inference_service
    predictor = _with_arguments(_predictor(inference_service), lambda args: [e for e in args if not OURS.fullmatch(e)])
    bare = {name: each for name, each in predictor.items() if name != "securityContext"}
    return _with_volume(inference_service, bare, IN_EACH_POD.source)


def with_weights_store(inference_service: Object, store: Store | None, serving_runtime: Object) -> Object:
    if store is None or not has_weights(inference_service):
        return inference_service
    predictor = {**_predictor(inference_service), **({} if store.image else writable_by(serving_runtime))}
    if store.is_for_one:
        kept = [f"--keep={each}" for each in keys_in(inference_service)]
        predictor = _with_arguments(predictor, lambda args: [*args, "--remove-others=0", *kept])
    return _with_volume(inference_service, predictor, store.volume)


def keys_in(inference_service: Object) -> list[str]:
    """The folders that its pods need."""
    starts = f"{FOLDER}/"
    return [each.removeprefix(starts) for each in _arguments(_predictor(inference_service)) if each.startswith(starts)]


def fetchers_in(predictor: Object) -> list[Object]:
    """Its init containers that fetch, in their order."""
    return [each for each in predictor.get("initContainers") or [] if _fetches(each)]


def _fetches(container: Object) -> bool:
    return any(each.get("name") == VOLUME for each in container.get("volumeMounts") or [])


def _arguments(predictor: Object) -> list[str]:
    return [str(argument) for each in fetchers_in(predictor) for argument in each.get("args") or []]


def _with_arguments(predictor: Object, change: Callable[[list[str]], list[str]]) -> Object:
    """Of the first that fetches: what isn't needed goes before anything new is received."""
    first = fetchers_in(predictor)[0]
    changed = {**first, "args": change(first.get("args") or [])}
    return {
        **predictor,
        "initContainers": [changed if each is first else each for each in predictor["initContainers"]],
    }


def _with_volume(inference_service: Object, predictor: Object, source: Object) -> Object:
    volume = {"name": VOLUME, **source}
    volumes = [volume if each.get("name") == VOLUME else each for each in predictor["volumes"]]
    spec = {**inference_service["spec"], "predictor": {**predictor, "volumes": volumes}}
    return {**inference_service, "spec": spec}


def _volumes(inference_service: Object) -> list[Object]:
    return _predictor(inference_service).get("volumes") or []


def _predictor(inference_service: Object) -> Object:
    return (inference_service.get("spec") or {}).get("predictor") or {}
