"""The real Argo CD on a cluster that has all of Slipway as pods, and what it says when a test fails.

It and the models of a module are there for all of the module's tests, in one event loop.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator

import pytest
import pytest_asyncio
from slipway_devcluster.cluster import Cluster
from support.cluster import Kube, Settings, report
from support.cluster.gitops import argocd
from support.cluster.gitops.argocd import ArgoCD
from support.cluster.gitops.models_in_git import ModelsInGit


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    done = yield
    for given in getattr(item, "funcargs", {}).values() if done.failed else ():
        if isinstance(given, ArgoCD):
            done.sections += [*given.logs(), *report.sections(given.kube)]
        if isinstance(given, ModelsInGit):
            done.sections += [*given.argo.logs(), *report.sections(given.kube)]
    return done


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def argo(
    operator_pods: Cluster, settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ArgoCD]:
    kube = Kube(operator_pods.kubectl, operator_pods.kubeconfig, tmp_path_factory.getbasetemp() / "kubectl")
    async with argocd.running(kube, settings.cache, settings.steps, tmp_path_factory.mktemp("argocd")) as argo:
        yield argo
