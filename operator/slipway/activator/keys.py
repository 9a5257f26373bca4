"""API keys at zero: the Secret of a deployment, read when somebody shows a key, and kept as salted digests.

Slipway has no right on Secrets. Whoever may give it lets this activator read just the one (docs/access.md); where it
may not, nothing is known of the keys, and the guard in the pod checks them alone. A Secret is read again when what is
known of it is older than `FRESH`, and for a key that isn't known, older than `SURE`: so a new key counts within
seconds, an old one no longer, and while nobody asks, nothing is read.

An address that shows many keys that aren't valid is answered at a steady rate only. Keys that it has shown before and
that were valid are checked still: behind a gateway, others have the same address.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import math
import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeVar

from slipway.activator import access
from slipway.activator.rates import Bucket
from slipway.kube.client import KubeClient
from slipway.kube.errors import KubeError, NotFoundError, UnavailableError
from slipway.kube.kinds import SECRET
from slipway.kube.retries import Patience

FRESH, SURE = 10.0, 2.0
WRONG_PER_SECOND, WRONG_BURST = 0.5, 20  # keys that aren't valid, of one client
READS_PER_SECOND, READS_BURST = 20.0, 50  # of all Secrets together
REMEMBERED = 4096  # clients, and keys that one has shown
QUICK = Patience(deadline=2.0, per_try=1.5)

K = TypeVar("K")
V = TypeVar("V")


class Problem(Enum):
    LATER = "later"  # the API server hasn't answered yet, or is asked too much
    UNTOLD = "untold"  # the Secret may not be read
    MISSING = "missing"


@dataclass(frozen=True)
class Place:
    namespace: str
    name: str


@dataclass(frozen=True)
class Checked:
    owner: str | None = None  # whose key it is: the entry's name in the Secret
    problem: Problem | None = None
    wait: float = 0.0  # seconds for which the client is not told

    @property
    def is_wrong(self) -> bool:
        return self.owner is None and self.problem is None


@dataclass
class _Known:
    read_at: float = -math.inf
    owners: Mapping[bytes, str] = field(default_factory=dict)
    problem: Problem | None = Problem.LATER
    reading: asyncio.Task[None] | None = None


class Keys:
    """`clock` is the event loop's."""

    def __init__(self, client: KubeClient, *, clock: Callable[[], float]) -> None:
        self._client, self._clock = client.with_(patience=QUICK), clock
        self._salt = secrets.token_bytes(32)
        self._known: OrderedDict[Place, _Known] = OrderedDict()
        self._wrong: OrderedDict[str, Bucket] = OrderedDict()
        self._proven: OrderedDict[tuple[str, Place, bytes], None] = OrderedDict()
        self._reads = Bucket(READS_PER_SECOND, READS_BURST)

    async def check(self, place: Place, key: bytes, *, client: str) -> Checked:
        digest = self._digest(key)
        proven = client, place, digest
        if proven not in self._proven and (wait := self._wrong_of(client).wait(self._clock())):
            return Checked(wait=wait)
        known = await self._current(place, digest)
        if known.problem:
            return Checked(problem=known.problem)
        owner = known.owners.get(digest)
        if owner is None:
            self._proven.pop(proven, None)
            _newest(self._wrong, client, self._wrong_of(client)).take(self._clock())
        else:
            _newest(self._proven, proven, None)
        return Checked(owner=owner)

    def _wrong_of(self, client: str) -> Bucket:
        return self._wrong.get(client) or Bucket(WRONG_PER_SECOND, WRONG_BURST)

    async def _current(self, place: Place, digest: bytes) -> _Known:
        known = _newest(self._known, place, self._known.get(place) or _Known())
        limit = FRESH if digest in known.owners or known.problem is Problem.UNTOLD else SURE
        now = self._clock()
        if known.reading is None and now - known.read_at >= limit and self._reads.take(now):
            known.reading = asyncio.create_task(self._read(place, known))
        if known.reading:
            await asyncio.shield(known.reading)
        return known

    async def _read(self, place: Place, known: _Known) -> None:
        try:
            found = await self._client.get(SECRET, place.name, place.namespace)
            known.owners, known.problem = dict(self._digests(found)), None
        except NotFoundError:
            known.owners, known.problem = {}, Problem.MISSING
        except UnavailableError:
            pass  # what was known stays; nothing wakes either as long as the API server is away
        except KubeError:
            known.owners, known.problem = {}, Problem.UNTOLD
        finally:
            known.read_at, known.reading = self._clock(), None

    def _digests(self, secret: Mapping[str, Any]) -> Iterator[tuple[bytes, str]]:
        for owner, text in sorted((secret.get("data") or {}).items()):
            if not owner.startswith("."):  # as a file, it is a hidden one, which the guard leaves out
                yield from ((self._digest(key), owner) for key in access.keys_in(_decoded(text)))

    def _digest(self, key: bytes) -> bytes:
        return hashlib.blake2b(key, key=self._salt, digest_size=32).digest()

    async def close(self) -> None:
        tasks = [known.reading for known in self._known.values() if known.reading]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _newest(kept: OrderedDict[K, V], key: K, value: V) -> V:
    """Kept, and what has been kept longest without use goes."""
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > REMEMBERED:
        kept.popitem(last=False)
    return value
