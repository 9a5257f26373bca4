"""`kubectl llm why` names one next command for each provoked failure, and that command heals the model.

Which failures no command heals, and why, is in tests/support/faults/healing.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.cluster import AnyCluster, Kube, Operator, folder_claimed, own_namespace
from support.faults.healed import healed_by_why
from support.faults.healing import FAILURES, WEIGHTS, Healing
from support.faults.model_failures import scripted_downloads
from support.faults.runbook_faults import CLAIM, Given, write_models

pytestmark = pytest.mark.slow
AT_ONCE = 8
"""Most of the time is the kubelet's, so in parallel they take a fraction of it."""
NO_MODEL = Path("/srv")

Outcomes = dict[str, list[str] | Exception]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_models(folder)
    return folder


@pytest.fixture(scope="module")
def downloader(cluster: AnyCluster, installed_cluster: Kube, python_image: str) -> Iterator[None]:
    """Replaces KServe's storage initializer."""
    cluster.devcluster()
    with scripted_downloads(installed_cluster, python_image):
        yield


@pytest.fixture(scope="module")
def outcomes(
    request: pytest.FixtureRequest,
    slipway: Operator,
    installed_cluster: Kube,
    downloader: None,
    python_image: str,
    models: Path,
) -> Outcomes:
    """The commands that healed each failure that a selected test needs, each in a namespace of its own."""
    chosen = [item.callspec.params.get("failure") for item in request.session.items if hasattr(item, "callspec")]
    failures = [each for each in FAILURES if each in chosen]
    return asyncio.run(heal_all(failures, installed_cluster, python_image, models))


async def heal_all(failures: list[Healing], kube: Kube, image: str, models: Path) -> Outcomes:
    names = (await kube.run("get", "clusterservingruntimes", "--output=name")).split()
    runtime = next(each.rpartition("/")[2] for each in names if "slipway-llamacpp" in each)
    slots = asyncio.Semaphore(AT_ONCE)

    async def outcome(failure: Healing) -> list[str] | Exception:
        async with (
            slots,
            own_namespace(kube) as inside,
            folder_claimed(inside, WEIGHTS, NO_MODEL),
            folder_claimed(inside, CLAIM, models),
        ):
            try:
                await inside.apply(*failure.objects(Given(image, runtime)))
                return await healed_by_why(inside, failure)
            except Exception as error:  # the others go on
                return error

    found = await asyncio.gather(*map(outcome, failures))
    return dict(zip((each.name for each in failures), found, strict=True))


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("failure", FAILURES, ids=lambda each: each.name)
def test_the_next_command_of_why_heals_the_model(outcomes: Outcomes, failure: Healing) -> None:
    outcome = outcomes[failure.name]
    if isinstance(outcome, Exception):
        raise outcome
    assert 1 <= len(outcome) <= failure.steps
