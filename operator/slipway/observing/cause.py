"""Why an LLMDeployment isn't as it should be: one cause, in the words of the component that reported it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from slipway.api.reasons import Reason

BY_WORD = {str(each): each for each in Reason}


@dataclass(frozen=True)
class Cause:
    """What went wrong. Final: waiting doesn't help."""

    reason: Reason
    message: str
    since: datetime | None = None
    final: bool = False
    pod: str = ""


def reason_named(word: str) -> Reason:
    """The reason with that name, as another program or another version has written it."""
    return BY_WORD.get(word, Reason.UNKNOWN)


NO_POD_CAN_HELP = (
    Reason.INVALID_SPEC,
    Reason.KSERVE_MISSING,
    Reason.NAME_TAKEN,
    Reason.RUNTIME_MISSING,
    Reason.PERMISSION_DENIED,
    Reason.ADMISSION_DENIED,
    Reason.NO_ACCELERATOR_FITS,
    Reason.PROFILE_MISSING,
    Reason.KEDA_MISSING,
    Reason.PAUSED,
    Reason.SCALING_PAUSED,
    Reason.POD_CONFIG_ERROR,
    Reason.INTERNAL_ERROR,
)
"""Causes that stay until a person or the platform changes something, however many requests arrive."""

WORST_FIRST = (
    *NO_POD_CAN_HELP,
    Reason.KSERVE_DOWN,
    Reason.KEDA_DOWN,
    Reason.SCALER_UNAVAILABLE,
    Reason.QUOTA_EXCEEDED,
    # these say exactly what to change
    Reason.BAD_ENGINE_ARGUMENTS,
    Reason.UNSUPPORTED_ARCHITECTURE,
    Reason.QUANTIZATION_MISMATCH,
    Reason.MODEL_NOT_FOUND,
    Reason.MODEL_ACCESS_DENIED,
    Reason.MODEL_CORRUPT,
    Reason.CONTEXT_TOO_LONG,
    Reason.GPU_OUT_OF_MEMORY,
    Reason.HOST_OUT_OF_MEMORY,
    Reason.DRIVER_MISMATCH,
    Reason.IMAGE_NAME_INVALID,
    Reason.IMAGE_PULL_FAILED,
    # these say where to look
    Reason.GPU_UNHEALTHY,
    Reason.GPU_BUSY,
    Reason.MODEL_DOWNLOAD_FAILED,
    Reason.VOLUME_NOT_READY,
    Reason.CRASH_LOOP,
    Reason.ENGINE_CRASHED,
    Reason.START_TIMEOUT,
    Reason.ENGINE_STUCK,
    # why a replica lost its node; more useful than that it finds no other
    Reason.NODE_LOST,
    Reason.PREEMPTED,
    Reason.UNSCHEDULABLE,
    # causes that have passed already, or do little harm
    Reason.EVICTED,
    Reason.POD_STUCK,
)

WOULD_HAPPEN_AGAIN = frozenset(
    {
        Reason.BAD_ENGINE_ARGUMENTS,
        Reason.UNSUPPORTED_ARCHITECTURE,
        Reason.QUANTIZATION_MISMATCH,
        Reason.MODEL_NOT_FOUND,
        Reason.MODEL_ACCESS_DENIED,
        Reason.MODEL_CORRUPT,
        Reason.MODEL_DOWNLOAD_FAILED,
        Reason.CONTEXT_TOO_LONG,
        Reason.GPU_OUT_OF_MEMORY,
        Reason.HOST_OUT_OF_MEMORY,
        Reason.DRIVER_MISMATCH,
        Reason.IMAGE_NAME_INVALID,
        Reason.IMAGE_PULL_FAILED,
        Reason.CRASH_LOOP,
        Reason.ENGINE_CRASHED,
        Reason.START_TIMEOUT,
    }
)
"""Causes that would stop a new pod of the same spec, too."""

KEEPS_ASLEEP = frozenset({Reason.KSERVE_DOWN, Reason.KEDA_DOWN, Reason.SCALER_UNAVAILABLE, Reason.VOLUME_NOT_READY})
"""Causes that prevent a model at zero from waking, and that pass without a change of the model."""


def worst(causes: Iterable[Cause]) -> Cause | None:
    """The one that a person should act on first; of equal ones, the oldest."""
    return min(causes, key=_urgency, default=None)


def _urgency(cause: Cause) -> tuple[bool, int, float, str]:
    rank = WORST_FIRST.index(cause.reason) if cause.reason in WORST_FIRST else len(WORST_FIRST)
    return not cause.final, rank, cause.since.timestamp() if cause.since else 0, cause.pod
