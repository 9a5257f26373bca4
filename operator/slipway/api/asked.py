"""The annotations that wake a model, or send it to sleep, once. Their values are times. Pure.

Either annotation has no more effect once `scaling.idleAfter` has passed since its time. So it may stay on the object,
and a restart of the programs that read it repeats nothing.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from slipway.api.names import PAUSED_ANNOTATION, RESTART_ANNOTATION, SLEEP_ANNOTATION, WAKE_ANNOTATION

MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})", re.IGNORECASE
)
"""A time as in RFC 3339."""
YEARS = range(1970, 3000)  # other years can't be converted into every time zone
FURTHEST = 300.0
"""Seconds ahead of now. Clocks differ by less; a local time that is written as UTC is further ahead."""
TOLD_FOR = 3600.0
"""Seconds after the write for which the status reports an annotation that was over when it was written."""
AS_PRINTED = "as `date -u +%FT%TZ` prints it"
"""Without an example of the current time: the sentence, and so the status, would change every second."""
LONGEST_SHOWN = 40  # characters of a value that isn't a time


@dataclass(frozen=True)
class Asked:
    """The times in the annotations of one object. A value that isn't a time counts as absent."""

    wake: datetime | None = None
    sleep: datetime | None = None

    def woken(self, now: datetime) -> datetime | None:
        """The time from which the model should be awake, if waking is the latest request."""
        wake, sleep = _past(self.wake, now), _past(self.sleep, now)
        return wake if wake and not (sleep and sleep > wake) else None

    def sent_to_sleep(self, now: datetime) -> datetime | None:
        """The time before which nothing keeps the model awake, if sleeping is the latest request."""
        return None if self.woken(now) else _past(self.sleep, now)

    def next_moment(self, now: datetime, *after: float) -> datetime | None:
        """The next time at which the meaning may change: one of the times, or the given seconds after it."""
        moments = [each for each in (self.wake, self.sleep) if each]
        times = [each + timedelta(seconds=seconds) for each in moments for seconds in (0.0, *after)]
        return min((each for each in times if each > now), default=None)


def asked(annotations: Mapping[str, str]) -> Asked:
    return Asked(moment(annotations.get(WAKE_ANNOTATION)), moment(annotations.get(SLEEP_ANNOTATION)))


def moment(text: str | None) -> datetime | None:
    """Returns None if the text is missing or isn't a time."""
    if not text or not MOMENT.fullmatch(text):
        return None
    try:
        found = datetime.fromisoformat(text.upper())
    except ValueError:
        return None
    return found if found.year in YEARS else None


def is_recent(moment: datetime, now: datetime, lasting: float) -> bool:
    """Whether the moment has passed, by less than `lasting` seconds."""
    return moment <= now < moment + timedelta(seconds=lasting)


def is_later(text: str | None, before: str | None) -> bool:
    """Whether the text is a time, and a later one than the one before, if that is one."""
    time, time_before = moment(text), moment(before)
    return time is not None and (time_before is None or time > time_before)


def writes(managed_fields: Collection[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The part of an object's managedFields that shows when these annotations were written; empty for most objects."""
    times = {name: written(name, managed_fields) for name in (WAKE_ANNOTATION, SLEEP_ANNOTATION)}
    return [
        {"time": f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}", "fieldsV1": _fields(name)}
        for name, time in times.items()
        if time
    ]


def _fields(annotation: str) -> dict[str, Any]:
    return {"f:metadata": {"f:annotations": {f"f:{annotation}": {}}}}


def written(name: str, managed_fields: Iterable[Mapping[str, Any]]) -> datetime | None:
    """The latest possible time of the annotation's write: its writer may have written another field since."""
    times = [moment(str(entry.get("time"))) for entry in managed_fields if name in _written_by(entry)]
    return max((time for time in times if time), default=None)


def _written_by(entry: Mapping[str, Any]) -> set[str]:
    """The names of the annotations that this entry owns."""
    fields: Any = entry
    for name in ("fieldsV1", "f:metadata", "f:annotations"):
        fields = fields.get(name) if isinstance(fields, Mapping) else None
    return {name.removeprefix("f:") for name in fields} if isinstance(fields, Mapping) else set()


def is_late(moment: datetime | None, written: datetime | None, lasting: float) -> bool:
    """Whether the annotation was already without effect when it was written."""
    return bool(moment and written and moment + timedelta(seconds=lasting) <= written)


def objections(annotations: Mapping[str, str], now: datetime | None) -> Iterator[str]:
    """Yields a sentence for each annotation whose value has no effect."""
    for name in (WAKE_ANNOTATION, SLEEP_ANNOTATION, RESTART_ANNOTATION):
        text = annotations.get(name)
        at = moment(text)
        if text is not None and at is None:
            shown = repr(text[:LONGEST_SHOWN])
            yield f"{name}: {shown} is not a time, so it has no effect: write the current time, {AS_PRINTED}."
        elif name != RESTART_ANNOTATION and at and now and (at - now).total_seconds() > FURTHEST:
            yield (
                f"{name}: {text} is more than 5 minutes ahead, so it has no effect until then: write the current time "
                f"in UTC, {AS_PRINTED}; for future times, use scaling.schedule."
            )
    paused = annotations.get(PAUSED_ANNOTATION)
    if paused is not None and paused not in ("true", "false"):
        yield f'{PAUSED_ANNOTATION}: {paused[:LONGEST_SHOWN]!r} pauses nothing: write "true", or remove it.'


def late(name: str, text: str) -> str:
    """The sentence for an annotation that was over when it was written."""
    effect = "wakes nothing" if name == WAKE_ANNOTATION else "has no effect"
    return f"{name}: {text} is in the past, so it {effect}: to act now, write the current time in UTC, {AS_PRINTED}."


def _past(moment: datetime | None, now: datetime) -> datetime | None:
    return moment if moment and moment <= now else None
