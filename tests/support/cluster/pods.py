"""Runs a command in a pod, and returns its output."""

from __future__ import annotations

from support.builders import objects
from support.builders.objects import Object
from support.cluster.kube import Kube


async def run_python(kube: Kube, image: str, program: str, *, name: str = "python") -> str:
    """Runs a Python program in a pod of the cluster, and returns its output; it must succeed."""
    return await run_to_end(kube, objects.pod(name, image, objects.python(program)))


async def run_to_end(kube: Kube, pod: Object) -> str:
    name = pod["metadata"]["name"]
    await kube.apply(pod)
    ended = await kube.wait_for("pod", name, lambda seen: phase(seen) in ("Succeeded", "Failed"))
    said = await kube.logs(name)
    assert phase(ended) == "Succeeded", f"pod {name} failed: {said}"
    return said


def phase(pod: Object) -> str:
    return str(pod.get("status", {}).get("phase", ""))


def is_running(pod: Object) -> bool:
    return phase(pod) == "Running"


def why_unschedulable(pod: Object) -> str:
    """Returns the scheduler's message about a pod without a node; empty while there is none."""
    conditions = pod.get("status", {}).get("conditions", [])
    return "".join(each["message"] for each in conditions if each.get("reason") == "Unschedulable")
