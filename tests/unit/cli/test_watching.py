"""What is watched survives a moment in which the API server doesn't answer, and ends with a right that is gone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from slipway.objects.kinds import LLM_DEPLOYMENT, POD, Kind
from slipway_cli.cluster.kubectl import ApiError, error_of
from slipway_cli.cluster.watching import Live
from slipway_cli.cluster.world import World
from slipway_cli.commands import restart, tree
from slipway_cli.problems import Problem
from support.builders import cli_worlds
from support.fakes.kubectl import FakeKubectl

TIMEOUT = "Unable to connect to the server: dial tcp 10.0.0.1:6443: i/o timeout"
BUSY = "Error from server (TooManyRequests): the server has received too many requests"
FORBIDDEN = 'Error from server (Forbidden): pods is forbidden: User "u" cannot list resource "pods"'
LISTS = {
    LLM_DEPLOYMENT: "/apis/slipway.dev/v1alpha1/namespaces/chat/llmdeployments",
    POD: "/api/v1/namespaces/chat/pods",
}


def kubectl_of(tmp_path: Path, kind: Kind, said: str) -> Any:
    """One whose second list of a kind says this, and whose watches end at once."""
    fake = FakeKubectl(tmp_path, [cli_worlds.deployment("m", status=cli_worlds.SERVING), cli_worlds.pod("m-1", "m")])
    plain = fake.inside()

    class Failing(plain):  # type: ignore[valid-type,misc]
        def __init__(self) -> None:
            super().__init__()
            self.count = 0
            self.has_failed = threading.Event()

        def get(self, path: str) -> Any:
            if path.startswith(f"{LISTS[kind]}?"):
                self.count += 1
                if self.count >= 2:
                    self.has_failed.set()
                    raise error_of(said)
            return super().get(path)

        @contextmanager
        def lines(self, *arguments: str, apart: bool = False) -> Iterator[Iterator[str]]:
            yield iter(())

        def end_all(self) -> None:
            pass

    return Failing()


def worlds_after_failure(kubectl: Any) -> Iterator[World | None]:
    with Live(kubectl, {kind: f"{path}?" for kind, path in LISTS.items()}) as live:
        assert kubectl.has_failed.wait(20)
        yield from live.worlds(3)


@pytest.mark.parametrize("kind", LISTS, ids=str)
@pytest.mark.parametrize("said", [TIMEOUT, BUSY])
def test_what_was_known_stays_while_a_list_fails_for_a_moment(tmp_path: Path, kind: Kind, said: str) -> None:
    found = list(worlds_after_failure(kubectl_of(tmp_path, kind, said)))
    assert found
    for world in found:
        assert world is not None
        assert [each["metadata"]["name"] for each in world.of(POD)] == ["m-1"]


def test_a_right_that_is_gone_ends_the_watch_of_the_model(tmp_path: Path) -> None:
    with pytest.raises(ApiError, match="can't be read any more"):
        list(worlds_after_failure(kubectl_of(tmp_path, LLM_DEPLOYMENT, FORBIDDEN)))


def test_pods_that_may_no_longer_be_read_are_a_gap(tmp_path: Path) -> None:
    *_, world = worlds_after_failure(kubectl_of(tmp_path, POD, FORBIDDEN))
    assert world is not None
    assert (world.of(POD), dict(world.unreadable)) == ((), {POD: "Forbidden"})


def test_neither_a_tree_nor_a_restart_ends_by_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for kind in LISTS:
        world = World(now=datetime.now(UTC), llm=cli_worlds.deployment("m", status=cli_worlds.SERVING))
        with pytest.raises(Problem, match="had not restarted within 4 s"):
            restart._wait(kubectl_of(tmp_path, kind, TIMEOUT), world, "now", 4.0)
    assert tree._watch(kubectl_of(tmp_path, LLM_DEPLOYMENT, BUSY), "m", "chat", forever=False)
    assert "llm/m" in capsys.readouterr().out
