"""What differs between systems: paths and encodings of Windows, pipes that close early, terminals without colours."""

from __future__ import annotations

import json
import ntpath
import subprocess
from pathlib import Path, PureWindowsPath

import pytest
from slipway_cli.cluster.bundle import FOLDER, safe_name
from slipway_cli.offline.files import text_of
from slipway_cli.offline.wanted import wanted_of
from support.builders import cli_worlds
from support.builders.configs import LLAMA_3_1_8B
from support.fakes.kubectl import FakeKubectl
from support.programs.terminal import BIN, CLEAN, in_pipe, in_terminal

MODEL = "Qwen/Qwen3-8B"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_files_of_powershell_are_read(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "config.json"
    file.write_text('{"a": "ü"}', encoding=encoding)
    assert text_of(file) == '{"a": "ü"}'


def test_a_name_that_is_too_long_for_a_file_is_an_error_of_one_line() -> None:
    found = in_pipe(["slipway", "plan", "a" * 300])
    assert (found.code, len(found.err.splitlines())) == (2, 1)


def test_the_folder_of_a_config_names_the_model_and_not_its_drive(tmp_path: Path) -> None:
    (tmp_path / "My Model").mkdir()
    file = tmp_path / "My Model" / "config.json"
    file.write_text(json.dumps(LLAMA_3_1_8B))
    [found] = wanted_of(str(file), {})
    assert found.deployment.spec.model.uri == "pvc://my-model/"


@pytest.mark.parametrize("name", ["a:b", "a\\b", "a?b*", "CON", "aux.log", "ends. ", "a/b", "x" * 200])
def test_a_path_in_an_archive_is_one_on_windows(name: str) -> None:
    path = PureWindowsPath(FOLDER) / safe_name(name)
    assert len(path.parts) == 2
    assert not ntpath.isabs(safe_name(name))
    assert not path.is_reserved()


# --- pipes and terminals ---------------------------------------------------------------------------------------------


@pytest.fixture
def kubectl(tmp_path: Path) -> FakeKubectl:
    llm, others, _ = cli_worlds.recorded("crash-loop")
    return FakeKubectl(tmp_path, objects=[llm, *others], namespace=llm["metadata"]["namespace"])


@pytest.mark.parametrize(
    "command", ["status", "why model", "tree model", "events model -o json", "support-bundle --dry-run"]
)
def test_a_pipe_that_closes_early_is_no_error(kubectl: FakeKubectl, command: str) -> None:
    line = f"{BIN / 'slipway'} {command} | head -1"
    env = {**CLEAN, **kubectl.env}
    found = subprocess.run(["bash", "-c", line], capture_output=True, text=True, env=env, timeout=60, check=True)
    assert (len(found.stdout.splitlines()), found.stderr) == (1, "")


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
@pytest.mark.parametrize("command", ["status", "why model", "tree model", "support-bundle --dry-run"])
def test_colours_can_be_switched_off_in_each_command(kubectl: FakeKubectl, command: str, env: dict[str, str]) -> None:
    found = in_terminal(["slipway", *command.split()], width=100, env={**kubectl.env, **env})
    assert "\x1b[" not in found.out


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_no_line_of_a_bundle_is_wider_than_the_terminal(kubectl: FakeKubectl, width: int) -> None:
    found = in_terminal(["slipway", "support-bundle", "--dry-run"], width=width, env=kubectl.env)
    assert found.code == 0, found.text
    assert [line for line in found.lines if len(line) > width and " " in line] == []


@pytest.mark.parametrize(("name", "code"), [("modle", 3), ("Model", 2)])
def test_a_name_that_is_wrong_gets_the_one_that_was_meant(kubectl: FakeKubectl, name: str, code: int) -> None:
    found = in_pipe(["slipway", "why", name], env=kubectl.env)
    assert found.code == code
    assert "did you mean model? `kubectl llm status --all-namespaces` lists them." in found.err
    other = in_pipe(["slipway", "why", name, "--kubeconfig=x.yaml"], env=kubectl.env)
    assert "`kubectl llm status --kubeconfig=x.yaml --all-namespaces` lists them." in other.err
