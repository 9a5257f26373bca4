"""`diff`: what changes in the object, and what that does to pods, replicas and requests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.builders import cli_worlds
from support.builders.llmdeployments import GEMMA_FACTS
from support.builders.rendering import runtime, shipped_profiles
from support.fakes.kubectl import FakeKubectl
from support.programs.cli import run
from support.programs.terminal import Ran, in_pipe, in_terminal

PROFILES = [
    {
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": "AcceleratorProfile",
        **each.model_dump(by_alias=True, exclude_none=True),
    }
    for each in shipped_profiles()
    if each.metadata.name in ("cpu", "l4", "h100-80gb")
]
RUNTIME = {"apiVersion": "serving.kserve.io/v1alpha1", "kind": "ClusterServingRuntime", **runtime("slipway-llamacpp")}
AROUND = [*PROFILES, RUNTIME]
SPEC: dict[str, Any] = {
    "model": {"uri": "pvc://models/gemma/", "facts": GEMMA_FACTS},
    "engine": {"name": "llamacpp", "contextLength": 1024, "maxConcurrency": 2},
    "scaling": {"minReplicas": 0, "maxReplicas": 1},
}
DENIED = 'admission webhook "validation.gatekeeper.sh" denied the request'
REFUSED = 'The LLMDeployment "m" is invalid: spec.scaling: Invalid value: minReplicas is more than maxReplicas'


@pytest.fixture
def kubectl(tmp_path: Path) -> FakeKubectl:
    live = cli_worlds.deployment("m", spec=SPEC, status=cli_worlds.SERVING)
    return FakeKubectl(tmp_path, [live, cli_worlds.pod("m-1", "m"), *AROUND])


def file_with(tmp_path: Path, *specs: dict[str, Any], name: str = "m") -> str:
    """A manifest for each spec, in one file."""
    kept = [cli_worlds.deployment(name, spec=each) for each in specs]
    for each in kept:
        each["metadata"] = {"name": name}
    (tmp_path / "m.yaml").write_text(yaml.safe_dump_all(kept))
    return str(tmp_path / "m.yaml")


def with_(**sections: Any) -> dict[str, Any]:
    return {**SPEC, **{name: {**SPEC.get(name, {}), **fields} for name, fields in sections.items()}}


def document(found: Ran) -> dict[str, Any]:
    [item] = json.loads(found.out)["items"]
    result: dict[str, Any] = item
    return result


def test_without_a_difference_it_says_so(kubectl: FakeKubectl, tmp_path: Path) -> None:
    found = run(kubectl, "diff", file_with(tmp_path, SPEC))
    assert (found.code, found.lines) == (0, ["chat/m", "No difference."]), found.text


def test_what_pods_are_made_of_replaces_them_and_the_rollout_is_described(kubectl: FakeKubectl, tmp_path: Path) -> None:
    found = run(kubectl, "diff", file_with(tmp_path, with_(engine={"contextLength": 2048})))
    assert found.code == 1, found.text
    assert "-    contextLength: 1024" in found.lines
    assert "+    contextLength: 2048" in found.lines
    assert "Pods: All are replaced, because what they are made of changes: (computed)" in found.lines
    assert "  predictor.model.args: --context-length=2048 comes" in found.lines
    assert "slipway.dev/plan" not in found.text  # which alone is no reason to replace pods
    assert "Context: 1,024 tokens → 2,048 tokens (computed)" in found.lines
    assert "Rollout: The new replica starts next to the old one if there is room" in found.text


@pytest.mark.parametrize(
    "changed",
    [
        {"scaling": {"maxReplicas": 3}},
        {"scaling": {"idleAfter": "3m"}},
        {"rollout": {"strategy": "Recreate"}},
        {"budget": {"perDay": 5, "then": "Alert"}},
        {"slo": {"ttftP95": "500ms"}},
    ],
    ids=str,
)
def test_what_pods_are_not_made_of_leaves_them_as_they_are(
    kubectl: FakeKubectl, tmp_path: Path, changed: dict[str, Any]
) -> None:
    found = document(run(kubectl, "diff", file_with(tmp_path, with_(**changed)), "-o", "json"))
    assert (found["change"], found["replacesPods"]) == ("changed", False)
    assert "They stay" in found["effects"][0]["value"]


def test_a_field_that_says_what_was_planned_anyway_replaces_no_pod(kubectl: FakeKubectl, tmp_path: Path) -> None:
    found = document(run(kubectl, "diff", file_with(tmp_path, with_(accelerator={"profiles": ["cpu"]})), "-o", "json"))
    assert (found["change"], found["replacesPods"]) == ("changed", False)


def test_the_same_brings_an_update_that_is_available(kubectl: FakeKubectl, tmp_path: Path) -> None:
    """A spec that concerns pods is carried out by the installed version."""
    status = {**cli_worlds.SERVING, "update": {"version": "2", "changes": ["predictor.model.runtime: a → b"]}}
    kubectl.objects[0] = cli_worlds.deployment("m", spec=SPEC, status=status)
    found = document(run(kubectl, "diff", file_with(tmp_path, with_(accelerator={"profiles": ["cpu"]})), "-o", "json"))
    assert found["replacesPods"] is True
    assert "predictor.model.runtime: a → b" in [each["value"] for each in found["effects"]]


@pytest.mark.parametrize(
    ("annotation", "update", "is_replaced"),
    [
        ({"slipway.dev/restart": "2026-11-30T18:00:00Z"}, None, True),
        ({"slipway.dev/restart": "now"}, None, False),
        ({"slipway.dev/sync": "1"}, None, False),
        ({"slipway.dev/sync": "1"}, {"version": "2", "changes": ["predictor.model.runtime: a → b"]}, True),
        ({"slipway.dev/paused": "true"}, {"version": "2", "changes": ["predictor.model.runtime: a → b"]}, False),
    ],
    ids=str,
)
def test_annotations_that_replace_pods_are_known(
    kubectl: FakeKubectl, tmp_path: Path, annotation: dict[str, str], update: dict[str, Any] | None, is_replaced: bool
) -> None:
    status = {**cli_worlds.SERVING, **({"update": update} if update else {})}
    kubectl.objects[0] = cli_worlds.deployment("m", spec=SPEC, status=status)
    file = Path(file_with(tmp_path, SPEC))
    manifest = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump({**manifest, "metadata": {"name": "m", "annotations": annotation}}))
    found = document(run(kubectl, "diff", str(file), "-o", "json"))
    assert (found["change"], found["replacesPods"]) == ("changed", is_replaced)


def test_at_zero_replicas_nothing_restarts(kubectl: FakeKubectl, tmp_path: Path) -> None:
    kubectl.objects = [cli_worlds.deployment("m", spec=SPEC, status=cli_worlds.IDLE), *AROUND]
    found = run(kubectl, "diff", file_with(tmp_path, with_(engine={"contextLength": 2048})))
    assert "Pods: None runs now; the next ones are made differently: (computed)" in found.lines
    assert "Rollout" not in found.text


def test_more_replicas_are_counted(kubectl: FakeKubectl, tmp_path: Path) -> None:
    found = run(kubectl, "diff", file_with(tmp_path, with_(scaling={"minReplicas": 3, "maxReplicas": 3})))
    assert "Replicas: 0 to 1 → 3 to 3; now 1 (declared)" in found.lines
    assert "  2 replicas more now" in found.lines
    assert (
        "Price: 0.05 per hour and replica, 0.05 with 1 → 0.05 per hour and replica, 0.15 with 3 (computed)"
        in found.lines
    )


def test_a_new_object_is_planned(kubectl: FakeKubectl, tmp_path: Path) -> None:
    found = run(kubectl, "diff", file_with(tmp_path, SPEC, name="new"))
    assert found.code == 1
    assert "Pods: The model is created; there are none yet. (computed)" in found.lines
    assert "Accelerator: cpu (computed)" in found.lines


def test_a_spec_that_can_not_be_planned_says_why_and_that_pods_stay(kubectl: FakeKubectl, tmp_path: Path) -> None:
    found = run(kubectl, "diff", file_with(tmp_path, with_(accelerator={"profiles": ["none"]})))
    assert found.code == 1
    assert "Pods: None can be made: " in found.text
    assert "Pods that run stay as they are." in found.text


def test_other_objects_are_named_and_several_are_compared(kubectl: FakeKubectl, tmp_path: Path) -> None:
    file = Path(file_with(tmp_path, SPEC, with_(scaling={"maxReplicas": 2})))
    file.write_text(f"{file.read_text()}\n---\nkind: Secret\napiVersion: v1\nmetadata: {{name: keys}}\n")
    found = run(kubectl, "diff", "-f", str(file))
    assert found.code == 1
    assert "No difference." in found.lines
    assert "Replicas: 0 to 1 → 0 to 2; now 1 (declared)" in found.lines
    assert found.err == "Not compared: Secret keys. `kubectl diff` does that.\n"
    assert run(kubectl, "diff", str(file), "-o", "name").out == "llmdeployment.slipway.dev/m\n"


def test_the_standard_input_is_read(kubectl: FakeKubectl, tmp_path: Path) -> None:
    text = Path(file_with(tmp_path, SPEC)).read_text()
    assert in_pipe(["slipway", "diff", "-"], given=text, env=kubectl.env).code == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "there is no LLMDeployment in it"),
        ("kind: Secret\n", "there is no LLMDeployment in it"),
        ("kind: LLMDeployment\nmetadata: {}\n", "without metadata.name"),
        ("kind: LLMDeployment\nmetadata: {name: m, namespace: other}\n", "--namespace is chat"),
        ("just words\n", "'just words' is not an object of Kubernetes"),
        ("{", "can't be read as YAML or JSON"),
        ("kind: LLMDeployment\nmetadata: [a]\n", "without metadata.name"),
        ("kind: LLMDeployment\nmetadata: x\n", "without metadata.name"),
        ("kind: LLMDeployment\nmetadata: {name: 5}\n", "metadata.name is 5, which is no name"),
        ("kind: LLMDeployment\nmetadata: {name: m, namespace: {a: b}}\n", "metadata.namespace is {'a': 'b'}"),
        ("items: &x\n  - items: *x\n", "can't be read as YAML or JSON"),
        ("[" * 3000, "can't be read as YAML or JSON"),
        ("kind: Secret\nmetadata: [a]\n", "there is no LLMDeployment in it"),
        ("apiVersion: other/v1\nkind: LLMDeployment\nmetadata: {name: m}\n", "there is no LLMDeployment in it"),
    ],
)
def test_a_file_that_is_wrong_is_usage(kubectl: FakeKubectl, tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "x.yaml").write_text(text)
    found = run(kubectl, "diff", str(tmp_path / "x.yaml"), "--namespace=chat")
    assert (found.code, found.out) == (2, "")
    assert said in found.err


def test_a_date_without_quotes_is_a_string_as_for_kubectl(kubectl: FakeKubectl, tmp_path: Path) -> None:
    text = Path(file_with(tmp_path, SPEC)).read_text()
    (tmp_path / "x.yaml").write_text(text.replace("metadata:\n", "metadata:\n  annotations: {a: 2020-01-01}\n", 1))
    assert "2020-01-01" in run(kubectl, "diff", str(tmp_path / "x.yaml")).out


def test_a_file_steers_no_terminal(kubectl: FakeKubectl, tmp_path: Path) -> None:
    other = 'kind: "\\e]0;owned\\a\\e[2J"\nmetadata: {name: "\\e[31mx"}\n---\n'
    (tmp_path / "x.yaml").write_text(other + Path(file_with(tmp_path, SPEC)).read_text())
    found = run(kubectl, "diff", str(tmp_path / "x.yaml"))
    assert found.err == "Not compared:  x. `kubectl diff` does that.\n"


def test_server_side_conflicts_are_said_unless_they_are_to_be_forced(kubectl: FakeKubectl, tmp_path: Path) -> None:
    file = file_with(tmp_path, with_(scaling={"minReplicas": 3}))
    assert run(kubectl, "diff", file, "--server-side", "--force-conflicts").code == 1
    assert run(kubectl, "diff", file, "--force-conflicts").code == 2
    kubectl.failures = {"apply": 'Error from server (Conflict): Apply failed with 1 conflict: conflict with "helm"'}
    found = run(kubectl, "diff", file, "--server-side")
    assert (found.code, 'conflict with "helm"' in found.err) == (2, True)
    forced, not_forced = (each for each in kubectl.calls if each[0] == "apply")
    assert {"--server-side", "--force-conflicts"} <= set(forced)
    assert ("--server-side" in not_forced, "--force-conflicts" in not_forced) == (True, False)


def test_no_file_is_usage(kubectl: FakeKubectl) -> None:
    assert run(kubectl, "diff").code == 2
    assert run(kubectl, "diff", "/nonexistent.yaml").code == 2


@pytest.mark.parametrize(
    ("failure", "code", "said"),
    [
        (REFUSED, 2, "The API server refuses LLMDeployment m: "),
        ('Error from server (Forbidden): "m" is forbidden: User "eve" cannot patch', 3, "ask for the role edit"),
        (f'Error from server (Forbidden): error when creating "STDIN": {DENIED}: [cost] no budget', 2, "] no budget."),
        (f'Error from server: error when creating "STDIN": {DENIED}: no budget', 2, "The API server refuses"),
        (
            "Error from server (Forbidden): ValidatingAdmissionPolicy 'p' denied request",
            2,
            "'p'",
        ),
        ('Error from server (Forbidden): "m" is forbidden: exceeded quota: q', 2, "exceeded quota: q."),
        ('Error from server (InternalError): failed calling webhook "w"', 3, "ailed calling webhook"),
        ("Unable to connect to the server: no such host", 3, "Check the network"),
    ],
)
def test_an_api_server_that_refuses_is_quoted(
    kubectl: FakeKubectl, tmp_path: Path, failure: str, code: int, said: str
) -> None:
    kubectl.failures = {"apply": failure}
    found = run(kubectl, "diff", file_with(tmp_path, with_(scaling={"minReplicas": 3})))
    assert (found.code, found.out) == (code, "")
    assert said in found.err
    assert len(found.err.splitlines()) == 1


def test_without_rights_it_says_what_it_takes_instead(kubectl: FakeKubectl, tmp_path: Path) -> None:
    for path in (
        "/apis/slipway.dev/v1alpha1/acceleratorprofiles",
        "/apis/serving.kserve.io/v1alpha1/clusterservingruntimes",
        "/api/v1/namespaces/chat/pods",
    ):
        kubectl.failures[path] = "Error from server (Forbidden): no"
    found = run(kubectl, "diff", file_with(tmp_path, with_(engine={"contextLength": 2048})))
    assert found.code == 1, found.err
    assert "! acceleratorprofiles can't be read (Forbidden), so plans are made with those of the chart." in found.lines
    assert "! pods can't be read (Forbidden), so whether some run is taken from the status." in found.lines
    assert "Pods: All are replaced, because what they are made of changes: (computed)" in found.lines


def test_what_others_wrote_controls_no_terminal(kubectl: FakeKubectl, tmp_path: Path) -> None:
    kubectl.objects[0] = cli_worlds.deployment("m", spec=with_(pod={"labels": {"a": "\x1b[2J\u202eb"}}))
    found = in_terminal(["slipway", "diff", file_with(tmp_path, SPEC)], width=100, env=kubectl.env)
    assert "\x1b[2J" not in found.out
    assert "\u202e" not in found.out


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_no_line_is_wider_than_the_terminal(kubectl: FakeKubectl, tmp_path: Path, width: int) -> None:
    file = file_with(tmp_path, with_(engine={"contextLength": 2048}))
    found = in_terminal(["slipway", "diff", file], width=width, env=kubectl.env)
    wide = [line for line in found.lines if len(line) > width]
    assert [line for line in wide if line[0] not in "+- @"] == []  # lines of the object can be copied
