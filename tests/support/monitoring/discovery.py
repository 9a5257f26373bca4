"""Service discovery of pods, through files: Debian's Prometheus is built without that of Kubernetes.

A target has the labels that `kubernetes_sd_configs` gives it for the role `pod`, as far as PodMonitors use them: their
relabelings work unchanged.
"""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from slipway_devcluster.cluster import DIES_WITH_US

from support.builders.objects import Object
from support.monitoring.scraping import POD, cleaned

CHANGES = ("ADDED", "MODIFIED", "DELETED")
PODS = ("get", "pods", "--all-namespaces", "--watch", "--output-watch-events", "--output=json")


def targets(pods: Iterable[Object]) -> list[Object]:
    """Returns one target for each port that a container of a pod declares."""
    return [
        {"targets": [f"{pod['status']['podIP']}:{port['containerPort']}"], "labels": _labels(pod, container, port)}
        for pod in pods
        if pod.get("status", {}).get("podIP")
        for container in pod["spec"]["containers"]
        for port in container.get("ports", [])
    ]


def _labels(pod: Object, container: Object, port: Object) -> dict[str, str]:
    metadata = pod["metadata"]
    own = metadata.get("labels", {})
    return {
        "__meta_kubernetes_namespace": metadata["namespace"],
        f"{POD}_name": metadata["name"],
        f"{POD}_phase": pod["status"].get("phase", ""),
        f"{POD}_container_name": container["name"],
        f"{POD}_container_port_name": port.get("name", ""),
        f"{POD}_container_port_number": str(port["containerPort"]),
        **{f"{POD}_label_{cleaned(key)}": value for key, value in own.items()},
        **{f"{POD}_labelpresent_{cleaned(key)}": "true" for key in own},
    }


class Files:
    """One file of targets for each namespace, which Prometheus reads again when it changes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pods: dict[tuple[str, str], Object] = {}

    def forget(self) -> None:
        """Forgets all pods, because a new watch reports those that exist. The files stay until then."""
        self._pods.clear()

    def note(self, event: Object) -> None:
        if event["type"] not in CHANGES:  # an error, such as a resource version that is too old, ends the watch
            return
        pod = event["object"]
        key = pod["metadata"]["namespace"], pod["metadata"]["name"]
        if event["type"] == "DELETED":
            self._pods.pop(key, None)
        else:
            self._pods[key] = pod
        self._write(key[0])

    def _write(self, namespace: str) -> None:
        pods = (pod for (home, _), pod in sorted(self._pods.items()) if home == namespace)
        text = json.dumps(targets(pods))
        final = self._folder / f"{namespace}.json"
        if not final.exists() or final.read_text() != text:
            partial = final.with_suffix(".partial")
            partial.write_text(text)
            partial.replace(final)


@contextmanager
def discovering(kubectl: Sequence[str], folder: Path) -> Iterator[None]:
    """Watches the pods of all namespaces, and writes `folder`/NAMESPACE.json. `kubectl`: the command with its
    options."""
    folder.mkdir()
    files = Files(folder)
    stops = threading.Event()
    running: list[subprocess.Popen[bytes]] = []

    def follow() -> None:
        while not stops.is_set():
            files.forget()
            command = [*DIES_WITH_US, *kubectl, *PODS]
            running[:] = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)]
            with running[0] as process:
                for line in process.stdout or ():
                    files.note(json.loads(line))
            stops.wait(0.5)  # the API server was stopped, or has ended the watch

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stops.set()
        for process in running:
            process.terminate()
        thread.join()
