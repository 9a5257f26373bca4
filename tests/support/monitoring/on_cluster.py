"""Monitoring of a devcluster: a small Prometheus operator, which reads its PodMonitors and PrometheusRules."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from slipway.objects.kinds import POD_MONITOR, Kind
from slipway_devcluster.cluster import Cluster

from support.builders import objects
from support.builders.objects import Object
from support.cluster.kube import Kube
from support.monitoring.discovery import discovering
from support.monitoring.firing import Firing
from support.monitoring.network import on_node
from support.monitoring.programs import Programs
from support.monitoring.prometheus import EVERY, Monitoring, monitoring
from support.monitoring.scraping import scrape_configs

PROMETHEUS_RULE = Kind("monitoring.coreos.com", "v1", "PrometheusRule", "prometheusrules")
KINDS = (POD_MONITOR, PROMETHEUS_RULE)


@dataclass(frozen=True)
class ClusterMonitoring:
    """Prometheus and Alertmanager on the node of a cluster.

    `kube` is for any of its namespaces; `pods` has the files of targets.
    """

    kube: Kube
    pods: Path
    own: Monitoring

    async def follow(self) -> None:
        """Scrapes and evaluates what the cluster's objects say now, but every second."""
        rules = {_file(rule): quick(rule["spec"]) for rule in await self._all(PROMETHEUS_RULE)}
        await self._scrape(rules, EVERY)

    async def follow_by(self, rules: Mapping[str, Object]) -> None:
        """Scrapes what the cluster's objects say now, as often as they say, and evaluates these rules instead of the
        cluster's, as often as each group says."""
        await self._scrape(rules, "")

    async def _scrape(self, rules: Mapping[str, Object], interval: str) -> None:
        scrapes = scrape_configs(await self._all(POD_MONITOR), self.pods, interval=interval)
        await asyncio.to_thread(self.own.configure, rules=rules, scrapes=scrapes)

    def expects(self, alert: str, *, cause: str, remedy: str, **labels: str) -> Firing:
        """To be called before the cause: older notifications don't count."""
        return Firing(self.own, alert, cause, remedy, labels, len(self.own.receiver.notifications))

    async def _all(self, kind: Kind) -> list[Object]:
        listed = await self.kube.run("get", f"{kind.plural}.{kind.group}", "--all-namespaces", "--output=json")
        found: list[Object] = json.loads(listed)["items"]
        return found

    def report_sections(self) -> Iterator[tuple[str, str]]:
        yield from self.own.report_sections()


def quick(spec: Object) -> Object:
    """Evaluates each group as often as everything is scraped."""
    return {"groups": [{**group, "interval": EVERY} for group in spec["groups"]]}


def _file(rule: Object) -> str:
    return f"{rule['metadata']['namespace']}-{rule['metadata']['name']}.yaml"


async def install_kinds(kube: Kube) -> None:
    """Creates the types of the Prometheus operator, without schemas."""
    await kube.apply(*map(objects.definition, KINDS))
    for kind in KINDS:
        await kube.wait_for_condition("customresourcedefinition", f"{kind.plural}.{kind.group}", "Established")


async def remove_kinds(kube: Kube) -> None:
    """Removes the types, and with them the operator's reason to create PodMonitors."""
    for kind in KINDS:
        await kube.delete("customresourcedefinition", f"{kind.plural}.{kind.group}", wait=True)


@contextmanager
def monitored(cluster: Cluster, kube: Kube, programs: Programs, folder: Path) -> Iterator[ClusterMonitoring]:
    """Monitors a cluster that has the types of the Prometheus operator, while the block lasts."""
    pods = folder / "pods"
    with discovering(kube.command(), pods), monitoring(programs, folder, on_node(cluster), rules={}) as own:
        yield ClusterMonitoring(kube, pods, own)
