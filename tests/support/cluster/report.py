"""What a failed test shows: first how to go on, then the objects, events and logs of its namespace."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import pytest
from slipway_devcluster.cluster import Cluster

from support.cluster.clusters import EmbeddedCluster, Neighbour
from support.cluster.kube import Kube

Section = tuple[str, str]
"""The title and the content of one part of a report."""

TARGETS = ("cluster", "gitops", "chaos", "alerts")
"""Folders of tests, each with the target of make that runs it."""

OBJECTS = (
    "pods,services,endpointslices,deployments,replicasets,horizontalpodautoscalers,"
    "inferenceservices.serving.kserve.io,scaledobjects.keda.sh"
)
LINES = 80


@runtime_checkable
class Reporting(Protocol):
    """A value of a fixture that has something to show when its test fails."""

    def report_sections(self) -> Iterable[Section]: ...


def sections_of(item: pytest.Item) -> Iterator[Section]:
    """The report on a test that has just failed, while its fixtures are still there."""
    fixtures: Mapping[str, object] = getattr(item, "funcargs", {})
    if "cluster" in fixtures:
        yield "how to go on", next_steps(run_of(item, fixtures.values()))
    for given in fixtures.values():
        if isinstance(given, Kube):
            yield from namespace_sections(given)
        elif isinstance(given, Reporting):
            yield from given.report_sections()


# --- how to go on ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """How a test was run, as far as a person needs it to run that test again."""

    test: str
    target: str = "cluster"
    kind: str = "embedded"
    cluster_name: str = "test"
    seed: int | None = None
    logs: Mapping[str, Path] | None = None
    """The folder of the logs of each devcluster that the test used, by the cluster's name."""

    @property
    def command(self) -> str:
        arguments = [f"-k {self.test}", "--keep-cluster"]
        if self.cluster_name != ("chaos" if self.target == "chaos" else "test"):
            arguments.append(f"--cluster-name={self.cluster_name}")
        if self.target == "chaos" and self.seed is not None:
            arguments.append(f"--seed={self.seed}")
        program, kind = ("sudo -E make", "") if self.kind == "embedded" else ("make", f" CLUSTER={self.kind}")
        return f'{program} {self.target}{kind} PYTEST_ARGS="{" ".join(arguments)}'


def run_of(item: pytest.Item, fixtures: Iterable[object]) -> Run:
    option = item.config.getoption
    return Run(
        test=item.name if re.fullmatch(r"[\w.\[\]-]+", item.name) else str(getattr(item, "originalname", item.name)),
        target=next((part for part in reversed(item.path.parts) if part in TARGETS), "cluster"),
        kind=option("cluster"),
        cluster_name=option("cluster_name"),
        seed=option("seed", None),
        logs={each.name: each.layout.logs for each in _devclusters(fixtures)},
    )


def _devclusters(fixtures: Iterable[object]) -> Iterator[Cluster]:
    for given in fixtures:
        if isinstance(given, (EmbeddedCluster, Neighbour)):
            yield given.cluster
        elif isinstance(given, Cluster):
            yield given


def next_steps(run: Run) -> str:
    lines = [
        "Run this test alone, and leave the cluster up for the next run:",
        f'    {run.command}"',
        "The same, but stop where it fails, before its namespace is removed (`c` goes on):",
        f'    {run.command} --pdb"',
        *_shell(run),
        "",
        "The sections below have the objects, the events and the logs of the test's namespace.",
    ]
    return "\n".join(lines)


def _shell(run: Run) -> Iterator[str]:
    if run.kind == "kind":
        yield "Open a shell on the node; the logs are in its /var/log:"
        yield f"    docker exec -it {run.cluster_name}-control-plane bash"
    for name, folder in (run.logs or {}).items():
        only = "" if name == run.cluster_name else ", which is removed at the end of the run, so use --pdb"
        yield f"Open a shell on the node of the cluster {name}{only}; kubectl and helm work there:"
        yield f"    sudo -E .venv/bin/devcluster shell --name {name}"
        yield "Read the logs of its kubelet, its API server and all pods:"
        yield f"    ls {folder}"


# --- a namespace -----------------------------------------------------------------------------------------------------


def namespace_sections(kube: Kube) -> Iterator[Section]:
    namespace = kube.namespace
    yield f"objects of {namespace}", _output(kube, "get", OBJECTS, "--output=wide")
    yield f"pods of {namespace}", _output(kube, "describe", "pods")
    yield f"events of {namespace}", _output(kube, "get", "events", "--sort-by=.lastTimestamp")
    for pod in _output(kube, "get", "pods", "--output=name").split():
        if pod.startswith("pod/"):
            logs = _output(kube, "logs", pod, "--all-containers", "--ignore-errors", "--prefix", f"--tail={LINES}")
            yield f"log of {pod} in {namespace}", logs


def _output(kube: Kube, *arguments: str) -> str:
    """Runs kubectl without an event loop, and never raises: a report must not hide the failure that it belongs to."""
    try:
        done = subprocess.run(kube.command(*arguments), capture_output=True, text=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return (done.stdout + done.stderr).strip()
