"""What `make demo` does once everything is built: Slipway is installed; a model sleeps, wakes, responds and sleeps."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path

import pytest
from slipway_devcluster import demo
from slipway_devcluster.cluster import Cluster
from support.charts import helm
from support.cluster import Settings
from support.pages.markdown import read
from support.pages.shell import Shell
from support.repository import QUICKSTART

SHORT_IDLE_AFTER = '{"spec": {"scaling": {"idleAfter": "10s"}}}'


@pytest.fixture(scope="module")
def lines(operator_pods: Cluster, settings: Settings) -> Iterator[list[str]]:
    """The lines that the user sees."""
    with redirect_stdout(io.StringIO()) as seen:
        demo.apply(operator_pods, settings.cache, settings.steps)
        operator_pods.run_kubectl(
            ["patch", "llm", demo.NAME, "-n", demo.NAMESPACE, "--type=merge", "-p", SHORT_IDLE_AFTER]
        )
        demo.converse(operator_pods, demo.PROMPT)
    yield seen.getvalue().splitlines()
    operator_pods.run_kubectl(["delete", "namespace", demo.NAMESPACE, "--wait=false"])


def pods(cluster: Cluster) -> str:
    return cluster.run_kubectl(["get", "pods", "-n", demo.NAMESPACE, "-o", "name"])


def test_the_api_server_accepts_all_that_is_installed(operator_pods: Cluster) -> None:
    strictly = ["--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict"]
    for chart in ("slipway-crds", "slipway"):
        operator_pods.run_kubectl(["apply", *strictly, "--filename=-"], helm.text(chart).encode())


def test_the_demo_shows_the_model_asleep_and_at_the_end_asleep_again(lines: list[str]) -> None:
    states = [state for line in lines for state in ("Idle", "Serving") if state in line.split()]
    assert (states[0], states[-1]) == ("Idle", "Idle")
    assert "Serving" in states


def test_the_demo_shows_what_happens_while_the_prompt_is_held(lines: list[str]) -> None:
    assert any(line.startswith(": waking") for line in lines)
    assert any(line.startswith("It was woken for that: schedule ") for line in lines)


def test_both_responses_are_the_same(lines: list[str]) -> None:
    """The response to the held request, and the one directly from the replica."""
    answers = [line for line in lines if line.startswith(demo.PROMPT)]
    assert len(answers) == 2
    assert len(set(answers)) == 1


def test_a_model_is_broken_and_repaired_as_in_the_quickstart(
    operator_pods: Cluster, lines: list[str], tmp_path: Path
) -> None:
    """docs/quickstart.md says what the status shows."""
    shell = Shell.made(tmp_path, {"kubectl": operator_pods.kubectl}, operator_pods.kubeconfig)
    part = ("On this machine", "Break it, and find out why")
    breaking, repairing = (each.text for each in read(QUICKSTART).under(*part, language="sh")[1:])
    broken = shell.run(breaking)
    assert broken.code == 0, broken.lines
    shown = "\n".join(broken.lines)
    assert "ProfileMissing" in shown
    assert "Runbook:" in shown
    assert "/ProfileMissing.html" in shown
    assert shell.run(repairing).code == 0


def test_running_the_demo_again_changes_nothing(operator_pods: Cluster, lines: list[str], settings: Settings) -> None:
    before = pods(operator_pods)
    demo.apply(operator_pods, settings.cache, settings.steps)
    assert pods(operator_pods) == before
