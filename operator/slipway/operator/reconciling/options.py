"""What the operator can be told when it starts."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from slipway.api.names import ACTIVATOR_SERVICE, RUNTIME_LABEL
from slipway.kube.lease import own_identity
from slipway.objects.kinds import CLUSTER_SERVING_RUNTIME, Object
from slipway.process.flags import (
    KUBECONFIG,
    LOG_FORMAT,
    LOG_LEVEL,
    MANAGEMENT_PORT,
    WATCH_NAMESPACES,
    Flag,
    Program,
    duration,
    name,
    several,
    whole,
)


@dataclass(frozen=True, kw_only=True)
class Options:
    kubeconfig: Path | None
    namespace: str
    watch_namespaces: tuple[str, ...]
    activators: tuple[str, ...]
    ports_per_namespace: int
    runtimes: Mapping[str, Object]
    keep_old_runtimes: float
    kserve_namespace: str
    keda_namespace: str
    lease_name: str
    identity: str
    workers: int
    resync: float
    prometheus_namespaces: tuple[str, ...]
    management_port: int
    log_level: str
    log_format: str


def parse(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> Options:
    """Prints --help and --version, and refuses bad values: both end the program."""
    given = PROGRAM.parse(arguments, environment)
    given["prometheus_namespaces"] = given.pop("prometheus_namespace")
    given["identity"] = given["identity"] or own_identity()
    return Options(**given)


def services(text: str) -> tuple[str, ...]:
    found = several(name)(text)
    if not found or len(set(found)) != len(found):
        raise argparse.ArgumentTypeError(f"{text!r} names none, or one of them twice: name each once")
    return found


def runtimes_in(text: str) -> dict[str, Object]:
    """By the names by which plans call them."""
    if not text:
        return {}
    if not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is no folder")
    return dict(_runtime(file) for file in sorted(Path(text).glob("*.json")))


def _runtime(file: Path) -> tuple[str, Object]:
    try:
        runtime = json.loads(file.read_text())
        if runtime["kind"] == CLUSTER_SERVING_RUNTIME.name and runtime["metadata"]["name"]:
            return str(runtime["metadata"]["labels"][RUNTIME_LABEL]), runtime
    except (OSError, ValueError, LookupError, TypeError):
        pass
    raise argparse.ArgumentTypeError(f"{file} holds no ClusterServingRuntime with a name and the label {RUNTIME_LABEL}")


FLAGS = (
    KUBECONFIG,
    Flag("namespace", "namespace that Slipway runs in and keeps its Lease in", "slipway-system", name, "NAME"),
    WATCH_NAMESPACES,
    Flag(
        "activators",
        "Services of the activators in that namespace, separated by commas; each has 10000 ports, one for each "
        "LLMDeployment, and the next one gets those that have no place at the first",
        ACTIVATOR_SERVICE,
        services,
        "NAMES",
    ),
    Flag(
        "ports-per-namespace",
        "LLMDeployments of one namespace that get a port of an activator",
        "1000",
        whole(at_least=1, at_most=1_000_000),
        "N",
    ),
    Flag(
        "runtimes",
        "folder with the ClusterServingRuntimes of this release, as JSON, one in each file; those that are missing are "
        "made",
        "",
        runtimes_in,
        "FOLDER",
    ),
    Flag(
        "keep-old-runtimes",
        "how long at least a ClusterServingRuntime of an older release stays that no InferenceService uses",
        "1h",
        duration(at_least=1.0),
        "TIME",
    ),
    Flag("kserve-namespace", "namespace in which KServe's controller runs", "kserve", name, "NAME"),
    Flag("keda-namespace", "namespace in which KEDA's operator runs", "keda", name, "NAME"),
    Flag("lease-name", "Lease by which the replicas elect their leader", "slipway-operator", name, "NAME"),
    Flag(
        "identity",
        "what this replica calls itself in the Lease; without it the host's name and something random",
        None,
        metavar="NAME",
    ),
    Flag("workers", "LLMDeployments worked on at the same time", "16", whole(at_least=1, at_most=256), "N"),
    Flag(
        "resync",
        "how often each LLMDeployment is looked at though nothing has changed",
        "10m",
        duration(at_least=10.0),
        "TIME",
    ),
    Flag(
        "prometheus-namespace",
        "namespaces from which the metrics of models may be read, several separated by commas; empty: none",
        "monitoring",
        several(name),
        "NAMES",
    ),
    MANAGEMENT_PORT,
    LOG_LEVEL,
    LOG_FORMAT,
)
PROGRAM = Program(
    "slipway-operator",
    "Turns LLMDeployments into language models served by KServe, and keeps their status true.",
    FLAGS,
)
