"""What is known of the Secrets with API keys, within a bound for all of them together.

Beyond it, the namespace of which most is known loses what was used longest ago. So however many Secrets one tenant has,
it pushes out only its own.
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

MOST = 65_536  # entries: digests of keys, and clients of a Secret; each takes some 200 bytes
OF_A_SECRET = 16  # entries that a Secret takes besides them
WRONG_PER_SECOND, WRONG_BURST = 0.5, 20  # invalid keys, of one client and for one Secret
CLIENTS, PROVEN = 1024, 2048  # of one Secret: clients with wrong keys, and valid keys of clients

K = TypeVar("K")
V = TypeVar("V")


class SecretProblem(Enum):
    LATER = "later"  # the API server hasn't answered yet, or too many queries wait
    UNREADABLE = "unreadable"  # the activator has no right to read the Secret
    MISSING = "missing"
    TOO_LARGE = "too large"  # it isn't read


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
        """Seconds for which a client's key isn't checked, unless this client has sent it before and it was valid."""
        if (client, digest) in self._proven:
            return 0.0
        bucket = self._wrong.get(client)
        return bucket.wait(now) if bucket else 0.0

    def was_wrong(self, client: str, digest: bytes, now: float) -> None:
        self._proven.pop((client, digest), None)
        bucket = self._wrong.get(client) or TokenBucket(WRONG_PER_SECOND, WRONG_BURST)
        bucket.take(now)
        _store(self._wrong, client, bucket, most=CLIENTS)

    def was_valid(self, client: str, digest: bytes) -> None:
        _store(self._proven, (client, digest), None, most=PROVEN)

    def weigh(self) -> int:
        """Entries."""
        return OF_A_SECRET + len(self.owners) + len(self._wrong) + len(self._proven)


class ApiKeyCache:
    def __init__(self) -> None:
        self._secrets: dict[str, OrderedDict[str, SecretKeys]] = {}  # by namespace and name, the least recent first
        self._weights: Counter[str] = Counter()  # of namespaces
        self.weight = 0

    def of(self, secret: SecretRef) -> SecretKeys:
        in_namespace = self._secrets.setdefault(secret.namespace, OrderedDict())
        keys = in_namespace.setdefault(secret.name, SecretKeys())
        in_namespace.move_to_end(secret.name)
        self.weigh(secret, keys)
        return keys

    def weigh(self, secret: SecretRef, keys: SecretKeys) -> None:
        """To be called after more of it is known, or less."""
        in_namespace = self._secrets.get(secret.namespace)
        if in_namespace is None or in_namespace.get(secret.name) is not keys:
            return  # it was dropped meanwhile
        self._add(secret.namespace, keys.weigh() - keys.weight)
        keys.weight = keys.weigh()
        while self.weight > MOST:
            self._drop_one(max(self._weights, key=self._weights.__getitem__))

    def _drop_one(self, namespace: str) -> None:
        in_namespace = self._secrets[namespace]
        _, keys = in_namespace.popitem(last=False)
        self._add(namespace, -keys.weight)
        if not in_namespace:
            del self._secrets[namespace], self._weights[namespace]

    def _add(self, namespace: str, weight: int) -> None:
        self._weights[namespace] += weight
        self.weight += weight


def _store(stored: OrderedDict[K, V], key: K, value: V, *, most: int) -> None:
    """Drops the least recently used entry if there are too many."""
    stored[key] = value
    stored.move_to_end(key)
    if len(stored) > most:
        stored.popitem(last=False)
