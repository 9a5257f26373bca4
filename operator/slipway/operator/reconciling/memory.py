"""What the operator remembers of each LLMDeployment between two reconciles. In memory only.

A new leader starts with nothing and applies everything once, which changes nothing where nothing differs (ADR 0005,
ADR 0022). Everything about one LLMDeployment is in one `ModelMemory`, which is dropped by one call.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from slipway.api.model_key import ModelKey
from slipway.api.names import activator_slice_name, compiled_claim_name, weights_claim_name
from slipway.api.reasons import Reason
from slipway.kube.overlay import Overlay
from slipway.objects.kinds import Kind, Object
from slipway.objects.metadata import resource_version_of, uid_of
from slipway.observing.budget import Budget, budget_of
from slipway.observing.ledger import Ledger, Use, used
from slipway.observing.snapshot import Remade
from slipway.operator.reconciling.asking import Question
from slipway.operator.reconciling.cost_metrics import Costs
from slipway.operator.reconciling.model_counts import ModelCounts
from slipway.operator.reconciling.opencost import HeldIn
from slipway.operator.reconciling.planned import Planned
from slipway.operator.reconciling.reference_check import ReferenceCheck
from slipway.operator.rendering import compile_job, hash_of, image_job, inspection
from slipway.operator.rendering.placement import is_template_name
from slipway.operator.rendering.scaling import predictor_deployment

TOO_OFTEN, WITHIN = 5, 60.0
"""This many repairs within this many seconds mean that another program reverts our field each time."""
NO_PLACE = frozenset({Reason.UNSCHEDULABLE, Reason.NO_ACCELERATOR_FITS})
DIGEST = 16  # bytes; forging an object with the same digest would gain nothing

NOTHING_COUNTED = ModelCounts()

NamespacedName = tuple[str, str]


@dataclass(slots=True)
class Applied:
    """What was applied to one object: enough to see whether it, or our wish, has changed since."""

    wanted: bytes  # the digest of what was applied
    answered: bytes  # the digest of the same fields in the API server's answer
    uid: str
    version: int
    repairs: tuple[float, ...] = ()  # the times of the last few

    @classmethod
    def of(cls, wanted: Object, answer: Object, before: Applied | None = None) -> Applied:
        """`before`: of the previous apply; an object that was recreated has no history."""
        repairs = before.repairs if before and before.uid == uid_of(answer) else ()
        answered = _digest({"": projected(answer, wanted)})
        return cls(_digest(wanted), answered, uid_of(answer), resource_version_of(answer), repairs)

    def is_of(self, live: Object, wanted: Object) -> bool:
        """Whether just this was applied to just this object."""
        return self.uid == uid_of(live) and self.wanted == _digest(wanted)

    def has_drifted(self, live: Object, wanted: Object) -> bool:
        """Whether a field that we have set was changed by others."""
        return resource_version_of(live) > self.version and self.answered != _digest({"": projected(live, wanted)})

    def note_repair(self, now: float) -> None:
        self.repairs = (*self.repairs, now)[-TOO_OFTEN:]

    def pause(self, now: float) -> float:
        """The seconds for which the object is left alone, because its fields are reverted each time."""
        return max(0.0, self.repairs[0] + WITHIN - now) if len(self.repairs) == TOO_OFTEN else 0.0


@dataclass(slots=True)
class ModelMemory:
    """All about one LLMDeployment, from its first reconcile until it is gone or another replica has led."""

    uid: str
    applied: dict[Kind, Applied] = field(default_factory=dict)  # there is one child of each kind

    planned: Planned | None = None  # the last plan
    question: Question | None = None  # the last one to the Hub

    # --- about what the cluster forgets ------------------------------------------------------------------------------
    pods_on_nodes: frozenset[str] = frozenset()  # the uids of the pods that had a node
    place_freed_at: datetime | None = None
    remade: Remade | None = None  # as the snapshot has it
    requested: tuple[str, str] | None = None  # digests of the spec and of the pods that were requested last
    named_volumes_at: dict[str, datetime] = field(default_factory=dict)  # as the snapshot has it
    failed_pulls_at: dict[str, datetime] = field(default_factory=dict)  # the same
    scaler_fails_since: datetime | None = None

    # --- about its costs ---------------------------------------------------------------------------------------------
    ledger: Ledger | None = None  # None: the one of the status counts
    budget: Budget | None = None

    # --- about its files ---------------------------------------------------------------------------------------------
    inspection_job: str = ""  # the name of the last Job that was created to read them
    compile_job: str = ""  # the same of Jobs that push an image of compiled code
    image_job: str = ""  # and of those that push one of the model's files

    # --- about its caches --------------------------------------------------------------------------------------------
    refused_claims: dict[str, object] = field(default_factory=dict)
    """The last change of each claim that was refused, by its name, so that it isn't tried again and again."""
    given_up: dict[str, Object] = field(default_factory=dict)
    """What was given up, by the cache's field of the status, which will have it; until then, nothing else says it."""

    # --- about the status --------------------------------------------------------------------------------------------
    status_written_at: float = float("-inf")  # monotonic
    state: tuple[str, str] | None = None  # the state, and the reason of Ready
    caches: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Where each is kept, and why its claim was given up, by its field of the status."""
    unreported: bool = False  # a status was sent whose answer is missing, so its events are missing, too
    reported: Object | None = None  # the last status whose events were recorded, where `unreported`

    counts: ModelCounts = field(default_factory=ModelCounts)  # what metrics count

    # --- about what the spec names -----------------------------------------------------------------------------------
    references: ReferenceCheck | None = None
    claims: tuple[str, ...] = ()  # PersistentVolumeClaims; changed by `Memories.name_claims` alone

    @property
    def waits_for_place(self) -> bool:
        """As of the last reconcile."""
        return self.state is not None and self.state[1] in NO_PLACE


class Memories:
    """The memory of each LLMDeployment, and the index of the PersistentVolumeClaims that their specs name."""

    def __init__(self, overlay: Overlay) -> None:
        self._overlay = overlay
        self._memories: dict[ModelKey, ModelMemory] = {}
        self._claimed_by: dict[NamespacedName, tuple[ModelKey, ...]] = {}

    def __len__(self) -> int:
        return len(self._memories)

    def of(self, key: ModelKey, uid: str) -> ModelMemory:
        """A new one for another object of the same name: nothing of its predecessor applies to it."""
        known = self._memories.get(key)
        if known is None or known.uid != uid:
            self.drop(key)
            known = self._memories[key] = ModelMemory(uid)
        return known

    def drop(self, key: ModelKey) -> None:
        """Forgets everything about the LLMDeployment, our unreported writes of its objects included."""
        if key in self._memories:
            self.name_claims(key, ())
            self._overlay.forget_named(key.namespace, partial(is_of_model, name=key.name))
            del self._memories[key]

    def clear(self) -> None:
        """Another leader may have written since."""
        self._memories.clear()
        self._claimed_by.clear()
        self._overlay.clear()

    def by_state(self) -> Counter[tuple[str, ...]]:
        """How many LLMDeployments there are of each state and reason, as of their last reconcile."""
        return Counter(memory.state for memory in self._memories.values() if memory.state)

    def by_cache(self, cache: str) -> Counter[tuple[str, ...]]:
        """How many LLMDeployments keep what is in it where, and for which reason a claim was given up. `cache`: its
        field of the status."""
        return Counter(memory.caches[cache] for memory in self._memories.values() if cache in memory.caches)

    def counts_of(self, key: ModelKey) -> ModelCounts:
        memory = self._memories.get(key)
        return memory.counts if memory else NOTHING_COUNTED

    def record_use(self, key: ModelKey, uid: str, use: Use | None, now: datetime) -> None:
        """What a pod has done, as it reports; None: it doesn't."""
        memory = self._memories.get(key)
        if memory and memory.ledger:
            memory.ledger = used(memory.ledger, uid, use, now)

    def costs_of(self, key: ModelKey, now: datetime) -> Costs | None:
        """Up to now. They are settled here, too, so that what was exposed once never becomes less."""
        memory = self._memories.get(key)
        if memory is None or memory.ledger is None:
            return None
        memory.ledger = memory.ledger.at(now)
        return Costs(memory.ledger, memory.budget and budget_of(memory.budget.spec, memory.ledger))

    def held(self) -> Iterator[HeldIn]:
        """What pods hold, as of the last reconciles."""
        for key, memory in list(self._memories.items()):
            for each in memory.ledger.held.values() if memory.ledger else ():
                yield HeldIn(key.namespace, each)

    def waiting_for_nodes(self) -> list[ModelKey]:
        """Those for which there was no place, as of their last reconcile."""
        return [key for key, each in self._memories.items() if each.waits_for_place]

    def has_place(self, key: ModelKey) -> bool:
        """Whether one of its pods had a node, as of the last reconcile."""
        return key in self._memories and bool(self._memories[key].pods_on_nodes)

    # --- the index of claims ----------------------------------------------------------------------------------------

    def named_by(self, claim: NamespacedName) -> Iterable[ModelKey]:
        """The LLMDeployments whose specs name the claim; each is known from its first reconcile on."""
        return self._claimed_by.get(claim, ())

    def name_claims(self, key: ModelKey, names: tuple[str, ...]) -> None:
        memory = self._memories[key]
        for name in set(memory.claims) - set(names):
            claim = key.namespace, name
            left = tuple(each for each in self._claimed_by[claim] if each != key)
            if left:
                self._claimed_by[claim] = left
            else:
                del self._claimed_by[claim]
        for name in set(names) - set(memory.claims):
            claim = key.namespace, name
            self._claimed_by[claim] = (*self._claimed_by.get(claim, ()), key)
        memory.claims = names


def is_of_model(text: str, name: str) -> bool:
    """Whether an object that is written for the LLMDeployment `name`, or itself, may have the name `text`."""
    claims = (compiled_claim_name(name), weights_claim_name(name))
    plain = (name, activator_slice_name(name), *claims, predictor_deployment(name))
    is_of_job = any(each.is_job_name(text, name) for each in (inspection, compile_job, image_job))
    return text in plain or is_template_name(text, name) or is_of_job


def projected(live: Any, wanted: Any) -> Any:
    """The fields of `live` that `wanted` names; fields of other writers are left out. Lists count as one value."""
    if isinstance(wanted, Mapping) and isinstance(live, Mapping):
        return {name: projected(live.get(name), value) for name, value in wanted.items()}
    return live


def _digest(fields: Mapping[str, Any]) -> bytes:
    return bytes.fromhex(hash_of(fields))[:DIGEST]
