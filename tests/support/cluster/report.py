"""What a person wants to see of a namespace when a test in it has failed: objects, events, and what its pods said."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

from support.cluster.kube import Kube

OBJECTS = (
    "pods,services,endpointslices,deployments,replicasets,horizontalpodautoscalers,"
    "inferenceservices.serving.kserve.io,scaledobjects.keda.sh"
)
LINES = 80


def sections(kube: Kube) -> Iterator[tuple[str, str]]:
    """Title and content of each part of the report."""
    namespace = kube.namespace
    yield f"objects of {namespace}", _said(kube, "get", OBJECTS, "--output=wide")
    yield f"pods of {namespace}", _said(kube, "describe", "pods")
    yield f"events of {namespace}", _said(kube, "get", "events", "--sort-by=.lastTimestamp")
    for pod in _said(kube, "get", "pods", "--output=name").split():
        if pod.startswith("pod/"):
            logs = _said(kube, "logs", pod, "--all-containers", "--ignore-errors", "--prefix", f"--tail={LINES}")
            yield f"log of {pod} in {namespace}", logs


def _said(kube: Kube, *arguments: str) -> str:
    """Without a running event loop, and whatever happens: a report must not hide the failure that it belongs to."""
    try:
        done = subprocess.run(kube.command(*arguments), capture_output=True, text=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return (done.stdout + done.stderr).strip()
