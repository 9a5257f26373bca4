"""All of Slipway as pods, a Prometheus with the alerts of the chart, and a shell for the commands of runbooks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from slipway_devcluster.cluster import Cluster
from support.cluster import AnyCluster, Kube, Settings
from support.cluster.fixtures import kubectl_for
from support.faults.fault_walks import FaultWalks
from support.faults.model_failures import scripted_downloads
from support.faults.runbook_faults import Given, write_models
from support.monitoring import programs
from support.monitoring.alert_walks import asking
from support.monitoring.installed import install, monitored_slipway
from support.monitoring.on_cluster import ClusterMonitoring
from support.pages.shell import Shell
from support.repository import in_checkout


@pytest.fixture(scope="session")
def node(cluster: AnyCluster, settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """The cluster, with all of Slipway as pods."""
    node = cluster.devcluster()
    install(node, kubectl_for(node, tmp_path_factory), settings)
    return node


@pytest.fixture(scope="session")
def whole(node: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Kube:
    """kubectl for any namespace of the cluster."""
    return kubectl_for(node, tmp_path_factory)


@pytest.fixture(scope="session")
def alerts(
    node: Cluster, whole: Kube, settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ClusterMonitoring]:
    with monitored_slipway(node, whole, settings, tmp_path_factory.mktemp("monitoring")) as alerts:
        yield alerts


@pytest.fixture(scope="session")
def shell(cluster: AnyCluster, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """What a reader of a runbook has: bash with kubectl and helm."""
    own = {"kubectl": cluster.kubectl}
    if cluster.kubeconfig:
        own["helm"] = cluster.devcluster().helm
    return Shell.made(tmp_path_factory.mktemp("reader"), own, cluster.kubeconfig)


@pytest.fixture(scope="session")
def given(whole: Kube, python_image: str) -> Given:
    found = asyncio.run(whole.run("get", "clusterservingruntimes", "--output=name")).split()
    names = [each.rpartition("/")[2] for each in found]
    return Given(python_image, next(each for each in names if each.startswith("slipway-llamacpp")))


@pytest.fixture(scope="session")
def downloader(whole: Kube, python_image: str) -> Iterator[None]:
    """Replaces KServe's storage initializer."""
    with scripted_downloads(whole, python_image):
        yield


@pytest.fixture(scope="session")
def reader(shell: Shell, alerts: ClusterMonitoring, settings: Settings) -> Shell:
    """The same with promtool, and the address of Prometheus in $PROMETHEUS."""
    return asking(shell, alerts.own, programs.ensure(settings.cache, settings.steps))


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that pods can read, with one good model and others that are not."""
    folder = tmp_path_factory.mktemp("models")
    write_models(folder)
    return folder


@pytest.fixture(scope="session")
def walks(node: Cluster, whole: Kube, shell: Shell, models: Path, python_image: str) -> FaultWalks:
    """Walks of faults, by a reader in a checkout."""
    in_checkout(shell.home)
    return FaultWalks(node, whole, shell, models, python_image)
