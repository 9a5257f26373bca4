"""`restart`: what it says before it asks, what it requests, and what it waits for."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from slipway_cli.cluster.acting import pause, restart
from slipway_cli.cluster.kubectl import ApiError, Kubectl
from slipway_cli.cluster.reading import read_world
from slipway_cli.cluster.rolling import is_at_zero, is_restarted, replacing
from slipway_cli.cluster.state import State
from slipway_cli.commands.restart import _wait
from support.builders import cli_worlds
from support.fakes.kubectl import FakeKubectl
from support.programs.cli import run
from support.programs.terminal import in_pipe, in_terminal

AT = "slipway.dev/restart"


@pytest.fixture
def kubectl(tmp_path: Path) -> FakeKubectl:
    return FakeKubectl(tmp_path, [cli_worlds.deployment("m", status=cli_worlds.SERVING), cli_worlds.pod("m-1", "m")])


def test_it_says_which_pods_are_replaced_and_how_asks_and_sets_one_annotation(kubectl: FakeKubectl) -> None:
    preview = run(kubectl, "restart", "m", "--dry-run")
    assert preview.code == 0, preview.err
    assert "Its replica is replaced by new pods that are made in the same way." in preview.text
    assert "  m-1  ready, " in preview.text
    assert "spec.rollout.strategy: Auto" in preview.text
    assert "The last start from zero took 10.8 s" in preview.text
    assert kubectl.patches == []
    assert run(kubectl, "restart", "m").code == 2  # no terminal, and no --yes
    assert run(kubectl, "restart", "m", "--yes").code == 0
    [patch] = kubectl.patches
    assert list(patch["metadata"]["annotations"]) == [AT]
    assert patch["metadata"]["uid"] == "uid-m"


def test_in_a_terminal_it_asks(kubectl: FakeKubectl) -> None:
    assert in_terminal(["slipway", "restart", "m"], width=80, keys="n\n", env=kubectl.env).code == 130
    assert kubectl.patches == []
    assert in_terminal(["slipway", "restart", "m"], width=80, keys="y\n", env=kubectl.env).code == 0
    assert len(kubectl.patches) == 1


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_no_line_is_wider_than_the_terminal(kubectl: FakeKubectl, width: int) -> None:
    found = in_terminal(["slipway", "restart", "m", "--dry-run"], width=width, env=kubectl.env)
    assert [line for line in found.lines if len(line) > width] == []


def test_at_zero_replicas_there_is_nothing_to_do(kubectl: FakeKubectl) -> None:
    kubectl.objects = [cli_worlds.deployment("m", status=cli_worlds.IDLE)]
    found = run(kubectl, "restart", "m", "--yes")
    assert (found.code, kubectl.patches) == (0, [])
    assert "Nothing to do: m is at zero replicas" in found.text


def test_an_update_that_is_available_is_not_brought_by_it(kubectl: FakeKubectl) -> None:
    updatable = {**cli_worlds.SERVING, "update": {"version": "0.3.0", "changes": ["x"]}}
    kubectl.objects = [cli_worlds.deployment("m", status=updatable)]
    assert "The update to Slipway 0.3.0 stays for slipway.dev/sync." in run(kubectl, "restart", "m", "--dry-run").text


def test_wait_sees_only_pods_of_this_restart(kubectl: FakeKubectl) -> None:
    kubectl.then = [
        cli_worlds.pod("m-1", "m", deletionTimestamp="2026-11-30T12:00:00Z"),
        cli_worlds.pod("m-2", "m", annotations={AT: "ANY"}),
    ]
    found = in_pipe(["slipway", "restart", "m", "--yes", "--wait", "--timeout=2s"], env=kubectl.env)
    assert found.code == 3  # the new pod is of another restart
    assert "m had not restarted within 2 s" in found.err


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"rollout": {"strategy": "Recreate"}}, "All replicas stop first"),
        (
            {"rollout": {"strategy": "Surge"}},
            "It waits for a free accelerator as long as there is none. Nothing is held.",
        ),
        ({"scaling": {"maxReplicas": 1}}, "if there is none, the old one stops first"),
        ({"scaling": {"maxReplicas": 3}}, "one old replica stops first, and the others continue to serve"),
        ({"scaling": {"maxReplicas": 1, "hold": {"maxRequests": 7, "timeout": "3m"}}}, "up to 7, each for 3m"),
        ({"rollout": {"drainTimeout": "9m"}}, "has 9m to finish its requests"),
    ],
)
def test_what_happens_to_requests_is_said_by_the_spec(spec: dict[str, Any], said: str) -> None:
    assert said in " ".join(replacing(cli_worlds.deployment("m", spec=spec), {}))


NOW, LATER, EARLIER = (f"2026-11-30T12:00:0{second}Z" for second in (5, 9, 1))
NEW, OLD = cli_worlds.pod("m-2", "m", annotations={AT: NOW}), cli_worlds.pod("m-1", "m")
NEWER = cli_worlds.pod("m-3", "m", annotations={AT: LATER})
OLDER = cli_worlds.pod("m-0", "m", annotations={AT: EARLIER})
STARTING = {**NEW, "status": {"phase": "Pending"}}
EVICTED = {**OLD, "status": {"phase": "Failed"}}
STOPPING = cli_worlds.pod("m-1", "m", deletionTimestamp="2026-11-30T12:00:00Z")


@pytest.mark.parametrize(
    ("pods", "is_over"),
    [
        ((OLD,), False),
        ((OLD, NEW), False),
        ((STARTING,), False),
        ((STOPPING,), False),
        ((NEW,), True),
        ((STOPPING, NEW), True),
        ((OLDER, NEW), False),
        ((NEWER,), True),
        ((EVICTED, NEW), True),
        ((EVICTED,), False),
        ((), False),
    ],
)
def test_a_restart_is_over_when_only_its_own_or_later_pods_are_left_and_ready(
    pods: tuple[Any, ...], is_over: bool
) -> None:
    state = State(cli_worlds.deployment("m", status=cli_worlds.SERVING))
    assert is_restarted(state, pods, NOW) is is_over


def test_a_model_at_zero_has_not_restarted() -> None:
    asleep = State(cli_worlds.deployment("m", status=cli_worlds.IDLE))
    failed = State(cli_worlds.deployment("m", status={**cli_worlds.FAILED, "replicas": {"desired": 0}}))
    for state in (asleep, failed):
        assert not is_restarted(state, (), NOW)
    assert is_at_zero(asleep, (STOPPING, EVICTED))
    assert not is_at_zero(asleep, (OLD,))
    assert not is_at_zero(failed, ())


def test_a_clock_that_is_behind_asks_for_a_later_time_than_the_last() -> None:
    last = cli_worlds.deployment("m", status=cli_worlds.SERVING, annotations={AT: LATER})
    asked = [
        restart(State(last), datetime.fromisoformat(time)).annotation[1] for time in (EARLIER, "2026-12-01T00:00:00Z")
    ]
    assert asked == ["2026-11-30T12:00:10Z", "2026-12-01T00:00:00Z"]


def test_a_number_of_replicas_that_is_not_reported_is_not_called_zero() -> None:
    state = State(cli_worlds.deployment("m", status={}))
    found = restart(state, datetime.now(UTC))
    assert (found.useless, "How many isn't reported; all replicas are replaced" in found.effect) == ("", True)
    assert pause(state, datetime.now(UTC)).effect == "The model stays at its replicas, whatever the demand."


def flaky(kubectl: FakeKubectl, *, only: str, monkeypatch: pytest.MonkeyPatch) -> Kubectl:
    """Its first list of these objects fails, and no watch changes them."""
    found, failed = kubectl.inside()(), list[str]()
    real = found.get

    def get(path: str) -> Any:
        if path.partition("?")[0].endswith(only) and not failed:
            failed.append(path)
            raise ApiError("Unreachable", "i/o timeout")
        return real(path)

    monkeypatch.setattr(found, "get", get)
    monkeypatch.setattr(found, "lines", lambda *_, **__: nullcontext(iter(())))
    monkeypatch.setattr(found, "end_all", lambda: None)
    return found


@pytest.mark.parametrize("only", ["/llmdeployments", "/pods"])
def test_wait_goes_on_after_a_moment_without_the_api_server(
    kubectl: FakeKubectl, only: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubectl.objects = [cli_worlds.deployment("m", status=cli_worlds.SERVING), NEW]
    world = read_world(kubectl.inside()(), "m", "chat")
    assert _wait(flaky(kubectl, only=only, monkeypatch=monkeypatch), world, NOW, 20.0)


def test_a_model_that_is_deleted_meanwhile_will_not_restart(
    kubectl: FakeKubectl, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world = read_world(kubectl.inside()(), "m", "chat")
    kubectl.objects = []
    assert not _wait(flaky(kubectl, only="/none", monkeypatch=monkeypatch), world, NOW, 20.0)
    assert "chat/m has been deleted." in capsys.readouterr().out
