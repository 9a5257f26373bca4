"""The one command to run next, for each reason: one that heals the model where that is clear, else one that a person
completes, else one that shows more. Pure.

A command changes a number only where the cluster says what would be enough.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from slipway.objects.kinds import Object

from slipway_cli.cluster.remedies import of_platform, of_pods, of_spec
from slipway_cli.cluster.remedies.case import Case, Next
from slipway_cli.cluster.world import World


def next_command(reason: str, message: str, world: World, pod: Object | None) -> Next:
    case = Case(world, message, pod)
    found = _chosen(reason, case) or _about_pod(case)
    found = replace(found, fixes=found.fixes and not found.values)
    return replace(found, why=f"{found.why}. {BEYOND[reason]}") if reason in BEYOND else found


def _chosen(reason: str, case: Case) -> Next | None:
    """Messages are read by their form, and specs are of users: where one is of another form, there is no choice."""
    try:
        return CHOICES[reason](case) if reason in CHOICES else None
    except (ValueError, ArithmeticError, AttributeError, TypeError, KeyError):
        return None


def _about_pod(case: Case) -> Next:
    if case.pod is None:
        return Next(case.describe("llm", case.name), "shows all of its status and events")
    return Next(case.describe("pod", case.pod["metadata"]["name"]), "shows the pod and its events")


CHOICES: Mapping[str, Callable[[Case], Next | None]] = {
    # --- the spec
    "NoAcceleratorFits": of_spec.fits_nowhere,
    "ContextTooLong": of_spec.too_long,
    "InvalidSpec": of_spec.invalid,
    "ProfileMissing": of_spec.profile_missing,
    "RuntimeMissing": of_spec.runtime_missing,
    "RuntimeShadowed": of_spec.runtime_shadowed,
    "BudgetSpent": of_spec.budget,
    "Paused": of_platform.paused,
    "ScalingPaused": of_platform.scaling_paused,
    # --- the model
    "ModelNotFound": of_spec.other_model("the right model"),
    "ModelCorrupt": of_spec.other_model("a model that is complete"),
    "UnsupportedArchitecture": of_spec.other_model("a model that the engine supports"),
    "ModelAccessDenied": of_spec.credentials,
    "QuantizationMismatch": of_spec.quantization,
    # --- its pods
    "BadEngineArguments": of_pods.wrong_argument,
    "HostOutOfMemory": of_pods.more_host_memory,
    "GpuOutOfMemory": of_pods.less_gpu_memory,
    "PodConfigError": of_pods.missing_object,
    "ImageNameInvalid": of_pods.other_image,
    "ImagePullFailed": of_pods.other_image,
    "QuotaExceeded": of_pods.quota,
    "AdmissionDenied": of_pods.admission,
    "Unschedulable": of_pods.no_room,
    "Preempted": of_pods.preempted,
    "Evicted": of_pods.evicted,
    "VolumeNotReady": of_spec.volume_not_ready,
    "CrashLoop": of_pods.crashed,
    "EngineCrashed": of_pods.crashed,
    "EngineStuck": of_pods.stuck_engine,
    "StartTimeout": of_pods.start_timeout,
    "ModelDownloadFailed": of_pods.log,
    "PodStuck": of_pods.stuck,
    "NodeLost": of_pods.node,
    "DriverMismatch": of_pods.node,
    "GpuUnhealthy": of_pods.node,
    "GpuBusy": of_pods.node,
    # --- the platform
    "NameTaken": of_platform.taken,
    "KServeDown": of_platform.down,
    "KedaDown": of_platform.down,
    "KServeMissing": of_platform.doctor,
    "KedaMissing": of_platform.doctor,
    "ScalerUnavailable": of_platform.doctor,
    "ActivatorUnavailable": of_platform.doctor,
    "PermissionDenied": of_platform.doctor,
    "MetricsMissing": of_platform.no_metrics,
}

BEYOND: Mapping[str, str] = {
    "NodeLost": "No command brings a machine back: it has to be repaired, or its Node deleted if it is gone",
    "DriverMismatch": "Its driver has to be upgraded on the node",
    "GpuUnhealthy": "The node has to be taken out of service, and its device repaired",
    "GpuBusy": "The process that uses the device has to end",
    "ModelDownloadFailed": "The source or the network has to answer again; the download is tried again by itself",
    "KServeMissing": "It has to be installed by who runs the cluster",
    "KedaMissing": "It has to be installed by who runs the cluster",
    "ScalerUnavailable": "What keeps KEDA from the activator, such as a NetworkPolicy, is outside of the model",
    "ActivatorUnavailable": "The activator's Deployment has to run again",
    "PermissionDenied": "Its rights are those of Slipway's chart: no command of this tool grants any",
    "PortsExhausted": "A port becomes free when a model of the namespace is deleted, or by the chart's values",
    "InternalError": "It is a bug of the operator, which a person has to report",
    "ApiError": "The operator tries it again by itself",
}
"""Reasons that no command on the model heals, and what has to happen instead."""
