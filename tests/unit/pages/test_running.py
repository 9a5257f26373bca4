"""Commands of a page are run by a real shell, and judged by how they end and what they print."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from support.pages.console import Step
from support.pages.running import DiffersError, check, only_reads
from support.pages.shell import Shell

VALUES = {"NAME": "llama"}
TWICE = """#!/bin/sh
echo x >> $HOME/calls
[ $(wc -l < $HOME/calls) -gt 1 ] && echo "$@ ready" || echo "$@ starting"
"""


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A shell whose kubectl says something else the second time."""
    program = tmp_path / "kubectl-of-the-test"
    program.write_text(TWICE)
    program.chmod(0o755)
    return Shell.made(tmp_path / "home", {"kubectl": program}, Path("/somewhere/kubeconfig"))


def step(command: str, *output: str) -> Step:
    return Step(command, output, "Example.md", 7)


def complaint(shell: Shell, command: str, *output: str, limit: float = 30) -> str:
    with pytest.raises(DiffersError) as found:
        check(step(command, *output), shell, VALUES, within=0, limit=limit)
    return str(found.value)


def test_a_command_that_prints_what_the_page_shows_passes(shell: Shell) -> None:
    assert check(step("echo NAME; echo b >&2", "llama", "b"), shell, VALUES).lines == ("llama", "b")


def test_a_command_that_prints_nothing_is_shown_without_output(shell: Shell) -> None:
    check(step("true"), shell, VALUES)
    assert "a line that the page doesn't show: 'a'" in complaint(shell, "echo a")


def test_a_failure_is_not_hidden_by_output_that_matches_anything(shell: Shell) -> None:
    for page in (("a", "…"), ("…", "a", "…"), ("a", "… …")):
        assert "failed with exit code 3" in complaint(shell, "echo a; echo b; exit 3", *page)


def test_a_failure_in_a_pipeline_counts(shell: Shell) -> None:
    assert "failed with exit code 1" in complaint(shell, "false | cat")
    assert "failed with exit code 127" in complaint(shell, "no-such-program | cat", "…", "x")


def test_an_error_that_the_page_shows_passes(shell: Shell) -> None:
    error = 'Error from server (NotFound): secrets "llama" not found'
    check(step(f"echo '{error}' >&2; exit 1", 'Error from server (NotFound): secrets "NAME" …'), shell, VALUES)
    assert "doesn't show its last line" in complaint(shell, "echo error one; echo other two; exit 1", "error one", "…")


def test_a_difference_shows_page_line_command_and_both_texts(shell: Shell) -> None:
    found = complaint(shell, "echo a; echo NAME; echo c", "a", "other NAME", "c")
    assert found.splitlines() == [
        "Example.md:7: the page shows a line that the command didn't print there: 'other NAME'",
        "  $ echo a; echo llama; echo c",
        "  the page shows",
        "    a",
        "  > other NAME",
        "    c",
        "  the command printed",
        "    a",
        "  > llama",
        "    c",
    ]


def test_a_command_that_only_reads_is_run_until_it_shows_what_the_page_shows(shell: Shell) -> None:
    check(step("kubectl get llm NAME", "get llm llama ready"), shell, VALUES, within=10)


def test_a_command_that_changes_something_is_run_once(shell: Shell) -> None:
    with pytest.raises(DiffersError, match="starting"):
        check(step("kubectl delete llm NAME", "delete llm llama ready"), shell, VALUES, within=10)
    assert (shell.home / "calls").read_text() == "x\n"


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("kubectl get llm -A", True),
        ("kubectl -n chat describe llm x | grep -A3 Events", True),
        ("kubectl logs -l a=b 2>&1 | tail -1", True),
        ("helm status slipway -n slipway-system", True),
        ("promtool query instant $PROMETHEUS 'up'", True),
        ("kubectl get llm x -o yaml > x.yaml", False),
        ("kubectl get pods -o name | xargs kubectl delete", False),
        ("kubectl patch llm x -p '{}'", False),
        ("helm upgrade slipway", False),
        ("curl -d '{}' http://x && kubectl get llm", False),
        ("kubectl exec x -- true", False),
        ("true", False),
    ],
)
def test_what_only_reads(command: str, *, expected: bool) -> None:
    assert only_reads(command) is expected


def test_a_command_without_end_is_ended_with_all_that_it_started(shell: Shell) -> None:
    started = time.monotonic()
    found = complaint(shell, "sleep 300 & echo $! > $HOME/pid; wait", limit=1)
    assert "did not end within its time limit" in found
    assert time.monotonic() - started < 20
    assert not is_running(shell)


def test_what_a_command_leaves_running_ends_with_it(shell: Shell) -> None:
    check(step("sleep 300 > /dev/null 2>&1 & echo $! > $HOME/pid"), shell, VALUES)
    assert not is_running(shell)


def is_running(shell: Shell) -> bool:
    state = Path(f"/proc/{int((shell.home / 'pid').read_text())}/stat")
    time.sleep(0.1)
    return state.exists() and state.read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_command_gets_a_home_of_its_own_and_nothing_of_this_process(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLIPWAY_SECRET_OF_THE_TEST", "x")
    ended = shell.run("env; pwd")
    assert f"HOME={shell.home}" in ended.lines
    assert "KUBECONFIG=/somewhere/kubeconfig" in ended.lines
    assert str(shell.home) == ended.lines[-1]
    assert "SLIPWAY_SECRET_OF_THE_TEST=x" not in ended.lines
    assert os.environ["PATH"] not in "\n".join(ended.lines)
