"""The objects that exist before a reconcile."""

from __future__ import annotations

import pytest
from slipway.objects.kinds import ACCELERATOR_PROFILE, CLUSTER_SERVING_RUNTIME, PERSISTENT_VOLUME_CLAIM, POD_MONITOR
from support.builders.stored import kube_object, llm
from support.programs.operator_loop import Loop


@pytest.fixture
def loop() -> Loop:
    """A healthy platform, and an LLMDeployment that was just created."""
    loop = Loop()
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
