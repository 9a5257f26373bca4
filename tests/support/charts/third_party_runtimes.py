"""The ClusterServingRuntimes of third-party engines that the chart can install, by the engines' names."""

from __future__ import annotations

from collections.abc import Mapping

from slipway.api import engine_notes
from slipway.api.engine_notes import Notes
from slipway.contract.engines import OTHER_RUNTIMES

from support.builders.objects import Object
from support.repository import RUNTIMES, documents


def is_of_others(runtime: Object) -> bool:
    return runtime["metadata"]["name"] in OTHER_RUNTIMES


def name_of(runtime: Object) -> str:
    """Returns the engine's name, as in the chart's values and in tests."""
    return str(runtime["metadata"]["name"]).removeprefix("slipway-")


BY_ENGINE: Mapping[str, Object] = {name_of(each): each for each in documents(RUNTIMES) if is_of_others(each)}
NOTES: Mapping[str, Notes] = {name: engine_notes.read(each["spec"]["annotations"]) for name, each in BY_ENGINE.items()}


def container_of(runtime: Object) -> Object:
    [container] = runtime["spec"]["containers"]
    found: Object = container
    return found


def environment_of(runtime: Object) -> dict[str, str]:
    return {each["name"]: each["value"] for each in container_of(runtime).get("env", [])}
