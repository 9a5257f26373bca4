"""What people ask of a model once, by annotations that are moments: to wake, and to go to sleep. Pure.

Either has done all that it does once `scaling.idleAfter` has passed since its moment. So it may stay on the object, and
nothing happens again, however often the programs that read it begin anew.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from slipway.api.names import PAUSED_ANNOTATION, SLEEP_ANNOTATION, WAKE_ANNOTATION

MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})", re.IGNORECASE
)
"""As RFC 3339 writes it."""
YEARS = range(1970, 3000)  # with others, nothing can be reckoned in every time zone
FURTHEST = 3600.0
"""Seconds ahead of now. Clocks differ by less; who writes the time of their own time zone as UTC may be further off."""
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


def objections(annotations: Mapping[str, str], now: datetime | None) -> Iterator[str]:
    """A sentence for each that does nothing as it is written."""
    for name in (WAKE_ANNOTATION, SLEEP_ANNOTATION):
        text = annotations.get(name)
        at = moment(text)
        if text is not None and at is None:
            yield f"{name}: {text[:LONGEST_SHOWN]!r} is no time, so it does nothing: write one such as {_example(now)}."
        elif at and now and (at - now).total_seconds() > FURTHEST:
            yield (
                f"{name}: {text} is more than an hour ahead, so it does nothing before: write the time of now in UTC, "
                f"with a Z at its end, as in {_example(now)}; for times to come, there is scaling.schedule."
            )
    paused = annotations.get(PAUSED_ANNOTATION)
    if paused is not None and paused not in ("true", "false"):
        yield f'{PAUSED_ANNOTATION}: {paused[:LONGEST_SHOWN]!r} pauses nothing: write "true", or remove it.'


def _past(moment: datetime | None, now: datetime) -> datetime | None:
    return moment if moment and moment <= now else None


def _example(now: datetime | None) -> str:
    return f"{now:%Y-%m-%dT%H:%M:%SZ}" if now else "2026-11-21T10:00:00Z"
