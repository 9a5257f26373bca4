"""What the flags of the operator say about the installation that it belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from slipway.api.names import ACTIVATOR_SERVICE
from slipway.objects.kinds import Object
from slipway.operator.planning.volumes import SiteStorage

EVERYWHERE = "*"
JOBS_VALUE = "planner.inspection.namespaces"  # of the chart: where Jobs may run


@dataclass(frozen=True)
class Fetcher:
    """The program that brings models' files into their pods, as an image."""

    image: str
    pull_policy: str = "IfNotPresent"
    pull_secrets: tuple[str, ...] = ()  # which every namespace with models must have


@dataclass(frozen=True)
class Installation:
    namespace: str = "slipway-system"
    activators: tuple[str, ...] = (ACTIVATOR_SERVICE,)  # their Services in that namespace, in the order of use
    prometheus_namespaces: tuple[str, ...] = ("monitoring",)  # whose pods may read metrics
    version: str = ""  # of Slipway
    runtimes: Mapping[str, Object] = field(default_factory=dict)  # this release's ClusterServingRuntimes, by plan name
    watched: tuple[str, ...] = ()  # the namespaces whose models are ours; empty: all
    inspects: tuple[str, ...] = ()  # the namespaces in which Jobs may read models' files; EVERYWHERE: in all of ours

    compiled: SiteStorage = field(default_factory=SiteStorage)  # volumes for compiled code
    weights: SiteStorage = field(default_factory=lambda: SiteStorage(size="100Gi"))  # volumes for models' files
    fetcher: Fetcher | None = None  # None: KServe's storage initializer brings the files

    @property
    def inspected(self) -> tuple[str, ...]:
        """The namespaces whose Jobs are watched; empty: all. Only if any are inspected."""
        return self.watched if EVERYWHERE in self.inspects else self.inspects

    def may_inspect(self, namespace: str) -> bool:
        is_ours = not self.watched or namespace in self.watched
        return is_ours and (EVERYWHERE in self.inspects or namespace in self.inspects)
