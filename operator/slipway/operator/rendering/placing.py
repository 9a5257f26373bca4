"""Where a cache of a model is kept now: what it could have, what its pods have, and what was given up. Pure.

The pods' template changes only where that restarts nothing: while the model sleeps, or where its pods are replaced in
any case. One change can't wait: a claim that keeps a replica from running is given up at once. The status of the cache
remembers it, and the claim is made again when the model sleeps the next time.

What both caches share is here; what is special about compiled code is in `compile_cache.py`, about weights in
`model_cache.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from slipway.api.llmdeployment import LLMDeployment
from slipway.api.names import NEXT_TO_ANNOTATION, SYNC_ANNOTATION
from slipway.objects.kinds import PERSISTENT_VOLUME_CLAIM, Object, ObjectKey
from slipway.objects.metadata import annotations_of, is_being_deleted
from slipway.observing import compile_image
from slipway.observing.cache_claim import (
    BOUND,
    LOST,
    Trouble,
    failures_of_volumes,
    is_ours,
    next_moment,
    phase_of,
    trouble_with,
)
from slipway.observing.giving_up import REFUSED, GivenUp
from slipway.observing.pods import Pod, has_ready_pod
from slipway.observing.references import references_of
from slipway.observing.rollout import is_ready_as_the_waiting
from slipway.observing.snapshot import Snapshot
from slipway.operator.planning.compile_cache import Pulled
from slipway.operator.planning.volumes import MANY, Claim, Nowhere, OnNode
from slipway.operator.rendering.compiled_store import Store
from slipway.operator.rendering.desired import Child, Claimed
from slipway.operator.rendering.metadata import child
from slipway.operator.rendering.wanted import Wanted, amount_of, classes_of, digest_of_wanted

TAKEN = "a PersistentVolumeClaim {name} exists that is not Slipway's: delete it, or rename the LLMDeployment"

ONCE_IT_SLEEPS = {
    Claim: "a volume can be added only while no replica runs",
    OnNode: "a folder of the node can be mounted only once no replica runs",
    Pulled: "an image can be mounted only once no replica runs",
}


class Change(StrEnum):
    """Whether the template of the pods may change."""

    FREE = "free"  # there are no pods, or they are replaced in any case
    COSTLY = "costly"  # it would restart pods


@dataclass(frozen=True, kw_only=True)
class Placed:
    """What is rendered of it, and what the status says, `lastStart` left out."""

    store: Store | None = None  # what the pods mount
    claim: Claimed | None = None  # made before the pods need it
    unused: ObjectKey | None = None  # the claim that nothing needs any more
    status: Object | None = None
    stops_first: bool = False  # the pods that can't run end before others are made
    look_again_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Making:
    """How the pods are made."""

    pods: str = ""  # digest of what they are made of
    is_replaced: bool = False  # they are, in any case
    is_older: bool = False  # they are kept as an older release made them, whose runtime may not know a store


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What one cache has now."""

    field: str  # of the status
    nothing: str  # its `kind` where nothing outlives the pods
    name: str  # of the claim
    claim: Object | None  # the one of this name, also of others
    mounted: Store | None  # what the pods mount
    volume: str  # its name in a pod


class Placing:
    """One decision about one cache. Subclasses have the words, and what besides claims there is."""

    def __init__(
        self,
        deployment: LLMDeployment,
        snapshot: Snapshot,
        making: Making,
        kept: Kept,
        wanted: Wanted,
        *,
        is_made: bool,
    ) -> None:
        """`is_made`: whether there are pods, or KServe would make some, as they were decided before."""
        self._deployment, self._snapshot, self._is_older = deployment, snapshot, making.is_older
        self._kept, self._wanted = kept, wanted
        self._classes = classes_of(snapshot)
        self._mounted, self._claim, self._name = kept.mounted, kept.claim, kept.name
        self._change = Change.FREE if making.is_replaced or not is_made or is_asleep(snapshot) else Change.COSTLY
        self._is_taken = bool(self._claim and not is_ours(self._claim, snapshot.llm_deployment))
        self._given_up = GivenUp.of(snapshot, kept.field)
        spec = deployment.spec
        self._takes_turns = spec.scaling.max_replicas == 1 and spec.rollout.strategy in ("Auto", "Recreate")

    # --- what is special of a cache ---------------------------------------------------------------------------------

    def _store_of(self, claim: Claim) -> Store:
        raise NotImplementedError

    def _kept_words(self, shared: str) -> str:
        raise NotImplementedError

    def _costs(self, why: Nowhere | None) -> str:
        """What is lost where nothing outlives the pods."""
        raise NotImplementedError

    def _pulled_words(self) -> str:
        raise NotImplementedError

    def _on_node_words(self) -> str:
        raise NotImplementedError

    def _is_demanded(self) -> bool:
        """Whether replicas wait for its volume, so that it is never given up."""
        return False

    # --- the decision -----------------------------------------------------------------------------------------------

    def placed(self) -> Placed:
        if self._wanted is None and self._mounted is None and not self._has_claim():
            return Placed()
        if trouble := self._trouble():
            return self._spared(trouble) if self._is_well_elsewhere() else self._give_up(trouble)
        if self._is_taken and self._mounted and self._mounted.claim:
            return self._with_the_claim_of_others(self._mounted)
        if self._waits_for_plugin():
            return replace(self._as_wanted(), stops_first=True)
        if self._change is Change.COSTLY or self._is_older:
            return self._as_it_is()
        return self._as_wanted()

    def _as_wanted(self) -> Placed:
        match self._wanted:
            case Claim() as claim:
                return self._with(claim)
            case Pulled() as pulled:
                return self._with_image(pulled)
            case OnNode():
                return self._on_node()
            case nowhere:
                return self._without(nowhere)

    # --- what there is ----------------------------------------------------------------------------------------------

    def _has_claim(self) -> bool:
        return self._claim is not None and not self._is_taken

    def _trouble(self) -> Trouble | None:
        """With the claim that the pods mount, or that they were about to."""
        if self._mounted and self._mounted.image:
            return self._refused_image() or compile_image.trouble_with(self._mounted.image, self._snapshot)
        has_no_claim = self._mounted.is_on_node if self._mounted else isinstance(self._wanted, OnNode)
        if self._is_demanded() or has_no_claim:
            return None
        if (refused := self._snapshot.refused_claims.get(self._name)) and self._claim is None:
            return Trouble(REFUSED, f"the claim {self._name} was refused: {refused}")
        if self._mounted is None or self._claim is None:
            return None
        if self._is_taken and not has_ready_pod(self._snapshot):
            return Trouble("ClaimTaken", TAKEN.format(name=self._name))
        return trouble_with(self._claim, self._snapshot, takes_turns=self._takes_turns, volume=self._kept.volume)

    def _waits_for_plugin(self) -> bool:
        """Whether replicas wait for a folder of their node that none of them gets, because the plugin was removed."""
        if self._mounted is None or not self._mounted.is_on_node or self._snapshot.has_node_plugin:
            return False
        return not has_ready_pod(self._snapshot) and any(
            any(failures_of_volumes(each)) for each in _pods(self._snapshot)
        )

    def _refused_image(self) -> Trouble | None:
        """Where the API server refuses pods with it, none is made, so that no pod says why."""
        refused = self._snapshot.no_image_volumes
        if not refused or self._change is Change.FREE or any(not each.is_over for each in _pods(self._snapshot)):
            return None
        return Trouble("ImageNotMounted", refused)

    def _with_the_claim_of_others(self, store: Store) -> Placed:
        """Replicas that are ready are not restarted because of it; so it is after a restore from a backup."""
        message = f"The claim {self._name}, which its replicas have, is not Slipway's: the next ones start without it."
        return Placed(store=store, status={"kind": "PVC", "claim": self._name, "message": message})

    # --- what there will be -----------------------------------------------------------------------------------------

    def _as_it_is(self) -> Placed:
        """The pods keep what they have, so that nothing restarts."""
        if self._mounted is None:
            return self._without(self._reason_for_later())
        if self._mounted.image:
            return self._pulled(self._mounted.image)
        if self._mounted.is_on_node:
            return self._on_node()
        if kept := self._claim_as_it_is():
            return self._claimed(kept, self._mounted)
        if has_ready_pod(self._snapshot):  # which has its volume, even if others have deleted the claim
            return Placed(store=self._mounted, status=(self._snapshot.status or {}).get(self._kept.field))
        return self._without(self._wanted if isinstance(self._wanted, Nowhere) else None)

    def _claim_as_it_is(self) -> Claim | None:
        if self._claim is not None:
            return _read(self._claim)
        return self._wanted if isinstance(self._wanted, Claim) else None

    def _reason_for_later(self) -> Nowhere | None:
        if self._wanted is None or isinstance(self._wanted, Nowhere):
            return self._wanted
        if self._is_taken and isinstance(self._wanted, Claim):
            return Nowhere(TAKEN.format(name=self._name))
        if self._is_older:
            return Nowhere(
                "its pods were made by an older version of Slipway",
                f"have them remade by the annotation {SYNC_ANNOTATION}",
            )
        if self._given_up and self._given_up.claim == digest_of_wanted(self._wanted):
            return self._suppressed(self._given_up)
        return Nowhere(ONCE_IT_SLEEPS[type(self._wanted)], "it is when the model sleeps")

    def _with(self, wanted: Claim) -> Placed:
        """The pods may change now."""
        if self._is_taken:
            return self._without(Nowhere(TAKEN.format(name=self._name)))
        if suppressed := self._given_up_before(wanted):
            return suppressed
        if self._claim is None:
            return self._claimed(wanted)
        if is_being_deleted(self._claim):
            going = f"the claim {self._name} is being deleted"
            return self._without(Nowhere(going, "it is made again once it is gone"))
        found = _read(self._claim)
        if phase_of(self._claim) == LOST or not self._suits(found, wanted):
            return self._without(Nowhere("the claim is replaced by one that suits the spec"))
        return self._claimed(replace(found, size=max(found.size, wanted.size, key=amount_of)))

    def _with_image(self, wanted: Pulled) -> Placed:
        """The same for an image, which pods can share."""
        return self._given_up_before(wanted) or self._pulled(wanted.image)

    def _given_up_before(self, wanted: Claim | Pulled) -> Placed | None:
        """None: it is tried, or tried again."""
        given_up = self._given_up
        if given_up is None or given_up.claim != digest_of_wanted(wanted) or self._may_try_again(given_up):
            return None
        again = given_up.again_at if given_up.again_at > self._snapshot.now else None
        return self._without(self._suppressed(given_up), look_again_at=again)

    def _may_try_again(self, given_up: GivenUp) -> bool:
        """While it sleeps; and while a try goes on, its pods keep what they mount."""
        if self._mounted is not None:
            return True
        return is_asleep(self._snapshot) and given_up.again_at <= self._snapshot.now

    def _suits(self, found: Claim, wanted: Claim) -> bool:
        """Others may have enlarged it."""
        can_grow = any(each.name == found.storage_class and each.can_grow for each in self._classes or ())
        fits = can_grow or amount_of(found.size) >= amount_of(wanted.size)
        same_class = not wanted.storage_class or found.storage_class == wanted.storage_class
        return fits and same_class and found.access_mode == wanted.access_mode

    def _claimed(self, claim: Claim, store: Store | None = None) -> Placed:
        """`store`: as the pods have it."""
        bound = self._claim is not None and phase_of(self._claim) == BOUND
        is_well = bound and self._mounted is not None and has_ready_pod(self._snapshot)
        given_up = None if is_well else self._given_up
        shared = "shared by all replicas" if claim.access_mode == MANY else "for one replica at a time"
        status = {
            "kind": "PVC",
            "claim": self._name,
            "storageClassName": claim.storage_class or None,
            "accessMode": claim.access_mode,
            "message": self._kept_words(shared),
            "givenUp": given_up.as_status() if given_up else None,
        }
        again = (
            next_moment(self._claim, self._snapshot, takes_turns=self._takes_turns, volume=self._kept.volume)
            if self._claim and self._mounted and not self._is_demanded()
            else None
        )
        is_going = self._claim is not None and is_being_deleted(self._claim)  # once no pod has it any more
        return Placed(
            store=store or self._store_of(claim),
            claim=None if is_going else Claimed(self._child(claim), self._is_demanded()),
            status=_without_unknown(status),
            look_again_at=again,
        )

    def _child(self, claim: Claim) -> Child:
        of_class = {"storageClassName": claim.storage_class} if claim.storage_class else {}
        requests = {"storage": claim.size}
        next_to = self._next_to()
        return child(
            PERSISTENT_VOLUME_CLAIM,
            self._deployment,
            name=self._name,
            annotations={NEXT_TO_ANNOTATION: next_to} if next_to else {},
            spec={"accessModes": [claim.access_mode], "resources": {"requests": requests}, **of_class},
        )

    def _next_to(self) -> str:
        """The names of the claims that the pods had besides when it was created."""
        if self._claim is not None:
            return annotations_of(self._claim).get(NEXT_TO_ANNOTATION, "")
        references = references_of(self._deployment.spec)
        return ",".join(sorted({each.name for each in references if each.kind == PERSISTENT_VOLUME_CLAIM.name}))

    def _pulled(self, image: str) -> Placed:
        is_well = self._mounted is not None and self._mounted.image == image and has_ready_pod(self._snapshot)
        given_up = None if is_well else self._given_up
        status = {
            "kind": "Image",
            "image": image,
            "message": self._pulled_words(),
            "givenUp": given_up.as_status() if given_up else None,
        }
        return Placed(
            store=Store(image=image),
            unused=self._unused(),
            status=_without_unknown(status),
            look_again_at=compile_image.next_moment(image, self._snapshot),
        )

    def _on_node(self) -> Placed:
        status = {"kind": "Node", "message": self._on_node_words()}
        return Placed(store=Store(is_on_node=True), unused=self._unused(), status=status)

    def _without(self, why: Nowhere | None, *, look_again_at: datetime | None = None) -> Placed:
        if self._wanted is None:
            return Placed(unused=self._unused())
        given_up = self._given_up if isinstance(self._wanted, Claim | Pulled) else None
        status = {
            "kind": self._kept.nothing,
            "message": self._costs(why),
            "givenUp": given_up.as_status() if given_up else None,
        }
        return Placed(unused=self._unused(), status=_without_unknown(status), look_again_at=look_again_at)

    def _unused(self) -> ObjectKey | None:
        if self._claim is None or self._is_taken or is_being_deleted(self._claim):
            return None
        return ObjectKey(PERSISTENT_VOLUME_CLAIM, self._deployment.metadata.namespace, self._name)

    # --- giving up --------------------------------------------------------------------------------------------------

    def _is_well_elsewhere(self) -> bool:
        """Whether replicas as the waiting ones share it and are ready: giving up would restart all of them."""
        kept = self._claim_as_it_is()
        is_shared = self._mounted and (self._mounted.image or (kept and kept.access_mode == MANY))
        return self._change is Change.COSTLY and bool(is_shared) and is_ready_as_the_waiting(self._snapshot)

    def _spared(self, trouble: Trouble) -> Placed:
        placed = self._as_it_is()
        more = f"A replica can't start with it, while others are ready and keep it: {trouble.message}."
        status = placed.status or {}
        return replace(placed, status={**status, "message": f"{status.get('message', '')} {more}".strip()[:1024]})

    def _give_up(self, trouble: Trouble) -> Placed:
        """The pods that wait for the volume end first, so that their places are free; none of them is ready, or the
        volume would be well."""
        given_up = self._newly_given_up(trouble)
        status = {
            "kind": self._kept.nothing,
            "message": self._costs(self._suppressed(given_up)),
            "givenUp": given_up.as_status(),
        }
        return Placed(
            unused=self._unused(),
            status=_without_unknown(status),
            stops_first=self._mounted is not None and not has_ready_pod(self._snapshot),
        )

    def _newly_given_up(self, trouble: Trouble) -> GivenUp:
        """One that the status doesn't have yet isn't another try."""
        wanted = digest_of_wanted(self._wanted) if isinstance(self._wanted, Claim | Pulled) else ""
        before = self._given_up if self._given_up and self._given_up.claim == wanted else None
        if before and self._kept.field in self._snapshot.given_up:
            return before
        return GivenUp(
            reason=trouble.reason,
            message=f"{trouble.message[0].upper()}{trouble.message[1:]}."[:1024],
            tries=before.tries + 1 if before else 1,
            at=self._snapshot.now.replace(microsecond=0),
            claim=wanted,
        )

    def _suppressed(self, given_up: GivenUp) -> Nowhere:
        when = f", from {given_up.again_at:%Y-%m-%d %H:%M} UTC on" if given_up.again_at > given_up.at else ""
        why = f"{given_up.message[0].lower()}{given_up.message[1:].rstrip('.')}"
        again = "the image is mounted" if isinstance(self._wanted, Pulled) else "the claim is made"
        return Nowhere(why, f"{again} again when the model sleeps{when}")


def because(sentence: str, why: Nowhere | None) -> str:
    """What is lost, why, and what would change it."""
    if why is None:
        return f"{sentence}."
    remedy = f" {why.remedy[0].upper()}{why.remedy[1:]}." if why.remedy else ""
    return f"{sentence}: {why.why.rstrip('.')}.{remedy}"[:1024]


def is_asleep(snapshot: Snapshot) -> bool:
    """Whether no pod runs or is wanted, so that a change of the template restarts nothing."""
    if not snapshot.deployments or any(int(each["spec"].get("replicas", 1)) for each in snapshot.deployments):
        return False
    return all(each.is_over for each in _pods(snapshot))


def _pods(snapshot: Snapshot) -> list[Pod]:
    return [Pod(raw, snapshot) for raw in snapshot.pods]


def _read(claim: Object) -> Claim:
    spec = claim.get("spec") or {}
    requests = (spec.get("resources") or {}).get("requests") or {}
    modes = spec.get("accessModes") or ["ReadWriteOncePod"]
    return Claim(
        storage_class=str(spec.get("storageClassName") or ""),
        access_mode=modes[0],
        size=str(requests.get("storage") or "0"),
    )


def _without_unknown(fields: Object) -> Object:
    return {name: each for name, each in fields.items() if each is not None}
