"""Checks of shared memory and of the space for caches. Pure."""

from __future__ import annotations

from slipway_runtime.contract.reasons import Reason
from slipway_runtime.failure import Failure
from slipway_runtime.models import Facts
from slipway_runtime.preflight.host import Host
from slipway_runtime.preflight.settings import EngineSettings

MIB = 1 << 20
SHM = "/dev/shm"  # noqa: S108 - the one that engines use
SHM_BETWEEN_DEVICES = 512 * MIB  # ring buffers between vLLM's processes, and what NCCL takes
CACHE = 256 * MIB  # compiled kernels of a small model; larger models need more


def shared_memory_is_large_enough(settings: EngineSettings, _: Facts, host: Host) -> Failure | None:
    """A container has 64 MiB by default. Several processes with a device each fill that, and die of SIGBUS."""
    if settings.engine != "vllm":
        return None
    if host.shm is None:
        return Failure(
            Reason.POD_CONFIG_ERROR,
            f"{SHM} is missing or not writable, and vLLM's processes communicate through it.",
            f"Mount an emptyDir of medium Memory at {SHM}.",
        )
    if settings.devices == 1 or host.shm >= SHM_BETWEEN_DEVICES:
        return None
    return Failure(
        Reason.POD_CONFIG_ERROR,
        f"{SHM} has {host.shm // MIB} MiB, and {settings.devices} devices need {SHM_BETWEEN_DEVICES // MIB} of it.",
        f"Mount an emptyDir of medium Memory and of that size at {SHM}.",
    )


def caches_have_room(settings: EngineSettings, _: Facts, host: Host) -> Failure | None:
    if settings.engine != "vllm" or settings.cache is None:
        return None
    if host.cache_free is None:
        return Failure(
            Reason.POD_CONFIG_ERROR,
            f"The folder for caches, {settings.cache}, is not writable for this user.",
            "Mount a volume there that the pod's fsGroup may write to.",
        )
    if host.cache_free >= CACHE:
        return None
    return Failure(
        Reason.POD_CONFIG_ERROR,
        f"{settings.cache} has {host.cache_free // MIB} MiB left for compiled kernels, and {CACHE // MIB} are needed.",
        "Enlarge its volume, or empty it: its content can be generated again.",
    )


CHECKS = (shared_memory_is_large_enough, caches_have_room)
