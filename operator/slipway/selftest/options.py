"""What the self-test can be told when it starts: where everything is, as the operator is told it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from slipway.operator.reconciling import options as operators
from slipway.process.flags import KUBECONFIG, Flag, Program

OF_THE_OPERATOR = ("namespace", "activators", "keda-namespace", "lease-name")


@dataclass(frozen=True, kw_only=True)
class Options:
    kubeconfig: Path | None
    namespace: str
    activators: tuple[str, ...]
    keda_namespace: str
    lease_name: str
    pod: str | None
    pod_uid: str | None


def parse(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> Options:
    """Prints --help and --version, and refuses bad values: both end the program."""
    return Options(**PROGRAM.parse(arguments, environment))


FLAGS = (
    KUBECONFIG,
    *(flag for flag in operators.FLAGS if flag.name in OF_THE_OPERATOR),
    Flag("pod", "pod that it runs in, with which all ends that it makes; without it nothing ends by itself", None),
    Flag("pod-uid", "uid of that pod", None, metavar="UID"),
)
PROGRAM = Program(
    "slipway-selftest",
    "Looks whether all parts of an installation of Slipway work together. What doesn't is told with the remedy.",
    FLAGS,
)
