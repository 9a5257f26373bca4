"""The installed programs in real pseudo-terminals of several widths, and in pipes."""

from __future__ import annotations

import subprocess

import pytest
from slipway_cli.main import COMMANDS, cli, program
from slipway_cli.output.table import columns
from support.programs.terminal import BIN, CLEAN, in_pipe, in_terminal

MODEL = "Qwen/Qwen3-8B"
WIDTHS = (60, 80, 120, 200)
SCREENS = (["plan", MODEL], ["plan", MODEL, "--all", "--output=wide"], ["explain"], ["explain", "GpuOutOfMemory"])


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("arguments", SCREENS, ids=" ".join)
def test_no_line_is_wider_than_the_terminal(arguments: list[str], width: int) -> None:
    found = in_terminal(["slipway", *arguments], width=width)
    assert found.code == 0
    wide = [line for line in found.lines if columns(line) > width]
    assert [line for line in wide if not line.startswith(("$ ", "|", "kubectl "))] == []  # blocks of a runbook


def test_a_wide_terminal_shows_every_column_and_a_narrow_one_says_what_it_lacks() -> None:
    wide = in_terminal(["slipway", "plan", MODEL], width=200).text
    narrow = in_terminal(["slipway", "plan", MODEL], width=60).text
    assert "FIRST TOKEN" in wide
    assert "A wider terminal also shows" not in wide
    assert "A wider terminal also shows" in narrow
    said = narrow.split("A wider terminal also shows")[1]
    assert "FIRST" in said
    assert "FULL" in said


def test_a_terminal_has_colours_and_a_pipe_has_none() -> None:
    assert "\x1b[" in in_terminal(["slipway", "plan", MODEL], width=120).out
    assert "\x1b" not in in_pipe(["slipway", "plan", MODEL]).out


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_colours_can_be_switched_off(env: dict[str, str]) -> None:
    assert "\x1b[" not in in_terminal(["slipway", "plan", MODEL], width=120, env=env).out


def test_in_a_pipe_each_row_is_one_line() -> None:
    rows = in_pipe(["slipway", "plan", MODEL, "--all"]).out.splitlines()
    [header] = [line for line in rows if line.lstrip().startswith("PROFILE")]
    assert "PER MILLION" in header
    [why] = [line for line in rows if line.startswith("cpu ") and "needs" in line]
    assert "pod.resources.limits.memory" in why


def test_a_pipe_that_closes_early_is_no_error() -> None:
    command = f"{BIN / 'slipway'} plan {MODEL} --all --output=json | head -1"
    found = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=CLEAN, timeout=60, check=True)
    assert found.stdout == "{\n"
    assert found.stderr == ""


@pytest.mark.parametrize("name", ["slipway", "kubectl-llm"])
def test_both_programs_help_by_their_own_name(name: str) -> None:
    found = in_pipe([name, "--help"])
    assert found.code == 0
    assert found.out.startswith(f"Usage: {'kubectl llm' if name == 'kubectl-llm' else name} ")
    assert all(f"  {command}" in found.out for command in COMMANDS)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/usr/bin/kubectl-llm", "kubectl llm"),
        ("C:\\Users\\me\\bin\\kubectl-llm.exe", "kubectl llm"),
        ("slipway", "slipway"),
    ],
)
def test_the_program_is_called_as_users_call_it(path: str, said: str) -> None:
    assert program(path) == said


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_what_each_says_of_itself(name: str) -> None:
    command = cli.get_command(None, name)  # type: ignore[arg-type]
    assert command is not None
    assert command.short_help == COMMANDS[name].help


def test_a_mistyped_command_gets_the_closest_one() -> None:
    found = in_pipe(["slipway", "paln"])
    assert (found.code, found.out) == (2, "")
    assert "'paln' is not a command. Did you mean 'plan'?" in found.err


def test_help_imports_neither_the_planner_nor_pydantic() -> None:
    code = "import sys; from slipway_cli.main import cli; cli(['--help'], standalone_mode=False); " + (
        "sys.exit(1 if {'pydantic', 'yaml', 'slipway.operator'} & set(sys.modules) else 0)"
    )
    assert in_pipe(["python", "-c", code]).code == 0
    assert in_pipe(["python", "-c", code.replace("--help", "plan', '--help")]).code == 0
