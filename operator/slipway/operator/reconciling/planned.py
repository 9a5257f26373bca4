"""The plan of one LLMDeployment, which is made again only when something that it depends on has changed. Pure.

A plan looks at every profile, which takes milliseconds; most reconciles change nothing that concerns it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from slipway.api.acceleratorprofile import AcceleratorProfile
from slipway.api.llmdeployment import LLMDeployment, LLMDeploymentSpec
from slipway.api.status import ModelStatus
from slipway.models.catalogue import Catalogue
from slipway.models.facts import Model
from slipway.models.sources import EMPTY, Known, known_of
from slipway.observing.inspection_record import facts_for, of_files, source_of
from slipway.observing.pods import without_place_since
from slipway.observing.snapshot import Snapshot
from slipway.operator.planning import Plan, Running, Supply, Unplannable, make_plan
from slipway.operator.planning.measured import Measured, Measurements, identity_of, measured_in
from slipway.operator.rendering.pinning import is_as_made
from slipway.operator.rendering.placement import mentions_spot

NOTHING_READ = ModelStatus()
PATIENCE = timedelta(seconds=30)
"""A pod that replaces another finds no place until that one is gone, and the scheduler has tried again."""


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """All that a plan depends on. What comes from caches is compared by identity: a change makes new objects there.

    It is kept for each LLMDeployment. Of the spec, whose objects take 10 kB, that is a digest.
    """

    uid: str
    spec: bytes
    profiles: tuple[AcceleratorProfile, ...]
    supply: Supply
    running: Running | None
    measured: Measured | None
    runtimes: Mapping[str, str]
    files: tuple[str | None, str | None]  # what was read of the model's files, or the Hub says, and which of them
    site: Catalogue  # a site's own models

    def are_those_of(self, other: Inputs) -> bool:
        mine = (self.uid, self.spec, self.running, self.measured, self.runtimes, self.files)
        others = (other.uid, other.spec, other.running, other.measured, other.runtimes, other.files)
        is_same_supply = self.supply is other.supply or self.supply == other.supply
        is_same_site = self.site is other.site
        return mine == others and is_same_supply and is_same_site and _are_the_same(self.profiles, other.profiles)


@dataclass(frozen=True)
class Planned:
    """A plan, and what it was made from."""

    plan: Plan | Unplannable
    known: Known
    inputs: Inputs


def planned(
    snapshot: Snapshot,
    deployment: LLMDeployment,
    supply: Supply,
    before: Planned | None,
    record: ModelStatus = NOTHING_READ,
    site: Catalogue = EMPTY,
) -> Planned:
    """`before`: the last one of this LLMDeployment; `record`: what was read of the model's files, or the Hub says;
    `site`: the models of a site."""
    inputs = Inputs(
        uid=snapshot.uid,
        spec=_digest(deployment.spec),
        profiles=snapshot.profiles,
        supply=supply,
        running=_running(snapshot, deployment, supply),
        measured=measured_in(snapshot.status),
        files=(record.facts, record.evidence),
        site=site,
        runtimes={name: identity_of(runtime) for name, runtime in snapshot.runtimes.items()},
    )
    if before and inputs.are_those_of(before.inputs):
        return before
    spec = deployment.spec
    facts = facts_for(record, source_of(deployment))
    read, told = (facts, None) if of_files(record) else (None, facts)
    known = known_of(
        spec.model.uri,
        spec.model.facts,
        inspection=read,
        site=site,
        hub=told,
        quantization=spec.engine.quantization,
        task=spec.model.task,
    )
    plan = make_plan(
        spec,
        inputs.profiles,
        name=deployment.metadata.name,
        known=known,
        draft=_draft(deployment, site),
        supply=supply,
        running=inputs.running,
        measurements=Measurements(inputs.measured, spec, known.model, inputs.runtimes),
    )
    return Planned(_with_problems(plan, known), known, inputs)


def _digest(spec: LLMDeploymentSpec) -> bytes:
    written = spec.model_dump_json(exclude_defaults=True)
    return hashlib.sha256(written.encode()).digest()


def _with_problems(plan: Plan | Unplannable, known: Known) -> Plan | Unplannable:
    """What of spec.model.facts contradicts the rest."""
    if isinstance(plan, Unplannable):
        return replace(plan, message=" ".join([plan.message, *known.problems]))
    return replace(plan, warnings=(*plan.warnings, *known.problems))


def _draft(deployment: LLMDeployment, site: Catalogue) -> Model | None:
    """What is known of the draft model."""
    speculative = deployment.spec.engine.speculative
    return known_of(speculative.model, site=site).model if speculative and speculative.model else None


def moves_at(snapshot: Snapshot, supply: Supply) -> datetime | None:
    """When it may move, if what is free is read then: its pods find no place. None: it may already, or has one."""
    since = without_place_since(snapshot)
    if since is None or (supply.read_at and supply.read_at >= (since + PATIENCE).timestamp()):
        return None
    return since + PATIENCE


def _running(snapshot: Snapshot, deployment: LLMDeployment, supply: Supply) -> Running | None:
    """Where the pods are, by what they were made from. Without pods, or if no node has had room for any for a while,
    that counts only where they admit nodes that the spec doesn't."""
    made = (snapshot.status or {}).get("made")
    if not isinstance(made, dict) or not made.get("accelerator"):
        return None
    name, devices = str(made["accelerator"]), made.get("gpusPerReplica")
    has_pods = bool(snapshot.pods) and not _finds_no_place(snapshot, supply)
    admits_both = _admit_both(snapshot, deployment, name, supply)
    if not has_pods and not admits_both:
        return None
    count = devices if isinstance(devices, int) and devices > 0 else 1
    return Running(name, count, has_pods=has_pods, admits_both=admits_both)


def _admit_both(snapshot: Snapshot, deployment: LLMDeployment, name: str, supply: Supply) -> bool:
    """Whether the pods were made before spot nodes were distinguished, and the spec requests no others.

    A profile with spot labels of its own distinguished them before. Digests are computed only where it matters.
    """
    spot = deployment.spec.accelerator.spot
    profile = next((each for each in snapshot.profiles if each.metadata.name == name), None)
    if profile is None or profile.spec.spot is not None or supply.of(name, spot) == supply.of(name):
        return False
    return not mentions_spot(snapshot.inference_service or {}, spot) and is_as_made(deployment, snapshot)


def _finds_no_place(snapshot: Snapshot, supply: Supply) -> bool:
    return without_place_since(snapshot) is not None and moves_at(snapshot, supply) is None


def _are_the_same(some: tuple[AcceleratorProfile, ...], others: tuple[AcceleratorProfile, ...]) -> bool:
    return len(some) == len(others) and all(one is other for one, other in zip(some, others, strict=True))
