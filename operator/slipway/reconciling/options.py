"""What the operator can be told when it starts."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from slipway.kube.lease import own_identity
from slipway.process.flags import (
    KUBECONFIG,
    LOG_FORMAT,
    LOG_LEVEL,
    MANAGEMENT_PORT,
    Flag,
    Program,
    duration,
    name,
    whole,
)


@dataclass(frozen=True, kw_only=True)
class Options:
    kubeconfig: Path | None
    namespace: str
    kserve_namespace: str
    keda_namespace: str
    lease_name: str
    identity: str
    workers: int
    resync: float
    management_port: int
    log_level: str
    log_format: str


def parse(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> Options:
    """Prints --help and --version, and refuses bad values: both end the program."""
    given = PROGRAM.parse(arguments, environment)
    given["identity"] = given["identity"] or own_identity()
    return Options(**given)


FLAGS = (
    KUBECONFIG,
    Flag("namespace", "namespace that Slipway runs in and keeps its Lease in", "slipway-system", name, "NAME"),
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
    MANAGEMENT_PORT,
    LOG_LEVEL,
    LOG_FORMAT,
)
PROGRAM = Program(
    "slipway-operator",
    "Turns LLMDeployments into language models served by KServe, and keeps their status true.",
    FLAGS,
)
