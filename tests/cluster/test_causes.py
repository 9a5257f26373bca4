"""Each failure of a model's pods is provoked, and its cause is derived from the cluster.

With RECORD_CAUSES=1, the observed objects are stored as the fixtures of tests/unit/observing.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from slipway.observing.causes import main_cause
from slipway.observing.snapshot import Snapshot
from support.builders import recorded_snapshots
from support.cluster import AnyCluster, Kube, WaitedInVainError, observed_snapshots, own_namespace
from support.faults.pod_failures import POD_FAILURES, PodFailure

FIXTURES = Path(__file__).parents[1] / "unit" / "observing" / "fixtures"
pytestmark = pytest.mark.slow  # test_operator_causes.py has a faster variant, which reads the status

AT_ONCE = 6
"""Most tests wait for the kubelet's backoff, so in parallel they take a fraction of the time."""

Outcomes = dict[str, Snapshot | WaitedInVainError]


@pytest.fixture(scope="module")
def outcomes(
    request: pytest.FixtureRequest,
    cluster: AnyCluster,
    python_image: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Outcomes:
    """The outcome of each provocation that a selected test needs, each in a namespace of its own."""
    kube = Kube(cluster.kubectl, cluster.kubeconfig, cache_folder=tmp_path_factory.getbasetemp() / "kubectl")
    chosen = [item.callspec.params.get("failure") for item in request.session.items if hasattr(item, "callspec")]
    return asyncio.run(provoke_all([each for each in POD_FAILURES if each in chosen], kube, python_image))


async def provoke_all(provocations: list[PodFailure], kube: Kube, image: str) -> Outcomes:
    slots = asyncio.Semaphore(AT_ONCE)

    async def outcome(failure: PodFailure) -> Snapshot | WaitedInVainError:
        async with slots, own_namespace(kube) as inside:
            try:
                return await provoke(failure, inside, image)
            except WaitedInVainError as error:
                return error

    found = await asyncio.gather(*(outcome(each) for each in provocations))
    return dict(zip((each.name for each in provocations), found, strict=True))


async def provoke(failure: PodFailure, kube: Kube, image: str) -> Snapshot:
    """The first observed snapshot that has the expected cause."""

    def is_read_off(world: Snapshot) -> bool:
        cause = main_cause(world)
        return cause is not None and failure.describes(cause)

    await kube.apply(*failure.objects(image))
    return await observed_snapshots.until(kube, is_read_off, timeout=failure.timeout)


@pytest.mark.parametrize("failure", POD_FAILURES, ids=lambda each: each.name)
def test_the_cause_is_derived_from_the_cluster(outcomes: Outcomes, failure: PodFailure) -> None:
    outcome = outcomes[failure.name]
    if isinstance(outcome, WaitedInVainError):
        raise outcome
    if os.environ.get("RECORD_CAUSES"):
        recorded_snapshots.save(outcome, FIXTURES / f"{failure.name}.json")
