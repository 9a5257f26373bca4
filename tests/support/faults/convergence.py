"""The promise that every fault is tested against: in the end, everything is as the LLMDeployments want it, and stays
so.

The desired objects are planned and rendered from scratch, from what the cluster has. They exist if applying them, as
the operator does, would change nothing: so fields are compared after the API server's defaulting, and fields that are
no longer desired are found too.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from slipway.api.acceleratorprofile import AcceleratorProfile
from slipway.api.llmdeployment import LLMDeployment
from slipway.api.names import FIELD_MANAGER, KIND
from slipway.observing.snapshot import Snapshot
from slipway.operator.installation import Installation
from slipway.operator.planning import Plan, make_plan
from slipway.operator.rendering import Desired, render
from slipway.operator.rendering.scaling import predictor_deployment

from support.builders.objects import Object
from support.cluster.kube import Kube, KubectlError, WaitedInVainError
from support.faults.faulty_path import FaultyPath
from support.programs.operator import NAMESPACE

CHILDREN = ("Service", "NetworkPolicy", "InferenceService")
KINDS = "llmdeployments,services,networkpolicies,inferenceservices,deployments"
ENVIRONMENT = "clusterservingruntimes,acceleratorprofiles"
PAUSE = 0.5
DRY_RUN = (
    "apply", "--server-side", "--force-conflicts", f"--field-manager={FIELD_MANAGER}", "--dry-run=server",
    "--output=json", "--filename=-",
)  # fmt: skip


async def until_converged(kube: Kube, *, within: float) -> float:
    """Returns the seconds that it took. The error says what is not as desired."""
    began, wrong = time.monotonic(), ["nothing could be read"]
    while True:
        with suppress(KubectlError):  # the API server may still be starting
            wrong = await differences(kube)
        if not wrong:
            return time.monotonic() - began
        if time.monotonic() - began > within:
            raise WaitedInVainError(f"after {within:.0f} s: {'; '.join(wrong)}")
        await asyncio.sleep(PAUSE)  # there are too many objects to watch


async def stays_still(kube: Kube, *paths: FaultyPath, seconds: float) -> None:
    """Fails if an operator writes anything in the namespace for so long."""
    began = time.monotonic()
    await asyncio.sleep(seconds)
    written = [str(each) for path in paths for each in path.writes(kube.namespace, since=began)]
    assert not written, f"nothing has changed, but these were written: {'; '.join(written)}"


async def differences(kube: Kube) -> list[str]:
    """Returns the differences between the namespace and what it should contain, one per line."""
    seen = Seen(await kube.select(KINDS) + await kube.select(ENVIRONMENT))
    lines = list(seen.wrong())
    return lines or [line async for line in _not_as_rendered(kube, seen)]


@dataclass
class Seen:
    """All objects of a namespace, read at about the same moment."""

    things: list[Object]

    def of(self, kind: str) -> dict[str, Object]:
        return {thing["metadata"]["name"]: thing for thing in self.things if thing["kind"] == kind}

    def wrong(self) -> Iterator[str]:
        deployments = self.of("LLMDeployment")
        for name, thing in deployments.items():
            yield from (f"LLMDeployment {name}: {words}" for words in _status_errors(thing))
            made = self.of("Deployment").get(predictor_deployment(name))
            if made is None or made["spec"]["replicas"] != 0:
                yield f"LLMDeployment {name} isn't at zero"
        uids = {thing["metadata"]["uid"] for thing in deployments.values()}
        for kind in CHILDREN:
            yield from (
                f"{kind} {name} still exists though its owner is gone" for name in _orphans(self.of(kind), uids)
            )

    def desired(self) -> Iterator[Object]:
        for name in self.of("LLMDeployment"):
            yield from (child.manifest for child in self._desired(name).apply)

    def _desired(self, name: str) -> Desired:
        deployment = LLMDeployment.model_validate(self.of("LLMDeployment")[name])
        profiles = [AcceleratorProfile.model_validate(thing) for thing in self.of("AcceleratorProfile").values()]
        plan = make_plan(deployment.spec, profiles, name=name)
        assert isinstance(plan, Plan), plan
        runtime, made = self.of("ClusterServingRuntime").get(plan.runtime), self.of("Deployment")
        snapshot = Snapshot(
            now=datetime.now(UTC),
            runtimes={plan.runtime: runtime} if runtime else {},
            inference_service=self.of("InferenceService").get(name),
            deployments=tuple(each for each in made.values() if each["metadata"]["name"] == predictor_deployment(name)),
            kinds=frozenset(),
        )
        desired = render(deployment, plan, snapshot, Installation(NAMESPACE))
        assert isinstance(desired, Desired), desired
        return desired


async def _not_as_rendered(kube: Kube, seen: Seen) -> AsyncIterator[str]:
    wanted = list(seen.desired())
    if not wanted:
        return
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": wanted})
    for thing in _items(json.loads(await kube.run(*DRY_RUN, stdin=text))):
        kind, name = thing["kind"], thing["metadata"]["name"]
        there = seen.of(kind).get(name)
        if there is None:
            yield f"{kind} {name} is missing"
        elif _unmanaged(there) != _unmanaged(thing):
            yield f"{kind} {name} is not as it is rendered"


def _status_errors(deployment: Object) -> Iterator[str]:
    """Yields what differs from a model at zero that is healthy, in a status of its newest generation."""
    generation, status = deployment["metadata"]["generation"], deployment.get("status", {})
    conditions = {each["type"]: each for each in status.get("conditions", [])}
    if status.get("state") != "Idle":
        yield f"its state is {status.get('state')}: {status.get('message')}"
    if conditions.get("Ready", {}).get("status") != "True":
        yield f"it isn't Ready: {conditions.get('Ready')}"
    generations = {status.get("observedGeneration"), *(each["observedGeneration"] for each in conditions.values())}
    if generations != {generation}:
        yield f"its generation is {generation}, and its status is of {generations}"


def _orphans(things: dict[str, Object], uids: set[str]) -> Iterator[str]:
    for name, thing in things.items():
        owners = thing["metadata"].get("ownerReferences", [])
        if any(each["kind"] == KIND and each["uid"] not in uids for each in owners):
            yield name


def _items(answer: Object) -> list[Object]:
    items: list[Object] = answer["items"] if answer["kind"] == "List" else [answer]
    return items


def _unmanaged(thing: Object) -> Object:
    metadata = {name: value for name, value in thing["metadata"].items() if name != "managedFields"}
    return {**thing, "metadata": metadata}
