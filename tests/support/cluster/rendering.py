"""Does step by step what the operator does in its loop: reads the cluster, plans, renders, applies."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import yaml
from slipway.api.llmdeployment import LLMDeployment
from slipway.api.names import FIELD_MANAGER
from slipway.objects.kinds import RESOURCE_CLAIM_TEMPLATE
from slipway.observing.snapshot import Snapshot
from slipway.operator.installation import Installation
from slipway.operator.planning import Plan, make_plan
from slipway.operator.rendering import Desired, render

from support.builders.objects import Object
from support.builders.rendering import shipped_profiles
from support.cluster.kube import Kube


async def rendered(kube: Kube, name: str, **planned: Any) -> Desired:
    """Returns what should exist for an LLMDeployment, given the present state of the cluster. `planned`: what the plan
    has instead."""
    deployment = LLMDeployment.model_validate(await kube.get("llmdeployment", name))
    plan = make_plan(deployment.spec, shipped_profiles(), name=name)
    assert isinstance(plan, Plan), plan
    plan = replace(plan, **planned)
    runtime, predictor = await _runtime(kube, plan.runtime), await kube.find("deployment", f"{name}-predictor")
    snapshot = Snapshot(
        now=datetime.now(UTC),
        runtimes={plan.runtime: runtime} if runtime else {},
        inference_service=await kube.find("inferenceservice", name),
        deployments=(predictor,) if predictor else (),
        kinds=frozenset({RESOURCE_CLAIM_TEMPLATE}),
    )
    desired = render(deployment, plan, snapshot, Installation())
    assert isinstance(desired, Desired), desired
    return desired


async def reconcile_once(kube: Kube, name: str, **planned: Any) -> Desired:
    """Reconciles once: applies everything, and brings the replicas within their bounds."""
    desired = await rendered(kube, name, **planned)
    await strictly_applied(kube, *(child.manifest for child in desired.apply))
    if desired.replicas:
        bounds = desired.replicas
        made = await kube.wait_for("deployment", bounds.deployment, lambda _: True)
        count = made["spec"]["replicas"]
        wanted = min(max(count, bounds.at_least), bounds.at_most)
        if wanted != count:
            await kube.scale("deployment", bounds.deployment, wanted)
    return desired


async def strictly_applied(kube: Kube, *objects: Object, dry_run: bool = False) -> None:
    """Applies server-side as the operator's field manager; a field that the API server doesn't know is an error."""
    text = yaml.safe_dump_all(objects)
    how = ["--server-side", "--force-conflicts", f"--field-manager={FIELD_MANAGER}", "--validate=strict"]
    await kube.run("apply", *how, *(["--dry-run=server"] if dry_run else []), "--filename=-", stdin=text)


async def _runtime(kube: Kube, name: str) -> Object | None:
    return await kube.find("servingruntime", name) or await kube.find("clusterservingruntime", name)
