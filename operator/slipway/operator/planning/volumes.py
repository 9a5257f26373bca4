"""Which volume a cache of a model can have: the spec and the storage classes → what to claim, or why nothing. Pure.

A volume must never keep a replica from running. So `Auto` claims one for several pods where the storage class is known
for it, one for a single pod where there is never a second one next to it, and none elsewhere (ADR 0033).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from slipway.api.kubernetes import AccessMode
from slipway.api.llmdeployment import LLMDeploymentSpec
from slipway.api.names import ACCESS_MODES_ANNOTATION
from slipway.objects.kinds import Object
from slipway.objects.metadata import annotations_of, name_of

MANY: AccessMode = "ReadWriteMany"
ONE_POD: AccessMode = "ReadWriteOncePod"
SHARING = (
    r"(.+\.)?cephfs\.csi\.ceph\.com",  # Rook puts the namespace of its operator before it
    r"beegfs\.csi\.netapp\.com",
    r"csi\.juicefs\.com",
    r"csi\.weka\.io",
    r"efs\.csi\.aws\.com",
    r"file\.csi\.azure\.com",
    r"filestore\.csi\.storage\.gke\.io",
    r"fsx\.csi\.aws\.com",
    r"k8s-sigs\.io/nfs-subdir-external-provisioner",
    r"nfs\.csi\.k8s\.io",
    r"spectrumscale\.csi\.ibm\.com",
)
"""Provisioners of nothing but file systems which pods of all nodes can share; docs/compile-cache.md lists them."""
_SHARES = re.compile("|".join(SHARING))
NO_PROVISIONER = "kubernetes.io/no-provisioner"  # volumes of such a class are made by hand
DEFAULT_ANNOTATIONS = (
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
)
NO_VOLUMES = "0"
ANNOTATE = f"annotate a StorageClass whose volumes pods of all nodes can share with {ACCESS_MODES_ANNOTATION}: {MANY}"


@dataclass(frozen=True, kw_only=True)
class SiteStorage:
    """What the installation says of the volumes of one cache; empty: nothing."""

    size: str = "10Gi"  # NO_VOLUMES: none are claimed
    storage_class: str = ""
    shared_class: str = ""


@dataclass(frozen=True, kw_only=True)
class StorageClass:
    """What is read of one."""

    name: str
    provisioner: str = ""
    is_default: bool = False
    created: str = ""
    can_grow: bool = False
    is_shared: bool = False  # pods of all nodes can share its volumes

    @classmethod
    def of(cls, raw: Object) -> StorageClass:
        notes, provisioner = annotations_of(raw), str(raw.get("provisioner") or "")
        modes = re.split(r"[\s,]+", notes.get(ACCESS_MODES_ANNOTATION, ""))
        return cls(
            name=name_of(raw),
            provisioner=provisioner,
            is_default=any(notes.get(each) == "true" for each in DEFAULT_ANNOTATIONS),
            created=str(raw["metadata"].get("creationTimestamp") or ""),
            can_grow=raw.get("allowVolumeExpansion") is True,
            is_shared=MANY in modes if ACCESS_MODES_ANNOTATION in notes else bool(_SHARES.fullmatch(provisioner)),
        )


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A volume to claim."""

    storage_class: str  # empty: the cluster's default, which is unknown
    access_mode: AccessMode
    size: str


@dataclass(frozen=True)
class Nowhere:
    """Nothing outlives the pod: why, and what would change it; both are parts of a sentence."""

    why: str
    remedy: str = ""


@dataclass(frozen=True)
class OnNode:
    """A folder of the pod's node, by the node plugin."""


Classes = Collection[StorageClass] | None
"""None: the operator may not read them."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a spec says of the volume of one of its caches."""

    field: str  # of the spec, for sentences
    value: str  # of the chart
    size: str
    storage_class: str | None = None
    access_mode: AccessMode | None = None
    shared_size: str = ""  # of one that several pods share, if it isn't the same


def no_volumes(asked: Asked) -> Nowhere:
    remedy = f"its administrator can change that by the chart's value {asked.value}.claims"
    return Nowhere("this installation of Slipway claims no volumes", remedy)


def automatic(spec: LLMDeploymentSpec, asked: Asked, classes: Classes, site: SiteStorage) -> Claim | Nowhere:
    """One that never keeps a replica from running."""
    if shared := _shared_class(asked, classes, site):
        return _claim(asked, shared, MANY)
    name = _class_for_one(asked, classes, site)
    if not name or _is_made_by_hand(name, classes):
        return _no_class(asked, classes)
    return _reason_against_one(spec, name) or _needs_no_replica(spec, asked, name) or _claim(asked, name, ONE_POD)


def as_asked(spec: LLMDeploymentSpec, asked: Asked, classes: Classes, site: SiteStorage) -> Claim | Nowhere:
    """What the user has requested may delay a rollout."""
    shared = _shared_class(asked, classes, site)
    mode = asked.access_mode or (MANY if shared else ONE_POD)
    name = (shared if mode == MANY else "") or _class_for_one(asked, classes, site)
    if not name and classes is not None:
        return _no_class(asked, classes)
    if mode == MANY:
        return _claim(asked, name, MANY)
    return _reason_against_one(spec, name) or _claim(asked, name, ONE_POD)


def _claim(asked: Asked, name: str, mode: AccessMode) -> Claim:
    size = (asked.shared_size if mode == MANY else "") or asked.size
    return Claim(storage_class=name, access_mode=mode, size=size)


# --- which class ------------------------------------------------------------------------------------------------------


def _shared_class(asked: Asked, classes: Classes, site: SiteStorage) -> str:
    """The class whose volumes all replicas can share; empty: none is known."""
    shared = [each for each in classes or () if each.is_shared]
    if wanted := asked.storage_class:
        return wanted if wanted == site.shared_class or any(each.name == wanted for each in shared) else ""
    if site.shared_class:
        return site.shared_class
    return _first(shared, site.storage_class)


def _class_for_one(asked: Asked, classes: Classes, site: SiteStorage) -> str:
    named = asked.storage_class or site.storage_class
    return named or _default(classes or ())


def _default(classes: Iterable[StorageClass]) -> str:
    """Of several defaults, Kubernetes takes the newest, and of those the first by name."""
    found = sorted((each for each in classes if each.is_default), key=lambda each: each.name)
    return max(found, key=lambda each: each.created).name if found else ""


def _first(classes: Iterable[StorageClass], preferred: str) -> str:
    """The same one each time, whatever the order."""
    found = sorted(classes, key=lambda each: (each.name != preferred, not each.is_default, each.name))
    return found[0].name if found else ""


def _is_made_by_hand(name: str, classes: Classes) -> bool:
    return any(each.name == name and each.provisioner == NO_PROVISIONER for each in classes or ())


# --- why not ----------------------------------------------------------------------------------------------------------


def _no_class(asked: Asked, classes: Classes) -> Nowhere:
    if classes is None:
        return Nowhere(
            "the operator may not read StorageClasses, and none is named",
            f"name one in {asked.field}.storageClassName, or in the chart's value {asked.value}.storageClassName",
        )
    return Nowhere(
        "the cluster has no StorageClass that provisions volumes and is its default, or is known for ReadWriteMany",
        f"name one in {asked.field}.storageClassName, or {ANNOTATE}",
    )


def _reason_against_one(spec: LLMDeploymentSpec, name: str) -> Nowhere | None:
    """Why a volume for one pod at a time would keep a replica from running."""
    scaling, strategy = spec.scaling, spec.rollout.strategy
    many = f"StorageClass {name or 'of the cluster'} is not known for {MANY}"
    if scaling.max_replicas > 1:
        return Nowhere(f"{many}, and scaling.maxReplicas is {scaling.max_replicas}", f"{ANNOTATE}, or let it be 1")
    if strategy in ("Surge", "Canary"):
        return Nowhere(
            f"{many}, and rollout.strategy {strategy} starts the new replica next to the old one",
            f"{ANNOTATE}, or let it be Auto or Recreate",
        )
    return None


def _needs_no_replica(spec: LLMDeploymentSpec, asked: Asked, name: str) -> Nowhere | None:
    """A model that never sleeps would stop its replica before each rollout, only because of the volume."""
    if spec.scaling.min_replicas == 0:
        return None
    return Nowhere(
        f"StorageClass {name} is not known for {MANY}, and scaling.minReplicas is {spec.scaling.min_replicas}, so "
        "that a rollout would have to stop the old replica first",
        f"{ANNOTATE}, or set {asked.field}.kind to PVC",
    )
