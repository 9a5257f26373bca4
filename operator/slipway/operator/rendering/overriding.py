"""What a plan changes of the ServingRuntime's own pod: how long a start may take, and the size of /dev/shm.

KServe merges the container and the volumes of an InferenceService into those of the runtime by their names, so only the
changed value is written. A plan never lowers what the runtime has.
"""

from __future__ import annotations

import math
from contextlib import suppress

from slipway.api import units
from slipway.objects.kinds import Object
from slipway.operator.planning import Plan
from slipway.operator.rendering.runtimes import engine_container

MARGIN = 60  # seconds that the kubelet waits longer than slipway-runtime, which reports why the start took so long
OF_KUBERNETES = {"periodSeconds": 10, "failureThreshold": 3, "initialDelaySeconds": 0}
SHM = "/dev/shm"  # noqa: S108 - a path in the container
VOLUME = "slipway-shm"  # of a runtime that has none


# --- the start --------------------------------------------------------------------------------------------------------


def longer_start(plan: Plan, serving_runtime: Object) -> int | None:
    """The seconds of the plan, if the startup probe of the runtime allows less."""
    probe = _startup_probe(serving_runtime)
    if plan.start_limit is None or probe is None:
        return None
    allowed = probe["initialDelaySeconds"] + probe["periodSeconds"] * probe["failureThreshold"] - MARGIN
    return math.ceil(plan.start_limit) if plan.start_limit > allowed else None


def startup_probe(plan: Plan, serving_runtime: Object) -> Object | None:
    limit, probe = longer_start(plan, serving_runtime), _startup_probe(serving_runtime)
    if limit is None or probe is None:
        return None
    return {"failureThreshold": math.ceil((limit + MARGIN - probe["initialDelaySeconds"]) / probe["periodSeconds"])}


def _startup_probe(serving_runtime: Object) -> dict[str, int] | None:
    probe = engine_container(serving_runtime).get("startupProbe")
    return {name: int(probe.get(name) or default) for name, default in OF_KUBERNETES.items()} if probe else None


# --- shared memory ----------------------------------------------------------------------------------------------------


def shared_memory(plan: Plan, serving_runtime: Object) -> tuple[list[Object], list[Object]]:
    """The volume and the mount to write, if the plan needs more than the runtime has."""
    if plan.shared_memory is None:
        return [], []
    size = units.quantity(plan.shared_memory)
    mount = next((each for each in _mounts(serving_runtime) if each.get("mountPath") == SHM), None)
    if mount is None:
        volume = {"name": VOLUME, "emptyDir": {"medium": "Memory", "sizeLimit": size}}
        return [volume], [{"name": VOLUME, "mountPath": SHM}]
    volumes: list[Object] = serving_runtime["spec"].get("volumes") or []
    volume = next((each for each in volumes if each["name"] == mount["name"]), {})
    if not _is_smaller(volume, plan.shared_memory):
        return [], []
    return [{"name": mount["name"], "emptyDir": {"medium": "Memory", "sizeLimit": size}}], []


def _mounts(serving_runtime: Object) -> list[Object]:
    return engine_container(serving_runtime).get("volumeMounts") or []


def _is_smaller(volume: Object, size: int) -> bool:
    """Whether it is memory with a limit below that; without a limit, it is as large as the pod's memory."""
    limit = (volume.get("emptyDir") or {}).get("sizeLimit")
    with suppress(ValueError):
        return limit is not None and units.amount(limit) < size
    return False
