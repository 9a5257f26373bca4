"""The commands on a cluster, with a kubectl that answers from objects: what they print, request and exit with."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.builders import cli_worlds
from support.fakes.kubectl import FakeKubectl
from support.programs.cli import run
from support.programs.terminal import Ran, in_pipe, in_terminal

GET_LLMS = "/apis/slipway.dev/v1alpha1"
NAMED = ("status", "why", "tree", "events", "logs", "timeline", "wait", "wake", "sleep", "pause", "resume", "restart")


@pytest.fixture
def kubectl(tmp_path: Path) -> FakeKubectl:
    return FakeKubectl(tmp_path)


def document(found: Ran) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(found.out)
    assert parsed["apiVersion"] == "cli.slipway.dev/v1"
    return parsed


# --- status ----------------------------------------------------------------------------------------------------------


def test_status_lists_the_models_and_is_well_if_all_are(kubectl: FakeKubectl) -> None:
    kubectl.objects = [
        cli_worlds.deployment("asleep", status=cli_worlds.IDLE),
        cli_worlds.deployment("awake", status=cli_worlds.SERVING),
        cli_worlds.deployment("elsewhere", namespace="other", status=cli_worlds.FAILED),
    ]
    found = run(kubectl, "status")
    assert found.code == 0, found.err
    header, *rows = found.lines
    assert header.split() == ["NAME", "STATE", "READY", "SINCE", "ACCELERATOR", "MESSAGE"]
    assert [row.split()[:3] for row in rows] == [["asleep", "Idle", "0/0"], ["awake", "Serving", "1/1"]]
    everywhere = run(kubectl, "status", "-A")
    assert everywhere.code == 1
    assert "other" in everywhere.text
    assert run(kubectl, "status", "-n", "other", "-o", "name").out == "llmdeployment.slipway.dev/elsewhere\n"
    assert run(kubectl, "status", "-n", "other").code == 1


def test_status_of_one_says_where_each_value_is_from(kubectl: FakeKubectl) -> None:
    kubectl.objects = [cli_worlds.deployment("m", status=cli_worlds.SERVING)]
    found = run(kubectl, "status", "m")
    assert found.code == 0, found.err
    assert "State: Serving (reported)" in found.text
    assert "Model: pvc://models/llama (declared)" in found.text
    assert "Accelerator: 2x l4 (reported)" in found.text
    evidence = {each["evidence"] for each in document(run(kubectl, "status", "m", "-o", "json"))["values"]}
    assert evidence == {"declared", "reported", "observed", "computed"}


def test_a_namespace_without_models_is_well(kubectl: FakeKubectl) -> None:
    found = run(kubectl, "status")
    assert (found.code, found.out) == (0, "")
    assert found.err == "No LLMDeployments in namespace chat.\n"


def test_a_status_of_another_version_is_read_as_far_as_it_goes(kubectl: FakeKubectl) -> None:
    """An older operator wrote less, and a newer one writes what this version doesn't know."""
    kubectl.objects = [
        cli_worlds.deployment("old", status={"state": "Serving"}),
        cli_worlds.deployment("new", status={**cli_worlds.SERVING, "state": "Dreaming", "novel": {"a": 1}}),
        cli_worlds.deployment("none"),
    ]
    found = run(kubectl, "status")
    assert found.code == 1
    assert ["new", "Dreaming"] in [row.split()[:2] for row in found.lines]
    assert ["none", "Unreported"] in [row.split()[:2] for row in found.lines]
    for name in ("old", "new", "none"):
        assert run(kubectl, "status", name).err == ""
        assert run(kubectl, "why", name).err == ""
        assert run(kubectl, "tree", name).err == ""


# --- why, tree, events, logs, timeline -------------------------------------------------------------------------------


def test_why_reads_the_log_of_the_container_that_failed(kubectl: FakeKubectl) -> None:
    llm, others, _ = cli_worlds.recorded("model-not-found")
    kubectl.objects = [llm, *others]
    [pod] = [each["metadata"]["name"] for each in others if each["kind"] == "Pod"]
    kubectl.logs = {f"{pod}/storage-initializer": "start\nhuggingface_hub.errors.RepositoryNotFoundError: 404\n"}
    namespace = llm["metadata"]["namespace"]
    found = run(kubectl, "why", "model", "-n", namespace)
    assert found.code == 1, found.err
    assert "ModelNotFound" in found.text
    assert "log of storage-initializer (observed): huggingface_hub.errors.RepositoryNotFoundError: 404" in found.text
    assert f"kubectl patch llm model -n {namespace}" in found.text
    assert "once you have replaced <the folder of the right model>:" in found.text
    elsewhere = document(run(kubectl, "why", "model", "-n", namespace, "--context=other", "-o", "json"))
    assert elsewhere["next"]["command"].startswith(f"kubectl patch --context=other llm model -n {namespace} ")
    parsed = document(run(kubectl, "why", "model", "-n", namespace, "-o", "json"))
    assert (parsed["kind"], parsed["reason"], parsed["well"]) == ("Diagnosis", "ModelNotFound", False)


def test_the_runbook_is_where_the_installation_has_it(kubectl: FakeKubectl) -> None:
    url = "https://wiki.example.com/GpuOutOfMemory"
    kubectl.objects = [cli_worlds.deployment("m", status={**cli_worlds.FAILED, "runbook": url})]
    assert f"Runbook: {url}" in run(kubectl, "why", "m").text
    assert document(run(kubectl, "why", "m", "-o", "json"))["runbook"] == url


@pytest.mark.parametrize("width", [60, 80, 120, 200])
@pytest.mark.parametrize("verb", ["status", "why", "tree", "events"])
def test_no_line_is_wider_than_the_terminal(kubectl: FakeKubectl, verb: str, width: int) -> None:
    llm, others, _ = cli_worlds.recorded("crash-loop")
    kubectl.objects = [llm, *others]
    kubectl.namespace = llm["metadata"]["namespace"]
    found = run(kubectl, verb, "model", width=width)
    wide = [line for line in found.lines if len(line) > width]
    is_one_piece = [line.startswith("  kubectl ") or len(line.split()) == 1 for line in wide]
    assert all(is_one_piece), wide  # a command, or one long word, can be copied


def test_events_are_in_the_order_of_time(kubectl: FakeKubectl) -> None:
    llm, others, _ = cli_worlds.recorded("crash-loop")
    kubectl.objects = [llm, *others]
    parsed = document(run(kubectl, "events", "model", "-n", llm["metadata"]["namespace"], "-o", "json"))
    times = [each["time"] for each in parsed["items"]]
    assert len(times) > 2
    assert times == sorted(times)


def test_logs_of_all_containers_are_merged_by_time(kubectl: FakeKubectl) -> None:
    llm, others, _ = cli_worlds.recorded("crash-loop")
    kubectl.objects = [llm, *others]
    pods = [each["metadata"]["name"] for each in others if each["kind"] == "Pod"]
    kubectl.logs = {f"{pods[0]}/kserve-container": "2026-11-30T12:00:02Z second\n2026-11-30T12:00:03Z third\n"}
    found = run(kubectl, "logs", "model", "-n", llm["metadata"]["namespace"])
    assert found.code == 0, found.err
    assert [line.split()[-1] for line in found.lines] == ["second", "third"]


def test_the_timeline_draws_each_phase(kubectl: FakeKubectl, tmp_path: Path) -> None:
    kubectl.objects = [cli_worlds.deployment("m", status=cli_worlds.SERVING)]
    found = run(kubectl, "timeline", "m")
    assert found.code == 0, found.err
    assert found.lines[0] == "chat/m: 10.8 s, pod model-x"
    assert [line.split()[0] for line in found.lines[1:-1]] == ["schedule", "pull", "start", "load", "ready"]
    assert found.lines[-1] == "Longest: load (the weights are loaded)."
    assert run(kubectl, "timeline", "m", f"--svg={tmp_path}/x.svg").code == 0
    assert (tmp_path / "x.svg").read_text().count("<rect ") == 5
    kubectl.objects = [cli_worlds.deployment("m", status=cli_worlds.IDLE)]
    assert run(kubectl, "timeline", "m").code == 3


def waking(state: str = "Waking") -> dict[str, Any]:
    return cli_worlds.deployment("m", status=cli_worlds.status(state, "Waking", "The first replica starts."))


def test_wait_ends_when_the_model_is_there_and_leaves_no_process(kubectl: FakeKubectl) -> None:
    kubectl.objects, kubectl.then = [waking()], [cli_worlds.deployment("m", status=cli_worlds.SERVING)]
    found = in_pipe(["slipway", "wait", "m", "--for=serving", "--timeout=60s"], env=kubectl.env)
    assert found.code == 0, found.err
    assert found.err.splitlines() == ["Waking: The first replica starts.", "Serving: 1 replica answers."]
    assert "m is serving" in found.out
    assert not running(kubectl)


def test_wait_ends_when_nothing_but_a_person_helps(kubectl: FakeKubectl) -> None:
    kubectl.objects, kubectl.then = [waking()], [cli_worlds.deployment("m", status=cli_worlds.FAILED)]
    found = in_pipe(["slipway", "wait", "m", "--for=serving", "--give-up-after=1s"], env=kubectl.env)
    assert found.code == 1
    assert "m won't be serving before a person acts: `kubectl llm why m -n chat`." in found.out


def test_wait_ends_when_the_time_is_over(kubectl: FakeKubectl) -> None:
    kubectl.objects = [waking()]
    found = in_pipe(["slipway", "wait", "m", "--timeout=2s", "--for=serving"], env=kubectl.env)
    assert found.code == 3
    assert "m was not serving within 2 s: Waking: The first replica starts." in found.err
    assert not running(kubectl)


def test_a_tree_is_drawn_again_in_place_in_a_terminal_and_below_in_a_pipe(kubectl: FakeKubectl) -> None:
    kubectl.objects, kubectl.then = [waking()], [cli_worlds.deployment("m", status=cli_worlds.SERVING)]
    piped = in_pipe(["slipway", "tree", "m", "--watch"], env=kubectl.env)
    drawn = in_terminal(["slipway", "tree", "m", "--watch"], width=80, env=kubectl.env)
    assert (piped.code, drawn.code) == (0, 0)
    before, after = (
        "… llm/m  Waking, 0/0 ready: The first replica starts.",
        "✓ llm/m  Serving, 1/1 ready: 1 replica answers.",
    )
    assert piped.out == f"{before}\n\n{after}\n"
    assert "\x1b[1F\x1b[J" in drawn.out
    assert drawn.lines[-1] == after
    assert not running(kubectl)


def running(kubectl: FakeKubectl) -> list[str]:
    """Its processes."""
    found = subprocess.run(
        ["pgrep", "-f", str(kubectl.folder / "kubectl")], capture_output=True, text=True, check=False
    )
    return found.stdout.split()


# --- actions ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "status", "annotations", "patched"),
    [
        ("wake", cli_worlds.IDLE, {}, "slipway.dev/wake"),
        ("sleep", cli_worlds.SERVING, {}, "slipway.dev/sleep"),
        ("pause", cli_worlds.SERVING, {}, "slipway.dev/paused"),
        ("resume", cli_worlds.SERVING, {"slipway.dev/paused": "true"}, "slipway.dev/paused"),
    ],
)
def test_an_action_asks_and_sets_one_annotation(
    kubectl: FakeKubectl, verb: str, status: dict[str, Any], annotations: dict[str, str], patched: str
) -> None:
    kubectl.objects = [cli_worlds.deployment("m", status=status, annotations=annotations)]
    assert run(kubectl, verb, "m").code == 2  # no terminal, and no --yes
    assert run(kubectl, verb, "m", "--dry-run").code == 0
    assert kubectl.patches == []
    assert run(kubectl, verb, "m", "--yes").code == 0
    [patch] = kubectl.patches
    assert list(patch["metadata"]["annotations"]) == [patched]
    assert patch["metadata"]["uid"] == "uid-m"


def test_in_a_terminal_an_action_is_asked_for(kubectl: FakeKubectl) -> None:
    kubectl.objects = [cli_worlds.deployment("m", status=cli_worlds.IDLE)]
    refused = in_terminal(["slipway", "wake", "m"], width=80, keys="n\n", env=kubectl.env)
    assert (refused.code, kubectl.patches) == (130, [])
    found = in_terminal(["slipway", "wake", "m"], width=80, keys="y\n", env=kubectl.env)
    assert found.code == 0, found.text
    assert len(kubectl.patches) == 1


def paused_at_keda(status: dict[str, Any], annotation: str) -> dict[str, Any]:
    message = f"The annotation autoscaling.keda.sh/{annotation} of ScaledObject m pauses KEDA; remove it."
    scaled = cli_worlds.condition("Scaled", "False", "ScalingPaused", message)
    return {**status, "conditions": [*status["conditions"], scaled]}


def test_a_model_to_which_keda_adds_no_replica_can_be_sent_to_sleep(kubectl: FakeKubectl) -> None:
    kubectl.objects = [cli_worlds.deployment("m", status=paused_at_keda(cli_worlds.SERVING, "paused-scale-out"))]
    assert run(kubectl, "sleep", "m", "--yes").code == 0
    assert len(kubectl.patches) == 1


@pytest.mark.parametrize(
    ("verb", "status", "spec", "said"),
    [
        ("wake", cli_worlds.SERVING, {}, "has 1 ready replicas already"),
        ("sleep", cli_worlds.IDLE, {}, "is at zero replicas already"),
        ("sleep", cli_worlds.SERVING, {"scaling": {"minReplicas": 1}}, "spec.scaling.minReplicas of m is 1"),
        ("resume", cli_worlds.SERVING, {}, "isn't paused"),
        ("wake", paused_at_keda(cli_worlds.IDLE, "paused-scale-out"), {}, "No replica starts: The annotation"),
        ("sleep", paused_at_keda(cli_worlds.SERVING, "paused-scale-in"), {}, "No replica stops: The annotation"),
    ],
)
def test_an_action_that_would_do_nothing_says_why(
    kubectl: FakeKubectl, verb: str, status: dict[str, Any], spec: dict[str, Any], said: str
) -> None:
    kubectl.objects = [cli_worlds.deployment("m", status=status, spec=spec)]
    found = run(kubectl, verb, "m", "--yes")
    assert found.code == 0, found.err
    assert said in found.text
    assert kubectl.patches == []


# --- no cluster, no rights, no CRDs ----------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", NAMED)
@pytest.mark.parametrize(
    ("failure", "said"),
    [
        ("The connection to the server 10.0.0.1:6443 was refused - did you specify the right host or port?", "refused"),
        ("error: You must be logged in to the server (Unauthorized)", "Log in again"),
        ("Error from server (NotFound): the server could not find the requested resource", "Slipway isn't installed"),
        (
            'Error from server (Forbidden): llmdeployments.slipway.dev "m" is forbidden: User "eve" cannot get',
            "You may not read LLMDeployment m in namespace chat",
        ),
        ('Error from server (NotFound): llmdeployments.slipway.dev "m" not found', "There is no LLMDeployment m"),
    ],
)
def test_without_an_answer_it_says_why_and_exits_with_3(
    kubectl: FakeKubectl, verb: str, failure: str, said: str
) -> None:
    kubectl.failures = {GET_LLMS: failure}
    found = run(kubectl, verb, "m")
    assert (found.code, found.out) == (3, "")
    assert said in found.err
    assert found.err.startswith("Error: ")
    assert len(found.err.splitlines()) == 1


def test_without_the_right_to_read_pods_why_says_what_it_lacks(kubectl: FakeKubectl) -> None:
    kubectl.objects = [cli_worlds.deployment("m", status=cli_worlds.FAILED)]
    kubectl.failures = {
        "/api/v1/namespaces/chat/pods": 'Error from server (Forbidden): pods is forbidden: User "eve" cannot list'
    }
    found = run(kubectl, "why", "m")
    assert found.code == 1
    assert "pods can't be read (Forbidden), so why a replica doesn't start isn't seen." in found.text


def test_a_wrong_context_is_said(kubectl: FakeKubectl) -> None:
    kubectl.failures = {"config view": 'error: context "prod" does not exist'}
    found = run(kubectl, "status", "--context=prod")
    assert found.code == 3
    assert 'Context "prod" does not exist.' in found.err
    assert "kubectl config get-contexts" in found.err


def test_the_flags_of_kubectl_reach_each_request(kubectl: FakeKubectl) -> None:
    kubectl.objects = [cli_worlds.deployment("m", status=cli_worlds.SERVING)]
    found = in_pipe(["slipway", "status", "m", "--context=two", "--kubeconfig=/k", "--as=eve"], env=kubectl.env)
    assert found.code == 0, found.err
    assert found.text == run(kubectl, "status", "m").text
    assert len(kubectl.calls) > 5
    assert kubectl.calls[0][:3] == ["--kubeconfig=/k", "--context=two", "--as=eve"]


def test_logs_take_a_duration_and_nothing_else(kubectl: FakeKubectl) -> None:
    found = run(kubectl, "logs", "m", "--since=1d")
    assert (found.code, "--since 1d is not a duration" in found.err) == (2, True)


def test_models_that_can_not_be_read_for_a_moment_are_no_missing_right(kubectl: FakeKubectl) -> None:
    kubectl.failures = {f"{GET_LLMS}/llmdeployments": "Error from server (InternalError): no"}
    assert run(kubectl, "accelerators").code == 3


def test_without_kubectl_it_says_what_needs_none(tmp_path: Path) -> None:
    found = in_pipe(["slipway", "status"], env={"PATH": str(tmp_path)})
    assert found.code == 3
    assert "kubectl is not on the PATH" in found.err


# --- what tenants write ----------------------------------------------------------------------------------------------

STEERING = "\x1b]0;owned\x07\x1b[2Jall is \u202ewell\x9b1m"


@pytest.mark.parametrize("form", ["json", "yaml"])
@pytest.mark.parametrize("verb", ["status", "why", "tree"])
def test_a_document_has_all_that_a_tenant_wrote_and_steers_no_terminal(
    kubectl: FakeKubectl, verb: str, form: str
) -> None:
    kubectl.objects = [cli_worlds.deployment("m", status={**cli_worlds.FAILED, "message": STEERING})]
    found = run(kubectl, verb, "m", "-o", form)
    assert not set("\x1b\x07\x9b\u202e") & set(found.out)
    assert repr(STEERING)[1:-1] in str(yaml.safe_load(found.out))
    kubectl.objects = [cli_worlds.deployment("m", status={**cli_worlds.FAILED, "message": "für 模型"})]
    assert "für 模型" in run(kubectl, verb, "m", "-o", form).out


@pytest.mark.parametrize("verb", ["status", "why", "tree", "events", "logs"])
def test_nothing_that_a_tenant_writes_steers_the_terminal(kubectl: FakeKubectl, verb: str) -> None:
    llm, others, _ = cli_worlds.recorded("crash-loop")
    for each in others:
        if each["kind"] == "Event":
            each["message"] = STEERING
    [pod] = [each for each in others if each["kind"] == "Pod"]
    llm["status"]["message"] = STEERING
    for each in llm["status"]["conditions"]:
        each["message"] = STEERING
    kubectl.objects = [llm, *others]
    kubectl.logs = {f"{pod['metadata']['name']}/kserve-container": f"2026-11-30T12:00:00Z {STEERING}\n"}
    kubectl.namespace = llm["metadata"]["namespace"]
    for width in (None, 80):
        found = run(kubectl, verb, "model", width=width)
        assert "all is well" in found.out
        assert not set("\x07\x9b\u202e") & set(found.out)
        assert "\x1b]" not in found.out
        assert "\x1b[2J" not in found.out


@pytest.mark.parametrize("arguments", [("timeline", "m"), ("logs", "m")])
def test_a_command_in_a_sentence_is_for_the_same_cluster_and_namespace(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    fake = FakeKubectl(tmp_path, [cli_worlds.deployment("m", status=cli_worlds.IDLE | {"lastColdStart": None})])
    found = run(fake, *arguments, "-n", "chat", "--context", "my prod")
    assert found.code == 3
    assert " '--context=my prod' m -n chat`" in found.err
