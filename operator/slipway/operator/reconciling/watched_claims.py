"""What is watched of PersistentVolumeClaims and StorageClasses. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from slipway.api.model_key import ModelKey
from slipway.api.names import ACCESS_MODES_ANNOTATION, NEXT_TO_ANNOTATION, model_of_claim
from slipway.kube.store import place_of
from slipway.objects.kinds import Object
from slipway.observing.keeping import OF_METADATA, WHICH, named, picked
from slipway.operator.planning.volumes import DEFAULT_ANNOTATIONS

OF_OURS = ("accessModes", "storageClassName", "resources", "volumeName")


def concerned_by_claim(
    claim: Object, *, on_claim: Callable[[Object], Iterable[ModelKey]] = lambda _: ()
) -> Iterable[ModelKey]:
    """Those whose specs name it, and the one whose compiled code or files it has, or in whose way it is."""
    namespace, name = place_of(claim)
    model = model_of_claim(name)
    return {*on_claim(claim), *([ModelKey(namespace, model)] if model else [])}


def stored_of_claim(claim: Object) -> Object:
    """Of one that may be ours, also whose it is, and what was claimed."""
    if model_of_claim(claim["metadata"]["name"]):
        kept = named(claim, "ownerReferences", "finalizers")
        kept["metadata"]["annotations"] = picked(claim["metadata"].get("annotations") or {}, (NEXT_TO_ANNOTATION,))
        return {
            **kept,
            "spec": picked(claim.get("spec") or {}, OF_OURS),
            "status": {"phase": (claim.get("status") or {}).get("phase", "")},
        }
    metadata = {name: claim["metadata"].get(name) for name in (*WHICH, "creationTimestamp")}
    return {
        "metadata": metadata,
        "spec": picked(claim.get("spec") or {}, ("accessModes", "storageClassName")),
        "status": {"phase": (claim.get("status") or {}).get("phase", "")},
    }


def stored_of_storage_class(found: Object) -> Object:
    notes = picked(found["metadata"].get("annotations") or {}, (*DEFAULT_ANNOTATIONS, ACCESS_MODES_ANNOTATION))
    metadata = {**picked(found["metadata"], OF_METADATA), "annotations": notes}
    return {**picked(found, ("provisioner", "allowVolumeExpansion", "volumeBindingMode")), "metadata": metadata}
