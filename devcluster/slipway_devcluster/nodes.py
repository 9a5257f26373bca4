"""The further nodes of a cluster: machines of their own, as far as Kubernetes sees. A test can take one away.

Each has its own namespaces, kubelet, containerd and network of pods. Its network is joined to the first node's bridge.
"""

from __future__ import annotations

import time
from pathlib import Path

from slipway_devcluster import cgroups, components, configuration, namespaces
from slipway_devcluster.addresses import Node, further_nodes
from slipway_devcluster.cluster import Cluster
from slipway_devcluster.components import CONTAINERD_SOCKET, STARTING, Component, Layout
from slipway_devcluster.errors import Refusal
from slipway_devcluster.namespaces import Namespaces
from slipway_devcluster.record import Record, Running

READY_TIMEOUT = 90


def make(record: Record, layout: Layout, first: Namespaces) -> None:
    """Make the node of this layout, which has nothing but its network, and record it."""
    node = layout.node

    def recorded(made: Namespaces) -> None:
        record.further[node.name] = made
        record.write(layout.state)

    cgroups.create(configuration.cgroup_of(record, layout))
    made = namespaces.create(
        node_program=Path(record.programs["node"]),
        state=layout.home,
        cache_root=layout.state.parent.parent,
        port=None,
        log=layout.logs / "node.log",
        record=recorded,
        node=node,
    )
    namespaces.link(first, made, node)


def start(record: Record, layout: Layout) -> None:
    """Start the programs of the node of this layout: those of the first one, with configuration of their own."""

    def program(name: str) -> Path:
        return Path(record.components[name].component.argv[0])

    spawn(record, layout, components.on(layout.node, components.containerd(layout, program("containerd"))))
    _wait_for_socket(record.further[layout.node.name], CONTAINERD_SOCKET)  # without it, a kubelet exits
    for name in components.OF_EVERY_NODE:
        spawn(record, layout, components.on(layout.node, components.KUBERNETES[name](layout, program(name))))


def _wait_for_socket(node: Namespaces, path: str) -> None:
    deadline = time.monotonic() + READY_TIMEOUT
    while not Path(f"/proc/{node.init.pid}/root{path}").is_socket():
        if time.monotonic() > deadline:
            raise Refusal(f"{path} of the node is not there after {READY_TIMEOUT} s")
        time.sleep(0.03)


def cut_power(cluster: Cluster, name: str) -> None:
    """End a further node as a power failure would: all of its programs and pods at once, with no notice."""
    cluster.namespaces_of(_further(cluster, name).name).destroy()


def switch_on(cluster: Cluster, name: str) -> None:
    """Start a further node again after `cut_power`, with the disk that it had; returns when it is Ready.

    After a failure it is off, so that the next call tries all of it again.
    """
    node, record = _further(cluster, name), cluster.record
    if record.further[node.name].alive():
        return
    layout = cluster.layout.of(node)
    try:
        make(record, layout, cluster.namespaces)
        start(record, layout)
        record.write(layout.state)
        wait_until_ready(cluster, node)
        admit_pods(cluster, node)
    except BaseException:
        record.further[node.name].destroy()
        raise


def spawn(record: Record, layout: Layout, component: Component) -> None:
    """Start a program on the node of this layout. All programs of a cluster have their logs in one folder."""
    node = layout.node.name
    place = record.further.get(node) or record.namespaces
    if place is None:
        raise RuntimeError("the node of this cluster has not been made yet")
    log = Layout(layout.state).logs / f"{component.name}.log"
    record.components[component.name] = Running(
        component, place.spawn(component.argv, log=log, env=component.env), node
    )


def wait_until_ready(cluster: Cluster, node: Node) -> None:
    timeout = f"--timeout={READY_TIMEOUT}s"
    cluster.run_kubectl(["wait", "--for=create", timeout, f"node/{node.name}"])
    cluster.run_kubectl(["wait", "--for=condition=Ready", timeout, f"node/{node.name}"])


def admit_pods(cluster: Cluster, node: Node) -> None:
    """Remove the taint with which the node registered; one that was there before it started again has none."""
    taints = cluster.run_kubectl(["get", "node", node.name, "--output=jsonpath={.spec.taints[*].key}"])
    if STARTING in taints.split():
        cluster.run_kubectl(["taint", "node", node.name, f"{STARTING}-"])


def _further(cluster: Cluster, name: str) -> Node:
    further = {node.name: node for node in further_nodes(cluster.record.nodes)}
    if name not in further:
        raise Refusal(
            f"{name!r} is not a further node of cluster {cluster.name!r}, which has {', '.join(further) or 'none'}; "
            "the first node has the control plane and can't be taken away"
        )
    return further[name]
