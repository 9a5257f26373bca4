"""Reads moments as the API server and people write them."""

from __future__ import annotations

from datetime import datetime, timedelta

REAL_YEARS = range(1970, 3000)  # only people write others, and adding to such a moment can overflow


def parse_time(text: str | None) -> datetime | None:
    """A time as the API server writes it; None if it is missing, malformed or out of range."""
    try:
        moment = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return moment if moment and moment.tzinfo and moment.year in REAL_YEARS else None


def is_near(moment: datetime, now: datetime, within: timedelta) -> bool:
    """A moment further ahead than `within` isn't near: our clock may be behind, and nothing must wait for it."""
    return abs(now - moment) < within
