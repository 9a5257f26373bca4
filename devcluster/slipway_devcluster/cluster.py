"""A cluster that is up: how commands and tests use it, and stop, pause or restart its programs."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM, Signals

from slipway_devcluster import record as records
from slipway_devcluster.addresses import NODE_IP, NODE_NAME
from slipway_devcluster.components import CONTAINERD_SOCKET, Component, Layout
from slipway_devcluster.errors import Refusal
from slipway_devcluster.image_store import import_archive
from slipway_devcluster.namespaces import Namespaces
from slipway_devcluster.paths import Cache
from slipway_devcluster.record import Record, Running

NAME = re.compile(r"[a-z]([a-z0-9-]{0,18}[a-z0-9])?")
STOP_TIMEOUT = 15.0
HELM_KEEPS = ("CACHE", "CONFIG", "DATA")  # in folders of this cluster, so that nothing is left in the user's home
DIES_WITH_US = ("setpriv", "--pdeathsig", "KILL", "--")
"""Put before a command that only waits for something: it ends when this process is killed."""


@dataclass(frozen=True)
class Cluster:
    """One devcluster. Everything that can change is read from its record each time it is used."""

    name: str
    layout: Layout

    node_ip = NODE_IP

    @property
    def record(self) -> Record:
        found = records.read(self.layout.state)
        if found is None:
            raise Refusal(f"there is no cluster {self.name!r}; make it with `devcluster up --name {self.name}`")
        return found

    @property
    def namespaces(self) -> Namespaces:
        namespaces = self.record.namespaces
        if namespaces is None or not namespaces.alive():
            raise Refusal(
                f"the node of cluster {self.name!r} has ended; `devcluster up --name {self.name}` makes it again"
            )
        return namespaces

    def namespaces_of(self, node: str) -> Namespaces:
        """Those of any node, by its name."""
        if node == NODE_NAME:
            return self.namespaces
        record = self.record
        if node not in record.further:
            there = ", ".join((NODE_NAME, *record.further))
            raise Refusal(f"{node!r} is not a real node of cluster {self.name!r}, which has {there}")
        if not record.further[node].alive():
            raise Refusal(f"node {node!r} has ended; `devcluster up --name {self.name}` starts it again")
        return record.further[node]

    def running_nodes(self) -> list[Namespaces]:
        """Of all real nodes, except for those that were taken away."""
        return [self.namespaces, *(each for each in self.record.further.values() if each.alive())]

    @property
    def kubeconfig(self) -> Path:
        """For programs on the host; it has the address and all credentials."""
        return self.layout.state / "kubeconfig"

    @property
    def kubeconfig_on_node(self) -> Path:
        """For programs on the node, which reach the API server directly."""
        return self.layout.kubeconfig_of("admin")

    @property
    def kubectl(self) -> Path:
        return Path(self.record.programs["kubectl"])

    @property
    def helm(self) -> Path:
        return Path(self.record.programs["helm"])

    @property
    def ctr(self) -> str:
        """That of the node's containerd."""
        return self.record.programs.get("ctr", "ctr")

    @property
    def kubectl_cache(self) -> Path:
        """Used instead of ~/.kube/cache, so that nothing is left there."""
        return self.layout.state / "kubectl-cache"

    def alive(self) -> bool:
        found = records.read(self.layout.state)
        return bool(found and found.ready and found.namespaces and found.namespaces.alive())

    def entered(self) -> AbstractContextManager[None]:
        """A context in which sockets that this thread creates are in the node's network."""
        return self.namespaces.entered()

    def kubectl_command(self, arguments: Sequence[str]) -> list[str]:
        options = [f"--kubeconfig={self.kubeconfig}", f"--cache-dir={self.kubectl_cache}"]
        return [*DIES_WITH_US, str(self.kubectl), *options, *arguments]

    def run_kubectl(self, arguments: Sequence[str], stdin: bytes | None = None) -> str:
        done = subprocess.run(self.kubectl_command(arguments), input=stdin, capture_output=True, check=False)
        if done.returncode:
            words = done.stderr.decode(errors="replace").strip()
            raise Refusal(f"`kubectl {' '.join(arguments)}` failed: {words}")
        return done.stdout.decode()

    def run_helm(self, arguments: Sequence[str], stdin: bytes | None = None) -> str:
        folders = {f"HELM_{kind}_HOME": str(self.layout.state / "helm" / kind.lower()) for kind in HELM_KEEPS}
        command = [*DIES_WITH_US, str(self.helm), f"--kubeconfig={self.kubeconfig}", *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, env=os.environ | folders, check=False)
        if done.returncode:
            raise Refusal(f"`helm {' '.join(arguments)}` failed: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout.decode()

    def load_image(self, archive: Path) -> bool:
        """Load an image archive into all nodes; False if exactly that image was there already."""
        there = Path(CONTAINERD_SOCKET)
        loaded = [import_archive(archive, ctr=self.ctr, socket=there, run=node.run) for node in self.running_nodes()]
        return any(loaded)

    # --- parts of the node ------------------------------------------------------------------------------------------

    def components(self) -> list[str]:
        return list(self.record.components)

    def add(self, component: Component) -> None:
        """Start one more program on the first node unless it is running. It can be stopped and started again."""
        record = self.record
        if component.name in record.components:
            self.start(component.name)
            return
        log = self.layout.logs / f"{component.name}.log"
        process = self.namespaces.spawn(component.argv, log=log, env=component.env)
        record.components[component.name] = Running(component, process)
        record.write(self.layout.state)

    def kill(self, component: str) -> None:
        """End a component as a crash would, immediately and with nothing finished."""
        self._end(component, SIGKILL)

    def stop(self, component: str) -> None:
        """End a component as a shutdown would, and wait until it has ended."""
        self._end(component, SIGTERM)

    def start(self, component: str) -> None:
        """Start a component again with its own command line; do nothing if it is running."""
        record, running, namespaces = self._on_its_node(component)
        if running.process.alive(proc=namespaces.proc):
            return
        log = self.layout.logs / f"{component}.log"
        running.process = namespaces.spawn(running.component.argv, log=log, env=running.component.env)
        record.write(self.layout.state)

    def pause(self, component: str) -> None:
        """Stop a component without ending it: its connections stay open, but it responds to nothing."""
        self._signal(component, SIGSTOP)

    def resume(self, component: str) -> None:
        self._signal(component, SIGCONT)

    def is_running(self, component: str) -> bool:
        record, running = self._running(component)
        further = record.further.get(running.node)
        if further and not further.alive():
            return False
        return running.process.alive(proc=self.namespaces_of(running.node).proc)

    def _end(self, component: str, number: Signals) -> None:
        self._signal(component, number)
        deadline = time.monotonic() + STOP_TIMEOUT
        while self.is_running(component):
            if time.monotonic() > deadline:
                raise Refusal(f"{component} did not end within {STOP_TIMEOUT:.0f} s; use kill() instead")
            time.sleep(0.01)

    def _signal(self, component: str, number: Signals) -> None:
        _, running, namespaces = self._on_its_node(component)
        namespaces.signal(running.process, number)

    def _on_its_node(self, component: str) -> tuple[Record, Running, Namespaces]:
        record, running = self._running(component)
        return record, running, self.namespaces_of(running.node)

    def _running(self, component: str) -> tuple[Record, Running]:
        record = self.record
        if component not in record.components:
            raise Refusal(f"{component!r} is not a component of this cluster, which has {', '.join(record.components)}")
        return record, record.components[component]


def named(name: str, cache: Cache) -> Cluster:
    """The cluster of that name, whether it exists or not."""
    if not NAME.fullmatch(name):
        raise Refusal(
            f"{name!r} is not a valid name for a cluster: a name starts with a lower-case letter and has at most 20 "
            "lower-case letters, digits and hyphens; choose another with --name"
        )
    return Cluster(name, Layout(cache.clusters / name))


def find(name: str, cache: Cache) -> Cluster:
    """The cluster of that name, which must be up."""
    cluster = named(name, cache)
    if cluster.namespaces and not cluster.record.ready:
        raise Refusal(f"cluster {name!r} is not ready; `devcluster up --name {name}` finishes it")
    return cluster


def every(cache: Cache) -> list[Cluster]:
    folders = sorted(cache.clusters.iterdir()) if cache.clusters.is_dir() else []
    return [Cluster(folder.name, Layout(folder)) for folder in folders if NAME.fullmatch(folder.name)]


def cgroup_name(layout: Layout) -> str:
    """A unique name: clusters of one name in two caches are two clusters, so it includes a hash of the folder."""
    return f"slipway-{layout.state.name}-{hashlib.sha256(str(layout.state).encode()).hexdigest()[:6]}"
