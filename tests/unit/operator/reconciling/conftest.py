"""The objects that exist before a reconcile."""

from __future__ import annotations

import pytest
from slipway.contract.runbooks import NO_RUNBOOKS, Runbooks
from slipway.objects.kinds import ACCELERATOR_PROFILE, CLUSTER_SERVING_RUNTIME, PERSISTENT_VOLUME_CLAIM, POD_MONITOR
from support.builders.stored import kube_object, llm
from support.programs.compile_claim_loop import put_what_it_needs
from support.programs.compile_image_loop import IMAGE, JOBS, REPOSITORY, started
from support.programs.operator_loop import INSTALLATION, Loop


@pytest.fixture
def runbooks() -> Runbooks:
    """A file of tests may have its own."""
    return NO_RUNBOOKS


@pytest.fixture
def loop(runbooks: Runbooks) -> Loop:
    """A healthy platform, and an LLMDeployment that was just created."""
    loop = Loop(runbooks=runbooks)
    loop.api.missing = {POD_MONITOR}
    cpu = {"vendor": "CPU", "resource": {"name": "cpu", "count": 1}, "memory": "16Gi"}
    container = {"name": "kserve-container"}
    loop.api.put(kube_object(ACCELERATOR_PROFILE, "cpu", spec=cpu))
    formats = [{"name": "gguf"}]
    runtime = {"supportedModelFormats": formats, "containers": [container]}
    loop.api.put(kube_object(CLUSTER_SERVING_RUNTIME, "slipway-llamacpp", spec=runtime))
    loop.api.put(kube_object(PERSISTENT_VOLUME_CLAIM, "models", status={"phase": "Bound"}))
    loop.api.put(llm())
    return loop


@pytest.fixture
def kept(loop: Loop) -> Loop:
    """A model of vLLM, which sleeps, in a cluster with a default StorageClass."""
    put_what_it_needs(loop)
    return loop


@pytest.fixture
def named() -> Loop:
    """A model whose spec names an image."""
    return started(INSTALLATION, image=IMAGE)


@pytest.fixture
def filled() -> Loop:
    """A model whose spec names a repository, in an installation that may start Jobs."""
    return started(JOBS, repository=REPOSITORY, pushSecret="push")
