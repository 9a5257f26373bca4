"""What was given up of a cache, as the status remembers it, and when it is tried again. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from slipway.objects.kinds import Object
from slipway.objects.times import parse_time
from slipway.observing.snapshot import Snapshot

AGAIN_AFTER = (timedelta(0), timedelta(hours=1), timedelta(hours=6), timedelta(days=1))
"""From a claim that was given up to the next one, by the number of tries: each costs a wake some seconds."""
REFUSED_AGAIN_AFTER = timedelta(minutes=10)  # at least: it is refused while the model sleeps, too
REFUSED = "ClaimRefused"
CACHES = COMPILED, WEIGHTS = "compileCache", "modelCache"  # fields of the status


@dataclass(frozen=True, kw_only=True)
class GivenUp:
    reason: str
    message: str
    tries: int
    at: datetime
    claim: str

    @classmethod
    def of(cls, snapshot: Snapshot, cache: str = COMPILED) -> GivenUp | None:
        """`cache`: its field of the status."""
        found = snapshot.given_up.get(cache) or given_up_in(snapshot.status, cache) or {}
        at = parse_time(found.get("at"))
        if not at or at > snapshot.now:
            return None
        words = {name: str(found.get(name) or "") for name in ("reason", "message", "claim")}
        return cls(tries=max(1, int(found.get("tries") or 1)), at=at, **words)

    @property
    def again_at(self) -> datetime:
        wait = AGAIN_AFTER[min(self.tries, len(AGAIN_AFTER)) - 1]
        return self.at + (max(wait, REFUSED_AGAIN_AFTER) if self.reason == REFUSED else wait)

    def as_status(self) -> Object:
        return {
            "reason": self.reason,
            "message": self.message,
            "tries": self.tries,
            "at": f"{self.at:%Y-%m-%dT%H:%M:%SZ}",
            "claim": self.claim,
        }


def given_up_in(status: Object | None, cache: str = COMPILED) -> Object | None:
    found: Object | None = ((status or {}).get(cache) or {}).get("givenUp")
    return found
