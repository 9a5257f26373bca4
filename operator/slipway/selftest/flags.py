"""The flags of `slipway-selftest`: where the parts of the installation are, in the operator's own words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from slipway.process.flags import flag


@dataclass(frozen=True, kw_only=True)
class SelftestSettings:
    """One field for each flag; they hold for the life of the process."""

    kubeconfig: Path | None
    namespace: str
    activators: tuple[str, ...]
    keda_namespace: str
    lease_name: str
    pod: str | None
    pod_uid: str | None


pod = flag(
    "--pod",
    help="pod in which it runs, which will own all objects that it creates, so that they are deleted with it; without "
    "it they stay if the self-test is killed",
)
pod_uid = flag("--pod-uid", metavar="UID", help="uid of that pod")
