"""How many requests each owner has in flight, and how fast each may send. Pure: the time is an argument."""

from collections import Counter

FORGET_ABOVE = 10_000  # owners; one whose bucket is full again can be forgotten


class Rate:
    """A token bucket for each owner. More may be taken than it holds; the next request then waits until that has
    refilled."""

    def __init__(self, *, per_minute: float, burst: float) -> None:
        self._rate = per_minute / 60
        self._burst = burst
        self._full_again: dict[str, float] = {}
        """When an owner's bucket is full: this one number gives its level at any time."""

    def wait(self, owner: str, now: float, *, wanted: float = 0.0) -> float:
        """Returns the seconds until the bucket holds that much; 0 if it does now, or if there is no limit."""
        if not self._rate:
            return 0.0
        return max(0.0, self._full(owner, now) - now - (self._burst - wanted) / self._rate)

    def left(self, owner: str, now: float) -> float:
        return self._burst - (self._full(owner, now) - now) * self._rate

    def take(self, owner: str, amount: float, now: float) -> None:
        if not self._rate:
            return
        self._full_again[owner] = self._full(owner, now) + amount / self._rate
        if len(self._full_again) > FORGET_ABOVE:
            self._full_again = {name: full for name, full in self._full_again.items() if full > now}

    def _full(self, owner: str, now: float) -> float:
        return max(self._full_again.get(owner, now), now)


class Arrivals:
    """Requests of each sender whose bodies are incomplete. They take no place in flight, so they have a limit."""

    def __init__(self, most_of_sender: int) -> None:
        self._most_of_sender = most_of_sender
        self._of_sender: Counter[str] = Counter()

    def enter(self, sender: str) -> bool:
        """Returns False if the sender has too many."""
        if self._of_sender[sender] >= self._most_of_sender:
            return False
        self._of_sender[sender] += 1
        return True

    def leave(self, sender: str) -> None:
        self._of_sender[sender] -= 1
        if not self._of_sender[sender]:
            del self._of_sender[sender]


class Limits:
    def __init__(self, *, per_minute: int, burst: int, tokens_per_minute: int = 0) -> None:
        self.in_flight = 0
        self._of_owner: Counter[str] = Counter()
        self._requests = Rate(per_minute=per_minute, burst=burst)
        self.tokens = Rate(per_minute=tokens_per_minute, burst=tokens_per_minute)
        """A minute's worth may be used immediately. What a request uses is known when it has been answered."""

    def of(self, owner: str) -> int:
        return self._of_owner[owner]

    def wait(self, owner: str, now: float) -> float:
        """Returns the seconds until the owner may send another request; 0 if now."""
        return self._requests.wait(owner, now, wanted=1)

    def wait_for_tokens(self, owner: str, now: float) -> float:
        """Returns the seconds until the owner has a token left; 0 if it has one now."""
        return self.tokens.wait(owner, now, wanted=1)

    def enter(self, owner: str, now: float) -> None:
        self.in_flight += 1
        self._of_owner[owner] += 1
        self._requests.take(owner, 1, now)

    def leave(self, owner: str) -> None:
        self.in_flight -= 1
        self._of_owner[owner] -= 1
        if not self._of_owner[owner]:
            del self._of_owner[owner]
