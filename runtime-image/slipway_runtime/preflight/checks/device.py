"""Checks of accelerators and driver: present, enough, healthy, new enough. Pure."""

from __future__ import annotations

from slipway_runtime.contract.reasons import Reason
from slipway_runtime.failure import Failure
from slipway_runtime.models import Facts
from slipway_runtime.preflight.host import Host
from slipway_runtime.preflight.settings import EngineSettings


def driver_answers(settings: EngineSettings, _: Facts, host: Host) -> Failure | None:
    if settings.device == "cpu" or not host.driver_trouble:
        return None
    return Failure(
        Reason.DRIVER_MISMATCH,
        f"The accelerator can't be used: {host.driver_trouble}.",
        "Install the driver and its container toolkit on the node; on nodes with several runtimes, name runtimeClass.",
    )


def driver_is_new_enough(settings: EngineSettings, _: Facts, host: Host) -> Failure | None:
    """Within one major version of CUDA, drivers run programs that are newer than they are."""
    needed, there = host.support.cuda, host.driver_cuda
    if settings.device != "cuda" or not needed or not there or there[0] >= needed[0]:
        return None
    return Failure(
        Reason.DRIVER_MISMATCH,
        f"The engine is built for CUDA {needed[0]}.{needed[1]}; the node's driver {host.driver} runs up to "
        f"CUDA {there[0]}.{there[1]}.",
        f"Update the node's driver, or take an image that is built for CUDA {there[0]}.",
    )


def enough_devices(settings: EngineSettings, _: Facts, host: Host) -> Failure | None:
    if settings.device == "cpu" or len(host.devices) >= settings.devices:
        return None
    there = f"{len(host.devices)} of the {settings.devices} accelerators that the engine is configured to use"
    return Failure(
        Reason.POD_CONFIG_ERROR if not host.devices else Reason.BAD_ENGINE_ARGUMENTS,
        f"This container has {there}.",
        "Request as many devices in the pod's resources as the product of tensor and pipeline parallelism.",
    )


def devices_are_healthy(settings: EngineSettings, _: Facts, host: Host) -> Failure | None:
    for device in host.devices if settings.device != "cpu" else ():
        if device.faults:
            return Failure(
                Reason.GPU_UNHEALTHY,
                f"{device.name} (number {device.index}) is not healthy: {'; '.join(device.faults)}.",
                "Cordon the node and reset the GPU; if that doesn't help, replace it.",
            )
    return None


CHECKS = (driver_answers, driver_is_new_enough, enough_devices, devices_are_healthy)
