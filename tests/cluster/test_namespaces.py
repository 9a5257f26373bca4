"""A node ends unless it is recorded, so that `down` can always find it."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from slipway_devcluster import builds, namespaces
from slipway_devcluster.identity import identify
from slipway_devcluster.namespaces import Namespaces
from support.cluster import Settings, host
from support.programs import processes


@pytest.fixture
def node_program(settings: Settings) -> Path:
    return builds.ensure_built("node", settings.cache, settings.steps).binary("node")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    for folder in ("kubelet", "log"):
        (tmp_path / folder).mkdir()
    (tmp_path / "resolv.conf").touch()
    (tmp_path / "clusters").mkdir()
    return tmp_path


def make(node_program: Path, state: Path, record: Callable[[Namespaces], None]) -> Namespaces:
    return namespaces.create(
        node_program=node_program,
        state=state,
        cache_root=state,
        port=0,
        log=state / "log/node.log",
        record=record,
    )


def test_a_node_keeps_running_once_its_creator_has_recorded_it(node_program: Path, state: Path) -> None:
    written: list[Namespaces] = []

    node = make(node_program, state, written.append)

    assert written == [node]
    assert node.alive()
    node.destroy()
    assert not node.alive()


def test_a_node_ends_when_its_creator_dies_before_recording_it(node_program: Path, state: Path) -> None:
    reader, writer = os.pipe()

    def die(node: Namespaces) -> None:
        os.write(writer, f"{node.init.pid} {node.holder.pid}".encode())
        os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        make(node_program, state, die)
    os.waitpid(child, 0)

    pids = [int(pid) for pid in os.read(reader, 100).split()]
    host.until(lambda: not any(map(identify, pids)), timeout=30)


def test_processes_spawned_on_a_node_end_with_it(node_program: Path, state: Path) -> None:
    node = make(node_program, state, lambda _: None)
    node.spawn(["sleep", "1000"], log=state / "log/sleep.log", env={})

    host_pids = [pid for pid in processes.tree(node.holder.pid) if pid not in (node.holder.pid, node.init.pid)]
    assert len(host_pids) == 1

    node.destroy()

    assert identify(host_pids[0]) is None
