"""`why` names the cause of each failure that was recorded on a real cluster, and one command to run next."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from slipway.objects.kinds import (
    CORE_EVENT,
    DEPLOYMENT,
    INFERENCE_SERVICE,
    POD,
    REPLICA_SET,
    Kind,
    Object,
    kind_of,
)
from slipway_cli.cluster.diagnosing import culprit_of, diagnose
from slipway_cli.cluster.next_command import CHOICES, next_command
from slipway_cli.cluster.tree import lines_of, tree_of
from slipway_cli.cluster.world import World
from support.builders import cli_worlds
from support.faults.pod_failures import POD_FAILURES, PodFailure

NOW = datetime(2026, 11, 30, 13, tzinfo=UTC)
KINDS = (POD, CORE_EVENT, INFERENCE_SERVICE, DEPLOYMENT, REPLICA_SET)
each_failure = pytest.mark.parametrize("failure", POD_FAILURES, ids=lambda each: each.name)


def world_of(llm: Object, others: list[Object], now: datetime) -> World:
    objects = {kind: tuple(each for each in others if kind_of(each) == kind) for kind in KINDS}
    return World(now=now, llm=llm, objects=objects)


def recorded(failure: PodFailure) -> World:
    llm, others, snapshot = cli_worlds.recorded(failure.name)
    return world_of(llm, others, snapshot.now)


@each_failure
def test_the_cause_of_each_recorded_failure_is_named_with_one_command(failure: PodFailure) -> None:
    found = diagnose(recorded(failure))
    assert not found.is_well
    assert found.reason == failure.reason
    assert failure.words in found.message
    assert found.next is not None
    assert found.next.command.startswith("kubectl ")
    assert "\n" not in found.next.command


@each_failure
def test_the_cause_is_named_without_an_operator_too(failure: PodFailure) -> None:
    world = recorded(failure)
    found = diagnose(replace(world, llm={name: each for name, each in world.llm.items() if name != "status"}))
    assert (found.reason, found.is_well) == (failure.reason, False)


@each_failure
def test_the_cause_is_at_its_object_in_the_tree(failure: PodFailure) -> None:
    lines = lines_of(tree_of(recorded(failure)))
    assert lines[0].label == "llm/model"
    causes = [each.says for each in lines if each.is_cause]
    assert any(failure.words.split(";")[0][:40] in each for each in [*causes, lines[0].says])


@each_failure
def test_the_chain_says_where_each_link_is_from(failure: PodFailure) -> None:
    for step in diagnose(recorded(failure)).steps:
        assert step.evidence in ("declared", "reported", "observed", "computed")
        assert step.says


def test_the_line_of_the_log_is_in_the_chain_with_its_remedy() -> None:
    world = recorded(next(each for each in POD_FAILURES if each.name == "crash-loop"))
    log = [
        "INFO 11-30 12:00:00 loading",
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB.",
        "INFO shutting down",
    ]
    steps = {each.place: each for each in diagnose(world, log).steps}
    [place] = [place for place in steps if place.startswith("log of ")]
    assert "CUDA out of memory" in steps[place].says
    assert "remedy" in steps


def test_a_log_shows_no_credentials() -> None:
    world = recorded(next(each for each in POD_FAILURES if each.name == "crash-loop"))
    steps = diagnose(world, ["RuntimeError: token hf_abcdefghijklmnop is refused"]).steps
    assert "hf_abcdefghijklmnop" not in json.dumps([each.says for each in steps])


def test_the_container_that_has_failed_is_the_culprit() -> None:
    world = recorded(next(each for each in POD_FAILURES if each.name == "model-not-found"))
    culprit = culprit_of(world)
    assert culprit is not None
    assert culprit.container == "storage-initializer"


def test_what_can_not_be_read_is_said_and_the_rest_is_told() -> None:
    world = recorded(next(each for each in POD_FAILURES if each.name == "model-not-found"))
    partial = replace(world, objects={}, unreadable={POD: "Forbidden", CORE_EVENT: "Forbidden"})
    found = diagnose(partial)
    assert found.reason == "ModelNotFound"
    assert "pods can't be read (Forbidden), so why a replica doesn't start isn't seen." in found.gaps


def test_what_may_pass_is_no_fault_and_what_will_not_is_one() -> None:
    waking = cli_worlds.status("Waking", "Waking", "The first replica is starting.", replicas=0)
    for name, is_well in (("no-free-device", True), ("model-not-found", False)):
        llm, others, snapshot = cli_worlds.recorded(name)
        found = diagnose(world_of({**llm, "status": waking}, others, snapshot.now))
        assert found.is_well is is_well, found
        assert found.doubt == ("Unschedulable" if is_well else "")


def test_a_healthy_model_gets_no_command() -> None:
    for status in (cli_worlds.IDLE, cli_worlds.SERVING):
        found = diagnose(world_of(cli_worlds.deployment(status=status), [], NOW))
        assert (found.is_well, found.next) == (True, None)


# --- the command -----------------------------------------------------------------------------------------------------


def command(reason: str, message: str, *, spec: Object | None = None, pod: Object | None = None, **status: Any) -> str:
    llm = cli_worlds.deployment(status=cli_worlds.status("Failed", reason, message, ready="False", **status), spec=spec)
    objects: dict[Kind, tuple[Object, ...]] = {POD: (pod,)} if pod else {}
    found = diagnose(World(now=NOW, llm=llm, objects=objects)).next
    assert found is not None
    return found.command


def test_a_change_that_the_plan_names_is_made() -> None:
    message = "vllm would not start: … Any one of these is enough there: engine.contextLength ≤ 2,560 or …"
    assert '{"spec":{"engine":{"contextLength":2560}}}' in command("NoAcceleratorFits", message)
    message = "… is enough there: engine.quantization: FP8, engine.maxConcurrency: 64."
    assert '{"spec":{"engine":{"quantization":"FP8"}}}' in command("NoAcceleratorFits", message)
    message = "… is enough there: pod.resources.limits.memory: 18Gi."
    assert '{"spec":{"pod":{"resources":{"limits":{"memory":"18Gi"}}}}}' in command("NoAcceleratorFits", message)


def test_the_argument_that_the_engine_refuses_is_removed_and_the_others_stay() -> None:
    spec = {"engine": {"extraArgs": ["--seed=1", "--max-num-sequences=4"]}}
    said = command("BadEngineArguments", "error: unrecognized arguments: --max-num-sequences=4", spec=spec)
    assert '{"spec":{"engine":{"extraArgs":["--seed=1"]}}}' in said


def test_a_container_that_was_killed_gets_twice_the_memory() -> None:
    spec = {"pod": {"resources": {"limits": {"memory": "2Gi"}}}}
    said = command("HostOutOfMemory", "The container used all of its memory", spec=spec)
    assert '"limits":{"memory":"4Gi"}' in said


def _after_killing(container: str, spec: Object) -> str:
    """In a pod whose first container is a sidecar."""
    limits = {"istio-proxy": "64Mi", "kserve-container": "8Gi"}
    containers = [{"name": name, "resources": {"limits": {"memory": most}}} for name, most in limits.items()]
    pod = {**cli_worlds.pod("model-1", "model"), "spec": {"containers": containers}}
    said = f"Container {container} was killed at its memory limit of {limits.get(container, '1Gi')}."
    return next_command("HostOutOfMemory", said, World(now=NOW, llm=cli_worlds.deployment(spec=spec)), pod).command


def test_the_memory_of_the_engine_is_doubled_wherever_it_is_in_the_pod() -> None:
    less = {"pod": {"resources": {"limits": {"memory": "2Gi"}}}}
    for spec in ({}, less):
        assert '"limits":{"memory":"16Gi"}' in _after_killing("kserve-container", spec)


@pytest.mark.parametrize("killed", ["istio-proxy", "storage-initializer"])
def test_a_killed_sidecar_changes_no_memory_of_the_engine(killed: str) -> None:
    assert _after_killing(killed, {}) == "kubectl describe pod model-1 -n chat"


@pytest.mark.parametrize(
    ("reason", "message", "spec"),
    [
        ("AdmissionDenied", 'maximum memory usage per Container is 1Gi, but it exceeds the limit "abc"', {}),
        ("HostOutOfMemory", "killed", {"pod": {"resources": {"limits": {"memory": "abc"}}}}),
        ("QuotaExceeded", "exceeded quota: q, requested: pods=., used: pods=1zz, limited: pods=1", {}),
        ("ContextTooLong", "The model can do ,, tokens", {}),
        ("Unschedulable", "Insufficient cpu", {"pod": {"nodeSelector": ["a"]}}),
    ],
)
def test_a_message_or_spec_of_another_form_still_gets_a_command(reason: str, message: str, spec: Object) -> None:
    assert command(reason, message, spec=spec).startswith("kubectl ")


def test_a_paused_model_is_resumed() -> None:
    llm = cli_worlds.deployment(status=cli_worlds.status("Idle", "Paused", "No replica runs.", ready="False"))
    found = diagnose(World(now=NOW, llm=llm)).next
    assert found is not None
    assert (found.command, found.fixes) == ("kubectl llm resume model -n chat --yes", False)


@pytest.mark.parametrize("reason", CHOICES)
def test_every_reason_gets_a_command_whatever_the_message(reason: str) -> None:
    for message in ("", "nothing that is known", "Secret keys", "Pod x is stuck", "engine.x: ; ≤ ,"):
        assert command(reason, message).startswith("kubectl ")
