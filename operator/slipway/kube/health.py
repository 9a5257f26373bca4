"""The checks of watches and caches for the management port. Each returns what is wrong, in a sentence, or None."""

from __future__ import annotations

import time
from collections.abc import Callable

from slipway.kube.cache_audit import CacheAuditor
from slipway.kube.store import Store
from slipway.process.management import Check

STALE_AFTER = 60.0  # seconds


def watches_are_fresh(
    auditor: CacheAuditor, *, limit: float = STALE_AFTER, clock: Callable[[], float] = time.monotonic
) -> Check:
    """Stale watches restart immediately; it is wrong only where that hasn't helped for `limit` seconds."""

    def check() -> str | None:
        late = [f"{kind} for {age:.0f} s" for kind, age in auditor.stale(clock()).items() if age > limit]
        return f"watches have missed changes: {', '.join(late)}" if late else None

    return check


def caches_are_filled(store: Store) -> Check:
    def check() -> str | None:
        unsynced = ", ".join(map(str, store.unsynced()))
        return f"not yet listed: {unsynced}" if unsynced else None

    return check
