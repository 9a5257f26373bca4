"""What people ask of a model once, by annotations that are moments: to wake, and to go to sleep. Pure.

Either has done all that it does once `scaling.idleAfter` has passed since its moment. So it may stay on the object, and
nothing happens again, however often the programs that read it begin anew.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from slipway.api.names import PAUSED_ANNOTATION, SLEEP_ANNOTATION, WAKE_ANNOTATION

MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})", re.IGNORECASE
)
"""As RFC 3339 writes it."""
YEARS = range(1970, 3000)  # with others, nothing can be reckoned in every time zone
FURTHEST = 300.0
"""Seconds ahead of now. Clocks differ by less; who writes the time of their own time zone as UTC is further off."""
TOLD_FOR = 3600.0
"""Seconds after it was written in which one that had been over by then is told of: whoever wrote it looks by then."""
AS_PRINTED = "as `date -u +%FT%TZ` prints it"
"""And no example of just now: the sentence would be another one with each second, and be written anew."""
LONGEST_SHOWN = 40  # characters of what is no moment


@dataclass(frozen=True)
class Asked:
    """The moments of one object's annotations. What is no moment counts as nothing."""

    wake: datetime | None = None
    sleep: datetime | None = None

    def woken(self, now: datetime) -> datetime | None:
        """The moment from which on it is to be awake, if the last that was asked is that."""
        wake, sleep = _past(self.wake, now), _past(self.sleep, now)
        return wake if wake and not (sleep and sleep > wake) else None

    def sent_to_sleep(self, now: datetime) -> datetime | None:
        """The moment before which nothing keeps it awake any more, if the last that was asked is that."""
        return None if self.woken(now) else _past(self.sleep, now)

    def next_moment(self, now: datetime, *beside: float) -> datetime | None:
        """When it may mean something else: at one of the moments, or so many seconds after it."""
        moments = [each for each in (self.wake, self.sleep) if each]
        times = [each + timedelta(seconds=seconds) for each in moments for seconds in (0.0, *beside)]
        return min((each for each in times if each > now), default=None)


def asked(annotations: Mapping[str, str]) -> Asked:
    return Asked(moment(annotations.get(WAKE_ANNOTATION)), moment(annotations.get(SLEEP_ANNOTATION)))


def moment(text: str | None) -> datetime | None:
    """None: there is none, or it isn't one."""
    if not text or not MOMENT.fullmatch(text):
        return None
    try:
        found = datetime.fromisoformat(text.upper())
    except ValueError:
        return None
    return found if found.year in YEARS else None


def is_recent(moment: datetime, now: datetime, lasting: float) -> bool:
    """It has come, and not so many seconds have passed since."""
    return moment <= now < moment + timedelta(seconds=lasting)


def writes(managed_fields: Collection[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Of an object's managedFields, what tells when these annotations were written: nothing, for most objects."""
    times = {name: written(name, managed_fields) for name in (WAKE_ANNOTATION, SLEEP_ANNOTATION)}
    return [
        {"time": f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}", "fieldsV1": _fields(name)}
        for name, time in times.items()
        if time
    ]


def _fields(annotation: str) -> dict[str, Any]:
    return {"f:metadata": {"f:annotations": {f"f:{annotation}": {}}}}


def written(name: str, managed_fields: Iterable[Mapping[str, Any]]) -> datetime | None:
    """When the annotation was written, at the latest: whoever wrote it may have written something else since."""
    times = [moment(str(entry.get("time"))) for entry in managed_fields if name in _written_by(entry)]
    return max((time for time in times if time), default=None)


def _written_by(entry: Mapping[str, Any]) -> set[str]:
    """Annotations."""
    fields: Any = entry
    for name in ("fieldsV1", "f:metadata", "f:annotations"):
        fields = fields.get(name) if isinstance(fields, Mapping) else None
    return {name.removeprefix("f:") for name in fields} if isinstance(fields, Mapping) else set()


def is_late(moment: datetime | None, written: datetime | None, lasting: float) -> bool:
    """It was over before anybody could have seen it."""
    return bool(moment and written and moment + timedelta(seconds=lasting) <= written)


def objections(annotations: Mapping[str, str], now: datetime | None) -> Iterator[str]:
    """A sentence for each that does nothing as it is written."""
    for name in (WAKE_ANNOTATION, SLEEP_ANNOTATION):
        text = annotations.get(name)
        at = moment(text)
        if text is not None and at is None:
            shown = repr(text[:LONGEST_SHOWN])
            yield f"{name}: {shown} is no time, so it does nothing: write the time of now, {AS_PRINTED}."
        elif at and now and (at - now).total_seconds() > FURTHEST:
            yield (
                f"{name}: {text} is more than 5 minutes ahead, so it does nothing before: write the time of now in "
                f"UTC, {AS_PRINTED}; for times to come, there is scaling.schedule."
            )
    paused = annotations.get(PAUSED_ANNOTATION)
    if paused is not None and paused not in ("true", "false"):
        yield f'{PAUSED_ANNOTATION}: {paused[:LONGEST_SHOWN]!r} pauses nothing: write "true", or remove it.'


def late(name: str, text: str) -> str:
    """A sentence for one that was over when it was written."""
    verb = "wakes nothing" if name == WAKE_ANNOTATION else "does nothing"
    return (
        f"{name}: {text} is over, so it {verb} any more: to ask just now, write the time of now in UTC, {AS_PRINTED}."
    )


def _past(moment: datetime | None, now: datetime) -> datetime | None:
    return moment if moment and moment <= now else None
