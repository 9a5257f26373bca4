"""Reads a (Cluster)ServingRuntime: the container that runs the engine, and whether it asks for devices itself."""

from __future__ import annotations

from slipway.rendering.desired import Object

CONTAINER = "kserve-container"


def engine_container(serving_runtime: Object) -> Object:
    """The container that KServe merges the model's into; empty where the runtime has none."""
    containers: list[Object] = serving_runtime["spec"].get("containers") or []
    return next((each for each in containers if each.get("name") == CONTAINER), {})


def asks_for_devices(serving_runtime: Object) -> bool:
    """Extended resources, and only they, have a domain in their name."""
    limits = engine_container(serving_runtime).get("resources", {}).get("limits") or {}
    return any("/" in resource for resource in limits)
