"""Nothing of a cluster remains, whatever happened to it, and no other cluster is affected."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from slipway_devcluster import lifecycle, record
from slipway_devcluster.addresses import FIRST, Node
from slipway_devcluster.cluster import Cluster
from slipway_devcluster.errors import Refusal
from slipway_devcluster.record import Options
from support.builders import objects
from support.cluster import AnyCluster, Kube, Settings, host
from support.cluster.clusters import own_devcluster
from support.cluster.host import Host, Traces
from support.cluster.pods import is_running

DEVCLUSTER = Path(sys.executable).with_name("devcluster")


@dataclass(frozen=True)
class Ended:
    """A cluster of two nodes that ran, failed and was ended, and the state of the machine before and after."""

    cluster: Cluster
    traces: Traces
    before: Host
    after: Host
    home: Path
    """The home folder of the user who started and ended the cluster; it was empty."""


@pytest.fixture(scope="module")
def ended(cluster: AnyCluster, settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    spare, home = own_devcluster(cluster, settings), tmp_path_factory.mktemp("home")
    before = host.snapshot(spare)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("HOME", str(home))
        lifecycle.up(spare.name, cache=settings.cache, steps=settings.steps, options=Options(nodes=2))
        try:
            for node in (FIRST, Node(2)):
                run_a_pod(spare, node)
            traces = host.traces(spare)
            for component in ("containerd", "kube-apiserver", "kubelet", "containerd.slipway-2"):
                spare.kill(component)
        finally:
            lifecycle.down(spare.name, cache=settings.cache, steps=settings.steps)
    return Ended(spare, traces, before, host.snapshot(spare), home)


def run_a_pod(cluster: Cluster, node: Node) -> None:
    pod = objects.pod(node.name, objects.PAUSE, [], nodeName=node.name)
    cluster.run_kubectl(["apply", "-f", "-"], json.dumps(pod).encode())
    cluster.run_kubectl(["wait", "--for=condition=Ready", f"pod/{node.name}", "--timeout=60s"])


def test_a_running_cluster_has_traces_of_its_programs_and_pods(ended: Ended) -> None:
    """Without this, the other tests could not fail."""
    assert len(ended.traces.processes) > 20
    assert len(ended.traces.namespaces) > 20


def test_no_process_or_namespace_remains(ended: Ended) -> None:
    assert host.remains(ended.traces) == []


def test_no_mount_remains(ended: Ended) -> None:
    assert ended.after.mounts == ended.before.mounts


def test_no_file_remains_outside_the_cache_and_no_state_inside(ended: Ended) -> None:
    assert ended.after.files == ended.before.files
    assert list(ended.home.rglob("*")) == []


def test_no_control_group_remains(ended: Ended) -> None:
    assert ended.after.control_groups == ended.before.control_groups == frozenset()


def test_no_interface_route_or_iptables_rule_remains(ended: Ended) -> None:
    assert ended.after.network == ended.before.network


def test_ending_a_cluster_twice_is_refused_in_one_sentence(ended: Ended, settings: Settings) -> None:
    with pytest.raises(Refusal, match=f"there is no cluster '{ended.cluster.name}' to end"):
        lifecycle.down(ended.cluster.name, cache=settings.cache, steps=settings.steps)


async def test_ending_one_cluster_leaves_the_other_working(ended: Ended, kube: Kube) -> None:
    await kube.apply(objects.pod("survivor", objects.PAUSE, []))
    await kube.wait_for("pod", "survivor", is_running)


def test_a_killed_start_leaves_nothing_after_down(spare: Cluster) -> None:
    before = host.snapshot(spare)
    starting = subprocess.Popen(
        [DEVCLUSTER, "up", "--name", spare.name], stderr=subprocess.DEVNULL, start_new_session=True
    )
    host.until(lambda: has_api_server(spare) or starting.poll() is not None, timeout=60)
    traces = host.traces(spare)
    os.killpg(starting.pid, signal.SIGKILL)
    starting.wait()
    assert any(process.alive() for process in traces.processes)  # so there is something to end

    subprocess.run([DEVCLUSTER, "down", "--name", spare.name], check=True, capture_output=True)
    assert host.remains(traces) == []
    assert host.snapshot(spare) == before


def has_api_server(cluster: Cluster) -> bool:
    found = record.read(cluster.layout.state)
    return bool(found and "API server" in found.phases)
