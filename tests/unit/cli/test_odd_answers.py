"""Names that are none, answers that aren't JSON, and objects that have gone: a sentence, and never a trace."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from slipway.objects.kinds import POD
from slipway_cli.cluster.kubectl import ApiError, Kubectl
from slipway_cli.cluster.reading import read_one
from slipway_cli.cluster.watching import Live
from slipway_cli.commands.init import _whole
from slipway_cli.commands.logs import _logs
from slipway_cli.main import cli
from slipway_cli.problems import USAGE, Misused
from support.builders import cli_worlds
from support.fakes.kubectl import FakeKubectl


@pytest.fixture
def kubectl(tmp_path: Path) -> FakeKubectl:
    return FakeKubectl(tmp_path)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "Model", "m?watch=1", "m ", "-x", "m\x1b[2J"])
def test_a_name_that_no_object_can_have_is_a_wrong_usage(kubectl: FakeKubectl, name: str) -> None:
    with pytest.raises(Misused) as misused:
        read_one(kubectl.inside()(), name, "chat")
    assert misused.value.exit_code == USAGE
    assert [call[2].endswith("/llmdeployments") for call in kubectl.calls] == [True]  # for a name that is close


class Answering(Kubectl):
    """kubectl that succeeds and writes this."""

    def __init__(self, said: str) -> None:
        self._said, self._flags, self._namespace, self._program = said, (), "", "echo"
        self._running: set[subprocess.Popen[bytes]] = set()

    def run(self, *arguments: str, **options: Any) -> str:
        return self._said


@pytest.mark.parametrize("said", ["", "<html>Log in</html>", "{"])
def test_an_answer_that_is_not_json_is_named_with_its_start(said: str) -> None:
    with pytest.raises(ApiError) as error:
        Answering(said).get("/api")
    assert "is not JSON" in error.value.message
    assert said[:6] in error.value.message


@pytest.mark.parametrize("said", ["[]", "7", "null"])
def test_json_of_another_form_is_an_empty_answer(said: str) -> None:
    assert Answering(said).get("/api") == {}


def test_a_watch_whose_line_is_cut_off_lists_again() -> None:
    """`echo` stands for kubectl: it writes its arguments, which are no event."""
    with Live(Answering('{"items": []}'), {POD: "/api/v1/pods"}) as live:
        for _ in live.states(3.0):
            if live.is_complete:
                break
        assert live.now() == ({POD: ()}, {})


def test_the_log_of_a_container_that_has_gone_is_left_out_and_the_others_are_shown(
    kubectl: FakeKubectl, capsys: pytest.CaptureFixture[str]
) -> None:
    def pod(name: str) -> dict[str, Any]:
        container = {"name": "engine", "state": {"running": {}}}
        return {"metadata": {"name": name}, "status": {"containerStatuses": [container]}}

    kubectl.logs = {"here/engine": "2026-11-30T12:00:02Z fine\n"}
    kubectl.failures = {"logs gone": 'Error from server (NotFound): pods "gone" not found'}
    found = _logs(kubectl.inside()(), [pod("here"), pod("gone")], [], previous=False)
    assert [each for each in found if each] == [[("2026-11-30T12:00:02Z", "here/engine", "fine")]]
    assert "gone/engine is left out" in capsys.readouterr().err


PROGRESS = "Loading:  10%|#\rLoading: 20%|##\rLoading: 100%|###"


def test_a_progress_bar_is_one_line_of_its_time_as_a_terminal_shows_it(
    kubectl: FakeKubectl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", kubectl.env["PATH"])
    kubectl.objects = [cli_worlds.deployment("m", status=cli_worlds.SERVING), cli_worlds.pod("m-1", "m")]
    container = {"name": "engine", "state": {"running": {}}}
    kubectl.objects[1]["status"]["containerStatuses"] = [container]
    kubectl.logs = {
        "m-1/engine": f"2026-11-30T12:00:02Z {PROGRESS}\n2026-11-30T12:00:03Z a\x85b\u2028c\r\nunable to read on\n"
    }
    kubectl.env  # noqa: B018 -- writes the files
    entries = _logs(Kubectl(), [kubectl.objects[1]], [], previous=False)[0]
    assert entries == [
        ("2026-11-30T12:00:02Z", "m-1/engine", PROGRESS),
        ("2026-11-30T12:00:03Z", "m-1/engine", "a\x85b\u2028c\r"),
        ("2026-11-30T12:00:03Z", "m-1/engine", "unable to read on"),
    ]
    shown = CliRunner().invoke(cli, ["logs", "m"]).stdout.splitlines()
    assert shown == ["m-1/engine Loading: 100%|###", "m-1/engine abc", "m-1/engine unable to read on"]


def test_the_only_log_that_can_not_be_read_is_an_error(kubectl: FakeKubectl) -> None:
    container = {"name": "engine", "state": {"running": {}}}
    pods = [{"metadata": {"name": "gone"}, "status": {"containerStatuses": [container]}}]
    kubectl.failures = {"logs gone": 'Error from server (NotFound): pods "gone" not found'}
    with pytest.raises(ApiError):
        _logs(kubectl.inside()(), pods, [], previous=False)


# --- what a user writes ----------------------------------------------------------------------------------------------


def test_a_word_that_is_too_long_for_a_file_is_no_model() -> None:
    found = CliRunner().invoke(cli, ["plan", "a" * 5000])
    assert found.exit_code == USAGE
    assert "No known model is called" in found.stderr


def test_a_list_as_kubectl_writes_it_is_planned_object_by_object() -> None:
    def deployment(name: str) -> dict[str, Any]:
        spec = {"model": {"uri": "hf://meta-llama/Llama-3.1-8B-Instruct"}, "accelerator": {"profiles": ["l4"]}}
        return {"kind": "LLMDeployment", "metadata": {"name": name}, "spec": spec}

    listed = {"kind": "List", "items": [deployment("one"), deployment("two")]}
    found = CliRunner().invoke(cli, ["plan", "-", "-o", "json"], input=json.dumps(listed))
    assert [f'"name": "{name}"' in found.stdout for name in ("one", "two")] == [True, True]


def test_a_digit_that_is_no_number_is_a_wrong_usage() -> None:
    with pytest.raises(Misused):
        _whole("²")
