"""Remarks on the annotations that wake a model or send it to sleep, where they have no effect.

The activator carries them out; no rendered object depends on them.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

from slipway.api import asked, units
from slipway.api.llmdeployment import LLMDeployment
from slipway.api.names import PAUSED_ANNOTATION, SLEEP_ANNOTATION, WAKE_ANNOTATION
from slipway.operator.rendering.schedule import Kept

PAUSED = f"{PAUSED_ANNOTATION} keeps the number of replicas as it is: remove that first"
NEVER_ASLEEP = "scaling.autoscaler {} always keeps a replica"
LONGEST_HOLD = 3600.0  # seconds, whatever Auto stands for
NEVER_ZERO = "scaling.autoscaler {} never scales to zero: let it be KEDA, and scaling.minReplicas 0"


def remarks_on_annotations(deployment: LLMDeployment, kept: Kept, now: datetime) -> Iterator[str]:
    """A sentence for each annotation without effect, during the time in which it would have one."""
    annotations = deployment.metadata.annotations
    yield from asked.objections(annotations, now)
    for late in _late(deployment):
        if late.is_reported(now):
            yield asked.late(late.name, annotations[late.name])
    found, lasting = asked.asked(annotations), _lasting(deployment)
    woken, sent_to_sleep = found.woken(now), found.sent_to_sleep(now)
    if woken and asked.is_recent(woken, now, lasting) and (why := _keeps_asleep(deployment)):
        yield f"{WAKE_ANNOTATION}: it wakes nothing, because {why}."
    if sent_to_sleep and asked.is_recent(sent_to_sleep, now, lasting) and (why := _keeps_awake(deployment, kept)):
        yield f"{SLEEP_ANNOTATION}: the model stays awake, because {why}."


def next_moment(deployment: LLMDeployment, now: datetime) -> datetime | None:
    """When the remarks may change."""
    found = asked.asked(deployment.metadata.annotations)
    changes = [
        found.next_moment(now, _lasting(deployment), -asked.FURTHEST),
        *(late.until for late in _late(deployment) if late.is_reported(now)),
    ]
    return min(filter(None, changes), default=None)


class LateAnnotation(NamedTuple):
    """An annotation whose effect was over when it was written."""

    name: str
    written: datetime

    @property
    def until(self) -> datetime:
        return self.written + timedelta(seconds=asked.TOLD_FOR)

    def is_reported(self, now: datetime) -> bool:
        return now < self.until


def _late(deployment: LLMDeployment) -> Iterator[LateAnnotation]:
    """An annotation that had its effect stays on the object, too. So the time at which it was written counts."""
    metadata = deployment.metadata
    for name, lasting in ((WAKE_ANNOTATION, _waking(deployment)), (SLEEP_ANNOTATION, _lasting(deployment))):
        at, written = asked.moment(metadata.annotations.get(name)), asked.written(name, metadata.managed_fields)
        if written and asked.is_late(at, written, lasting):
            yield LateAnnotation(name, written)


def _lasting(deployment: LLMDeployment) -> float:
    return units.seconds(deployment.spec.scaling.idle_after)


def _waking(deployment: LLMDeployment) -> float:
    """A wake lasts no longer than a request would be held."""
    timeout = deployment.spec.scaling.hold.timeout
    return min(_lasting(deployment), LONGEST_HOLD if timeout == "Auto" else units.seconds(timeout))


def _keeps_asleep(deployment: LLMDeployment) -> str:
    """The reason, or an empty string."""
    if deployment.is_paused:
        return PAUSED
    autoscaler = deployment.spec.scaling.autoscaler
    return "" if autoscaler == "KEDA" else NEVER_ASLEEP.format(autoscaler)


def _keeps_awake(deployment: LLMDeployment, kept: Kept) -> str:
    """The reason, or an empty string."""
    if deployment.is_paused:
        return PAUSED
    autoscaler = deployment.spec.scaling.autoscaler
    if autoscaler != "KEDA":
        return NEVER_ZERO.format(autoscaler)
    number = "1 replica" if kept.replicas == 1 else f"{kept.replicas} replicas"
    if kept.entry:
        return f"'{kept.entry.cron}' of scaling.schedule keeps {number} for {kept.entry.duration}"
    return f"scaling.minReplicas keeps {number}: let it be 0" if kept.replicas else ""
