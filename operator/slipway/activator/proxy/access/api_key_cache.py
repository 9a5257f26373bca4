"""What is known of the Secrets of keys, within a bound for all of them together.

Beyond it, the namespace of which most is known gives up what was asked for longest ago. So however many Secrets one
tenant has, it only pushes out its own.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeVar

from slipway.activator.proxy.access.token_bucket import TokenBucket

MOST = 65_536  # things that are known: digests of keys, clients of a Secret; each takes some 200 bytes
OF_A_SECRET = 16  # as many things as it takes beside them
WRONG_PER_SECOND, WRONG_BURST = 0.5, 20  # keys that aren't valid, of one client and for one Secret
CLIENTS, PROVEN = 1024, 2048  # of one Secret: clients with wrong keys, and valid keys of clients

K = TypeVar("K")
V = TypeVar("V")


class SecretProblem(Enum):
    LATER = "later"  # the API server hasn't answered yet, or is asked too much
    UNTOLD = "untold"  # the Secret may not be read
    MISSING = "missing"
    TOO_LARGE = "too large"  # it is not read


@dataclass(frozen=True)
class SecretRef:
    namespace: str
    name: str


@dataclass(slots=True)
class SecretKeys:
    """Of one Secret."""

    read_at: float = -math.inf
    owners: Mapping[bytes, str] = field(default_factory=dict)  # of keys, by their digests
    has_more: bool = False  # keys than count
    problem: SecretProblem | None = SecretProblem.LATER
    reading: asyncio.Task[bool] | None = None
    weight: int = 0
    _wrong: OrderedDict[str, TokenBucket] = field(default_factory=OrderedDict)
    _proven: OrderedDict[tuple[str, bytes], None] = field(default_factory=OrderedDict)

    def wait(self, client: str, digest: bytes, now: float) -> float:
        """Seconds for which a client isn't told whether a key is valid, unless it has shown that one before."""
        if (client, digest) in self._proven:
            return 0.0
        bucket = self._wrong.get(client)
        return bucket.wait(now) if bucket else 0.0

    def was_wrong(self, client: str, digest: bytes, now: float) -> None:
        self._proven.pop((client, digest), None)
        bucket = self._wrong.get(client) or TokenBucket(WRONG_PER_SECOND, WRONG_BURST)
        bucket.take(now)
        _keep(self._wrong, client, bucket, most=CLIENTS)

    def was_valid(self, client: str, digest: bytes) -> None:
        _keep(self._proven, (client, digest), None, most=PROVEN)

    def weigh(self) -> int:
        return OF_A_SECRET + len(self.owners) + len(self._wrong) + len(self._proven)


class ApiKeyCache:
    def __init__(self) -> None:
        self._known: dict[str, OrderedDict[str, SecretKeys]] = {}  # by namespace and name, the one of longest ago first
        self._weights: Counter[str] = Counter()  # of namespaces
        self.weight = 0

    def of(self, place: SecretRef) -> SecretKeys:
        theirs = self._known.setdefault(place.namespace, OrderedDict())
        known = theirs.setdefault(place.name, SecretKeys())
        theirs.move_to_end(place.name)
        self.weigh(place, known)
        return known

    def weigh(self, place: SecretRef, known: SecretKeys) -> None:
        """After more of it is known, or less."""
        theirs = self._known.get(place.namespace)
        if theirs is None or theirs.get(place.name) is not known:
            return  # it was given up meanwhile
        self._add(place.namespace, known.weigh() - known.weight)
        known.weight = known.weigh()
        while self.weight > MOST:
            self._give_up(max(self._weights, key=self._weights.__getitem__))

    def _give_up(self, namespace: str) -> None:
        theirs = self._known[namespace]
        _, known = theirs.popitem(last=False)
        self._add(namespace, -known.weight)
        if not theirs:
            del self._known[namespace], self._weights[namespace]

    def _add(self, namespace: str, weight: int) -> None:
        self._weights[namespace] += weight
        self.weight += weight


def _keep(kept: OrderedDict[K, V], key: K, value: V, *, most: int) -> None:
    """And what has been kept longest without use goes."""
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > most:
        kept.popitem(last=False)
