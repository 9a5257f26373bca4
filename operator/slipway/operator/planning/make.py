"""Chooses the accelerator profile, and the resources to run on it.

A first version: it takes profiles by name, in the spec's order, and ignores the model's size. The plan's `why` says so.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from slipway.api.acceleratorprofile import AcceleratorProfile
from slipway.api.llmdeployment import LLMDeploymentSpec
from slipway.api.reasons import Reason
from slipway.contract.engines import LLAMACPP
from slipway.operator.planning.concurrency import concurrency, why_so_many
from slipway.operator.planning.engines import CPU, needs_devices, runtime_for
from slipway.operator.planning.plan import Plan, Unplannable
from slipway.operator.planning.resources import (
    cost,
    devices,
    node_selector,
    parallelism,
    requested,
    runtime_class,
    tolerations,
)

NOT_LOOKED_AT = "Whether the model fits into the memory was not looked at."


def make_plan(spec: LLMDeploymentSpec, profiles: Iterable[AcceleratorProfile], *, name: str) -> Plan | Unplannable:
    """The plan for the deployment `name`, or one sentence on why there is none."""
    known = {profile.metadata.name: profile for profile in profiles}
    if spec.accelerator.profiles:
        return _first_that_fits(spec, spec.accelerator.profiles, known)
    if needs_devices(spec.engine.name):
        return Unplannable(Reason.NO_ACCELERATOR_FITS, _no_profile_named(known, name))
    return _on_cpu(spec, known, name) if spec.engine.name == LLAMACPP.name else _by_its_own_runtime(spec)


def _by_its_own_runtime(spec: LLMDeploymentSpec) -> Plan:
    engine = spec.engine.name
    why = f"The spec names no accelerator profile, so the ServingRuntime {engine} itself says what it needs."
    return _planned(spec, None, why=(why, NOT_LOOKED_AT))


def _on_cpu(spec: LLMDeploymentSpec, known: dict[str, AcceleratorProfile], name: str) -> Plan | Unplannable:
    cpus = sorted((each for each in known.values() if each.spec.vendor == CPU), key=cost)
    if not cpus:
        return Unplannable(
            Reason.PROFILE_MISSING,
            f"{name} runs on CPUs, and there is no AcceleratorProfile of vendor CPU: "
            "let Slipway's chart bring it (accelerators.vendors.cpu), or write one.",
        )
    plan = _first_that_fits(spec, [profile.metadata.name for profile in cpus], known)
    if isinstance(plan, Unplannable):
        return plan
    why = (f"{plan.profile}: llamacpp runs on CPUs, and this is the cheapest profile of a CPU.", *plan.why[1:])
    return replace(plan, why=why)


def _first_that_fits(
    spec: LLMDeploymentSpec, names: list[str], known: dict[str, AcceleratorProfile]
) -> Plan | Unplannable:
    rejected: list[str] = []
    for each in names:
        profile = known.get(each)
        objection = why_not(spec, profile) if profile else "there is no AcceleratorProfile of this name"
        if profile and not objection:
            return _planned(spec, profile, why=_why(spec, each), rejected=tuple(rejected))
        rejected.append(f"{each}: {objection}.")
    missing = all(each not in known for each in names)
    return Unplannable(
        Reason.PROFILE_MISSING if missing else Reason.NO_ACCELERATOR_FITS,
        f"No accelerator profile of the spec can be taken. {' '.join(rejected)} "
        f"Name another in accelerator.profiles{_there_are(known)}.",
    )


def why_not(spec: LLMDeploymentSpec, profile: AcceleratorProfile) -> str:
    """What keeps this engine from running there, in half a sentence; empty when nothing does."""
    engine, facts, wanted = spec.engine.name, profile.spec, devices(spec, profile)
    if runtime_for(engine, facts.vendor) is None:
        return f"{engine} doesn't run on hardware of vendor {facts.vendor}"
    if facts.device_class:
        return f"its devices are claimed by the device class {facts.device_class}, which Slipway doesn't do yet"
    if wanted > facts.devices_per_node:
        return f"a replica wants {wanted} devices, and a node has {facts.devices_per_node} for it at most"
    if spec.accelerator.spot == "Required" and not facts.spot:
        return "the spec requires spot nodes, and the profile has none"
    return ""


def _planned(
    spec: LLMDeploymentSpec, profile: AcceleratorProfile | None, *, why: tuple[str, ...], rejected: tuple[str, ...] = ()
) -> Plan:
    engine = spec.engine.name
    tensor, pipeline = parallelism(spec)
    vendor = profile.spec.vendor if profile else ""
    at_a_time = concurrency(spec, profile)
    return Plan(
        engine=engine,
        runtime=runtime_for(engine, vendor) or engine,
        profile=profile.metadata.name if profile else "",
        vendor=vendor,
        tensor=tensor,
        pipeline=pipeline,
        gpus_per_replica=devices(spec, profile) if profile and vendor != CPU else 0,
        max_concurrency=at_a_time,
        resources=requested(spec, profile),
        node_selector=node_selector(spec, profile),
        tolerations=tolerations(spec, profile),
        runtime_class=runtime_class(spec, profile),
        why=(*why, *why_so_many(spec, at_a_time)),
        rejected=rejected,
    )


def _why(spec: LLMDeploymentSpec, profile: str) -> tuple[str, ...]:
    first = f"{profile}: the first profile of the spec on which {spec.engine.name} runs."
    policy = spec.accelerator.policy
    if policy == "InOrder" or len(spec.accelerator.profiles) < 2:
        return first, NOT_LOOKED_AT
    return first, f"The policy {policy} was not followed: profiles are taken in the spec's order so far.", NOT_LOOKED_AT


def _no_profile_named(known: dict[str, AcceleratorProfile], name: str) -> str:
    return (
        f"Slipway can't choose an accelerator for {name} on its own yet: "
        f"name one or more in accelerator.profiles{_there_are(known)}."
    )


def _there_are(known: dict[str, AcceleratorProfile]) -> str:
    if not known:
        return " (there are none: let Slipway's chart bring them, by accelerators.vendors)"
    return f" (there are {', '.join(sorted(known))})"
