"""What is told of the annotations by which people ask a model to wake or to sleep, where they don't do what they say.

The activator carries them out. Nothing that is rendered follows from them.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

from slipway.api import asked, units
from slipway.api.llmdeployment import LLMDeployment
from slipway.api.names import PAUSED_ANNOTATION, SLEEP_ANNOTATION, WAKE_ANNOTATION
from slipway.operator.rendering.desired import World
from slipway.operator.rendering.schedule import Kept

PAUSED = f"{PAUSED_ANNOTATION} keeps the number of replicas as it is: remove that first"
NEVER_ASLEEP = "scaling.autoscaler {} always keeps a replica"
LONGEST_HOLD = 3600.0  # seconds, whatever Auto stands for
NEVER_ZERO = "scaling.autoscaler {} never scales to zero: let it be KEDA, and scaling.minReplicas 0"


def told_of_what_is_asked(deployment: LLMDeployment, kept: Kept, world: World) -> Iterator[str]:
    """What has no effect, for as long as it would have one."""
    annotations, now = deployment.metadata.annotations, world.now
    yield from asked.objections(annotations, now)
    if now is None:
        return
    for late in _late(deployment):
        if late.is_told(now):
            yield asked.late(late.name, annotations[late.name])
    found, lasting = asked.asked(annotations), _lasting(deployment)
    woken, sent_to_sleep = found.woken(now), found.sent_to_sleep(now)
    if woken and asked.is_recent(woken, now, lasting) and (why := _keeps_asleep(deployment)):
        yield f"{WAKE_ANNOTATION}: it wakes nothing, because {why}."
    if sent_to_sleep and asked.is_recent(sent_to_sleep, now, lasting) and (why := _keeps_awake(deployment, kept)):
        yield f"{SLEEP_ANNOTATION}: the model stays awake, because {why}."


def next_moment(deployment: LLMDeployment, world: World) -> datetime | None:
    """When something else may be told of them."""
    if world.now is None:
        return None
    found = asked.asked(deployment.metadata.annotations)
    changes = [
        found.next_moment(world.now, _lasting(deployment), -asked.FURTHEST),
        *(late.until for late in _late(deployment) if late.is_told(world.now)),
    ]
    return min(filter(None, changes), default=None)


class Late(NamedTuple):
    """One that was over when it was written."""

    name: str
    written: datetime

    @property
    def until(self) -> datetime:
        return self.written + timedelta(seconds=asked.TOLD_FOR)

    def is_told(self, now: datetime) -> bool:
        return now < self.until


def _late(deployment: LLMDeployment) -> Iterator[Late]:
    """One that has done what it does stays on the object, too. So what counts is when it was written."""
    metadata = deployment.metadata
    for name, lasting in ((WAKE_ANNOTATION, _waking(deployment)), (SLEEP_ANNOTATION, _lasting(deployment))):
        at, written = asked.moment(metadata.annotations.get(name)), asked.written(name, metadata.managed_fields)
        if written and asked.is_late(at, written, lasting):
            yield Late(name, written)


def _lasting(deployment: LLMDeployment) -> float:
    return units.seconds(deployment.spec.scaling.idle_after)


def _waking(deployment: LLMDeployment) -> float:
    """It wakes for no longer than a request would wait."""
    timeout = deployment.spec.scaling.hold.timeout
    return min(_lasting(deployment), LONGEST_HOLD if timeout == "Auto" else units.seconds(timeout))


def _keeps_asleep(deployment: LLMDeployment) -> str:
    """Empty: nothing does."""
    if deployment.is_paused:
        return PAUSED
    autoscaler = deployment.spec.scaling.autoscaler
    return "" if autoscaler == "KEDA" else NEVER_ASLEEP.format(autoscaler)


def _keeps_awake(deployment: LLMDeployment, kept: Kept) -> str:
    """Empty: nothing does."""
    if deployment.is_paused:
        return PAUSED
    autoscaler = deployment.spec.scaling.autoscaler
    if autoscaler != "KEDA":
        return NEVER_ZERO.format(autoscaler)
    number = "1 replica" if kept.replicas == 1 else f"{kept.replicas} replicas"
    if kept.entry:
        return f"'{kept.entry.cron}' of scaling.schedule keeps {number} for {kept.entry.duration}"
    return f"scaling.minReplicas keeps {number}: let it be 0" if kept.replicas else ""
