"""Who has how much in flight, and how fast each may go on. Pure: the time is told."""

from collections import Counter

FORGET_ABOVE = 10_000  # owners; those who could have their whole burst again are as if never seen


class Limits:
    def __init__(self, *, per_minute: int, burst: int) -> None:
        self.in_flight = 0
        self._of_owner: Counter[str] = Counter()
        self._rate = per_minute / 60
        self._burst = burst
        self._full_again: dict[str, float] = {}
        """When an owner's bucket is full: one number says how much is in it at any time."""

    def of(self, owner: str) -> int:
        return self._of_owner[owner]

    def wait(self, owner: str, now: float) -> float:
        """Seconds until the owner may send one more; 0 if now."""
        if not self._rate:
            return 0.0
        full_again = max(self._full_again.get(owner, now), now)
        return max(0.0, full_again - now - (self._burst - 1) / self._rate)

    def enter(self, owner: str, now: float) -> None:
        self.in_flight += 1
        self._of_owner[owner] += 1
        if self._rate:
            self._full_again[owner] = max(self._full_again.get(owner, now), now) + 1 / self._rate
            if len(self._full_again) > FORGET_ABOVE:
                self._full_again = {name: full for name, full in self._full_again.items() if full > now}

    def leave(self, owner: str) -> None:
        self.in_flight -= 1
        self._of_owner[owner] -= 1
        if not self._of_owner[owner]:
            del self._of_owner[owner]
