"""Exit code 1 is an answer of a command: no bug, Ctrl-C, closed pipe or signal gives it, and none leaves a process."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import click
import pytest
from slipway_cli.ending import run
from slipway_cli.problems import Misused, Problem
from support.builders import cli_worlds
from support.fakes.kubectl import FakeKubectl
from support.programs.terminal import BIN, CLEAN, WITH_DEFAULT_SIGNALS


def command_that(raises: BaseException) -> click.Command:
    @click.command()
    def command() -> None:
        raise raises

    return command


@pytest.mark.parametrize(
    ("raises", "code"),
    [
        (click.exceptions.Exit(1), 1),
        (Misused("no"), 2),
        (Problem("no"), 3),
        (click.Abort(), 130),
        (KeyboardInterrupt(), 130),
        (ValueError("sk-key"), 3),
        (RecursionError(), 3),
        (OSError(28, "No space left on device"), 3),
    ],
    ids=repr,
)
def test_only_an_answer_ends_with_1(
    raises: BaseException, code: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["slipway"])
    assert run(command_that(raises), "slipway") == code
    assert "sk-key" not in capsys.readouterr().err


def test_a_bug_is_one_sentence_with_its_place(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["slipway"])
    run(command_that(ValueError("x")), "slipway")
    said = capsys.readouterr().err
    assert said.startswith("Error: This is a bug of slipway (ValueError in test_ending.py, line ")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    ["explain -o name", "--help", "plan --help", "--version", "no-such-command 2>&1", "explain Nothing 2>&1"],
)
def test_a_closed_pipe_is_told_from_an_answer(arguments: str) -> None:
    pipe = f"(sleep 0.2; exec {BIN / 'slipway'} {arguments}) | true; echo ${{PIPESTATUS[0]}}"  # true has ended by then
    found = subprocess.run(["bash", "-c", pipe], capture_output=True, text=True, env=CLEAN, timeout=60, check=True)
    assert (found.stdout, found.stderr) == ("141\n", "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_command_that_watches_leaves_no_kubectl(tmp_path: Path, number: int) -> None:
    kubectl = FakeKubectl(tmp_path, [cli_worlds.deployment("m", status=cli_worlds.SERVING)])
    command = [*WITH_DEFAULT_SIGNALS, str(BIN / "slipway"), "wait", "m", "--for=idle"]
    with subprocess.Popen(command, env={**CLEAN, **kubectl.env}, stderr=subprocess.DEVNULL) as process:
        until_watching(kubectl)
        process.send_signal(number)
    assert process.returncode == 128 + number
    assert watches(kubectl) == []


def test_what_is_ignored_stays_ignored(tmp_path: Path) -> None:
    kubectl = FakeKubectl(tmp_path, [cli_worlds.deployment("m", status=cli_worlds.SERVING)])
    command = ["nohup", str(BIN / "slipway"), "wait", "m", "--for=idle", "--timeout=4s"]
    with subprocess.Popen(command, env={**CLEAN, **kubectl.env}, stderr=subprocess.PIPE) as process:
        until_watching(kubectl)
        process.send_signal(signal.SIGHUP)
        process.communicate()
    assert process.returncode == 3


def watches(kubectl: FakeKubectl) -> list[str]:
    command = ["pgrep", "-f", f"{kubectl.folder}/kubectl .*watch=1"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()


def until_watching(kubectl: FakeKubectl) -> None:
    end = time.monotonic() + 30
    while not watches(kubectl) and time.monotonic() < end:
        time.sleep(0.1)
    assert watches(kubectl)
