"""All of Slipway as pods of a devcluster that has the types of the Prometheus operator."""

from __future__ import annotations

import asyncio
import json

from slipway_devcluster import slipway as installation
from slipway_devcluster.cluster import Cluster
from slipway_devcluster.components import SLIPWAY_NAMESPACE

from support.builders.llmdeployments import merged
from support.builders.objects import Object
from support.cluster.clusters import Settings
from support.cluster.kube import Kube
from support.cluster.releases import rolled_out
from support.monitoring.on_cluster import install_kinds
from support.repository import CHARTS

PROGRAMS = 4
"""Pods of Slipway: two operators and two activators."""


def install(node: Cluster, kube: Kube, settings: Settings, values: Object) -> None:
    asyncio.run(install_kinds(kube))
    installation.prepare(node, cache=settings.cache, steps=settings.steps)
    archive = installation.OPERATOR_IMAGE.built(settings.cache, settings.steps)
    whole = merged(installation.values_with(archive.name), values)
    release = ["slipway", str(CHARTS / "slipway"), f"--namespace={SLIPWAY_NAMESPACE}", "--take-ownership"]
    node.run_helm(["upgrade", "--install", *release, "--values=-"], json.dumps(whole).encode())
    asyncio.run(rolled_out(kube.within(SLIPWAY_NAMESPACE)))
