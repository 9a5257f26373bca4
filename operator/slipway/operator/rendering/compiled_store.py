"""The store of compiled code in an InferenceService: its volume, its mount and the option of slipway-runtime. Pure.

It is no part of what an upgrade keeps (`pinning.py`): it is taken out before that is compared, and put in afterwards.
"""

from __future__ import annotations

import re
from decimal import Decimal
from itertools import takewhile
from typing import Any, NamedTuple

from slipway.api import units
from slipway.contract.engines import ENGINES
from slipway.contract.pod import COMPILED_FOLDER
from slipway.objects.kinds import Object
from slipway.observing.cache_claim import VOLUME
from slipway.operator.planning.volumes import Claim
from slipway.operator.rendering.runtimes import engine_container

USED = Decimal("0.8")  # of the volume
OPTIONS = tuple(each.compile_cache for each in ENGINES.values() if each.compile_cache)
OF_STORES = re.compile(rf"({'|'.join(OPTIONS)})(={COMPILED_FOLDER}|-limit=(?P<limit>[0-9]+))")
"""Arguments that are written here, which come first."""


class Store(NamedTuple):
    """What is mounted: a claim, or an image with its digest. A change replaces pods."""

    claim: str = ""
    limit: int = 0  # bytes that slipway-runtime keeps in it; 0: its own default
    image: str = ""
    is_for_one: bool = False  # one pod at a time has the claim, so that it may remove what it doesn't need

    @property
    def volume(self) -> Object:
        if self.image:
            return {"image": {"reference": self.image, "pullPolicy": "IfNotPresent"}}
        return {"persistentVolumeClaim": {"claimName": self.claim}}

    @property
    def mount(self) -> Object:
        return {"name": VOLUME, "mountPath": COMPILED_FOLDER, **({"readOnly": True} if self.image else {})}

    @classmethod
    def of(cls, claim: Claim, name: str) -> Store:
        """Room is left for what a file system takes for itself, and for what is being written."""
        return cls(name, int(units.amount(claim.size) * USED))


def store_in(inference_service: Object) -> Store | None:
    predictor = _predictor(inference_service)
    for volume in predictor.get("volumes") or []:
        if volume.get("name") != VOLUME:
            continue
        if image := (volume.get("image") or {}).get("reference"):
            return Store(image=str(image))
        if claim := (volume.get("persistentVolumeClaim") or {}).get("claimName"):
            ours, _ = _divided((predictor.get("model") or {}).get("args") or [])
            limits = (found["limit"] for each in ours if (found := OF_STORES.fullmatch(each)) and found["limit"])
            return Store(str(claim), int(next(limits, 0)))
    return None


def _divided(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Those that are written here, and the others."""
    ours = list(takewhile(OF_STORES.fullmatch, arguments))
    return ours, arguments[len(ours) :]


def without_store_options(arguments: list[str]) -> list[str]:
    """Wherever they are: in a pod, those of its runtime come first."""
    return [each for each in arguments if not OF_STORES.fullmatch(each)]


def without_store(inference_service: Object) -> Object:
    predictor = _predictor(inference_service)
    if not any(each.get("name") == VOLUME for each in predictor.get("volumes") or []):
        return inference_service
    model = predictor.get("model") or {}
    bare = {
        **{name: each for name, each in predictor.items() if name != "securityContext"},
        "volumes": [each for each in predictor["volumes"] if each.get("name") != VOLUME],
        "model": _given(
            model,
            args=_divided(model.get("args") or [])[1],
            volumeMounts=[each for each in model.get("volumeMounts") or [] if each.get("name") != VOLUME],
        ),
    }
    return _with_predictor(inference_service, _given(bare, volumes=bare["volumes"]))


def with_store(inference_service: Object, store: Store | None, engine: str, serving_runtime: Object) -> Object:
    if store is None or not ENGINES[engine].compile_cache:
        return inference_service
    predictor = _predictor(inference_service)
    model: Object = predictor["model"]
    option = ENGINES[engine].compile_cache
    arguments = [f"{option}={COMPILED_FOLDER}", *([f"{option}-limit={store.limit}"] if store.limit else [])]
    volume = {"name": VOLUME, **store.volume}
    mounted = {
        **predictor,
        **({} if store.image else writable_by(serving_runtime)),
        "volumes": [*(predictor.get("volumes") or []), volume],
        "model": {
            **model,
            "args": [*arguments, *(model.get("args") or [])],
            "volumeMounts": [*(model.get("volumeMounts") or []), store.mount],
        },
    }
    return _with_predictor(inference_service, mounted)


def writable_by(serving_runtime: Object) -> Object:
    """The file systems of most volumes belong to root. Where the cluster chooses the user of a runtime, so does it the
    group."""
    user = engine_container(serving_runtime).get("securityContext") or {}
    group = user.get("runAsGroup") or user.get("runAsUser")
    # Only if the root folder isn't the group's already: otherwise each start would change every file of every volume.
    return {"securityContext": {"fsGroup": group, "fsGroupChangePolicy": "OnRootMismatch"}} if group else {}


def _predictor(inference_service: Object) -> Object:
    return (inference_service.get("spec") or {}).get("predictor") or {}


def _with_predictor(inference_service: Object, predictor: Object) -> Object:
    return {**inference_service, "spec": {**inference_service["spec"], "predictor": predictor}}


def _given(fields: Object, **lists: list[Any]) -> Object:
    """With these lists, without those that are empty."""
    others = {name: each for name, each in fields.items() if name not in lists}
    return {**others, **{name: each for name, each in lists.items() if each}}
