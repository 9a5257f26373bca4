"""Each failure of a model is provoked, and its status and its events are read."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.builders.llmdeployments import NAME, OURS, on_own_engine, own_runtime
from support.builders.objects import python
from support.cluster import (
    AnyCluster,
    Kube,
    Object,
    Operator,
    Predicate,
    WaitedInVainError,
    conditions,
    current_status,
    folder_claimed,
    own_namespace,
)
from support.cluster.llmdeployments import is_stalled
from support.cluster.nodes import ANYWHERE, set_ready
from support.faults.model_failures import MODEL_FAILURES, USUAL, ModelFailure, scripted_downloads
from support.faults.pod_failures import UNKNOWN_ARGUMENT

EVENTS = "events.v1.events.k8s.io"
NO_MODEL = Path("/srv")
AT_ONCE = 10
"""Most tests wait for the kubelet or for time to pass, so in parallel they take a fraction of the time."""


@dataclass(frozen=True)
class Outcome:
    deployment: Object
    event: Object


Outcomes = dict[str, Outcome | WaitedInVainError]


@pytest.fixture(scope="module")
def downloader(cluster: AnyCluster, installed_cluster: Kube, python_image: str) -> Iterator[None]:
    """Replaces KServe's storage initializer."""
    cluster.devcluster()
    with scripted_downloads(installed_cluster, python_image):
        yield


@pytest.fixture(scope="module")
def outcomes(
    request: pytest.FixtureRequest, slipway: Operator, installed_cluster: Kube, downloader: None, python_image: str
) -> Outcomes:
    """The outcome of each failure that a selected test needs, each in a namespace of its own."""
    chosen = [item.callspec.params.get("failure") for item in request.session.items if hasattr(item, "callspec")]
    return asyncio.run(make_all([each for each in MODEL_FAILURES if each in chosen], installed_cluster, python_image))


async def make_all(failures: list[ModelFailure], kube: Kube, image: str) -> Outcomes:
    slots = asyncio.Semaphore(AT_ONCE)

    async def outcome(failure: ModelFailure) -> Outcome | WaitedInVainError:
        async with slots, own_namespace(kube) as inside, folder_claimed(inside, "weights", NO_MODEL):
            try:
                return await make(failure, inside, image)
            except WaitedInVainError as error:
                return error

    found = await asyncio.gather(*(outcome(each) for each in failures))
    return dict(zip((each.name for each in failures), found, strict=True))


async def make(failure: ModelFailure, kube: Kube, image: str) -> Outcome:
    """The first status and the first event that name the cause."""
    await kube.apply(*failure.objects(image))
    deployment = await kube.wait_for("llmdeployment", NAME, names_cause_of(failure), timeout=failure.timeout)
    return Outcome(deployment, await kube.wait_for_any(EVENTS, "", is_event_of(failure)))


def names_cause_of(failure: ModelFailure) -> Predicate:
    """Whether the message names the cause, and the state is the final one."""

    def names_cause_of(obj: Object) -> bool:
        message = str(current_status(obj).get("message", ""))
        is_named = message.startswith(failure.reason) and failure.words in message
        return is_named and current_status(obj)["state"] == failure.state

    return names_cause_of


def is_event_of(failure: ModelFailure) -> Predicate:
    return lambda event: event["regarding"]["kind"] == "LLMDeployment" and event["reason"] == failure.reason


def outcome_of(failure: ModelFailure, outcomes: Outcomes) -> Outcome:
    outcome = outcomes[failure.name]
    if isinstance(outcome, WaitedInVainError):
        raise outcome
    return outcome


for_each_failure = pytest.mark.parametrize(
    "failure",
    [
        pytest.param(each, marks=[pytest.mark.slow] if each.timeout > USUAL else [], id=each.name)
        for each in MODEL_FAILURES
    ],
)


@for_each_failure
def test_the_status_names_the_cause(outcomes: Outcomes, failure: ModelFailure) -> None:
    """Not ready for this reason, and progressing only if waiting helps."""
    found = conditions(outcome_of(failure, outcomes).deployment)
    assert found["Ready"] == ("False", failure.reason)
    assert found["ModelLoaded"] == ("False", failure.reason)
    assert found["Stalled"][0] == str(failure.is_final)
    assert found["Reconciling"][0] == str(not failure.is_final)


@for_each_failure
def test_the_cause_is_a_warning_event(outcomes: Outcomes, failure: ModelFailure) -> None:
    event = outcome_of(failure, outcomes).event
    assert event["type"] == "Warning"
    assert event["note"].startswith(failure.reason)


@pytest.mark.slow
async def test_a_lasting_failure_is_written_once(
    slipway: Operator, kube: Kube, weights: None, python_image: str
) -> None:
    """Though the kubelet retries, and reports it in other words each time."""
    failure = next(each for each in MODEL_FAILURES if each.name == "image-not-pulled")
    version = (await make(failure, kube, python_image)).deployment["metadata"]["resourceVersion"]
    await kube.wait_for_any("events", "", tries_again)
    await kube.never("llmdeployments", lambda obj: obj["metadata"]["resourceVersion"] != version, seconds=5)


def tries_again(event: Object) -> bool:
    return bool(event["reason"] == "Pulling" and event.get("count", 1) > 1)


# --- a failure that is fixed -----------------------------------------------------------------------------------------


async def test_once_the_spec_is_fixed_no_status_has_the_failure_of_the_pods_before(
    slipway: Operator, kube: Kube, weights: None, python_image: str
) -> None:
    """Though these are still there: KServe takes a moment to replace them."""
    refuses = f"import os, sys, time; os.environ.get('APP_A') and sys.exit({UNKNOWN_ARGUMENT!r}); time.sleep(3600)"
    ill: Object = {"env": [{"name": "APP_A", "value": "1"}]}
    container: Object = {"image": python_image, "command": python(refuses)}
    await kube.apply(own_runtime(terminationMessagePolicy="FallbackToLogsOnError", **container), on_own_engine(pod=ill))
    await kube.wait_for("llmdeployment", NAME, is_stalled("BadEngineArguments"))
    late: list[Object] = []

    def is_served(deployment: Object) -> bool:
        found = current_status(deployment)
        if is_fixed(deployment) and conditions(deployment).get("Stalled", ("",))[0] == "True":
            late.append(found)
        return is_fixed(deployment) and found.get("state") == "Serving"

    await kube.patch("llmdeployment", NAME, {"spec": {"pod": {"env": None}}})
    await kube.wait_for("llmdeployment", NAME, is_served)
    assert late == []


def is_fixed(deployment: Object) -> bool:
    return "env" not in (deployment["spec"].get("pod") or {})


# --- lost nodes ------------------------------------------------------------------------------------------------------


async def serving_on(kube: Kube, node: str) -> None:
    """Serving as far as possible on a node that has no kubelet: the pod exists."""
    place = {"nodeSelector": {"is": node}, "tolerations": ANYWHERE}
    await kube.apply(own_runtime(), on_own_engine(pod=place))
    await kube.wait_for_any("pods", OURS, lambda pod: pod["spec"].get("nodeName") == node)


async def test_a_node_that_is_not_ready_is_reported_with_its_own_message(
    slipway: Operator, kube: Kube, node: str, weights: None
) -> None:
    await serving_on(kube, node)
    await set_ready(kube, node, ready=False)
    failure = ModelFailure("", "NodeLost", f"Node {node} isn't ready: container runtime is down", is_final=False)
    await kube.wait_for("llmdeployment", NAME, names_cause_of(failure))
    await kube.wait_for_any(EVENTS, "", is_event_of(failure))


async def test_a_deleted_node_is_reported(slipway: Operator, kube: Kube, node: str, weights: None) -> None:
    await serving_on(kube, node)
    await kube.delete("node", node)
    failure = ModelFailure("", "NodeLost", f"Node {node} is gone", is_final=False)
    await kube.wait_for("llmdeployment", NAME, names_cause_of(failure))
    await kube.wait_for_any(EVENTS, "", is_event_of(failure))
