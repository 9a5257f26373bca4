"""Reads a (Cluster)ServingRuntime: the container that runs the engine."""

from __future__ import annotations

from slipway.objects.kinds import Object

CONTAINER = "kserve-container"


def engine_container(serving_runtime: Object) -> Object:
    """The container that KServe merges with the model's; empty if the runtime has none."""
    containers: list[Object] = serving_runtime["spec"].get("containers") or []
    return next((each for each in containers if each.get("name") == CONTAINER), {})
