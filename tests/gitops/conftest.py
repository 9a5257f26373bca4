"""The real Argo CD, on a cluster that has all of Slipway as pods.

Argo CD and the models of a module live as long as the module's tests, in one event loop.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from slipway_devcluster.cluster import Cluster
from support.cluster import Settings
from support.cluster.fixtures import kubectl_for
from support.cluster.gitops import argocd
from support.cluster.gitops.argocd import ArgoCD


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def argo(
    operator_pods: Cluster, settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ArgoCD]:
    kube = kubectl_for(operator_pods, tmp_path_factory)
    async with argocd.running(kube, settings.cache, settings.steps, tmp_path_factory.mktemp("argocd")) as argo:
        yield argo
