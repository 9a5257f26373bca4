"""API keys at zero: the Secret of a deployment, read when somebody shows a key, and kept as salted digests.

Slipway has no right on Secrets. Whoever may give it lets this activator read just the one (docs/access.md); where it
may not, nothing is known of the keys, and the guard in the pod checks them alone. A Secret is read again when what is
known of it is older than `FRESH`, and for a key that isn't known, older than `SURE`: so a new key counts within
seconds, an old one no longer, and while nobody asks, nothing is read. Reads of all Secrets are so many a second, in
turns from namespace to namespace; none is read that is large, and digests are made in steps.

An address that shows many keys that aren't valid is answered at a steady rate only. Keys that it has shown before and
that were valid are checked still: behind a gateway, others have the same address.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import logging
import secrets
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from slipway.activator.http1.loop_budget import in_steps
from slipway.activator.proxy.access import api_key_format
from slipway.activator.proxy.access.api_key_cache import ApiKeyCache, SecretKeys, SecretProblem, SecretRef
from slipway.activator.proxy.access.api_key_format import MOST_KEYS
from slipway.activator.proxy.access.query_limiter import QueryLimiter, QueryLimitError
from slipway.kube.client import KubeClient
from slipway.kube.errors import KubeError, NotFoundError, TooLargeError, UnavailableError
from slipway.kube.kinds import SECRET
from slipway.kube.retries import Patience

FRESH, SURE = 10.0, 2.0
READS_PER_SECOND, READS_BURST, READS_AT_ONCE = 20.0, 50, 8  # of all Secrets together
WAIT = 4.0  # seconds for which a read waits for its turn
MOST_BYTES = 256 * 1024  # of a Secret with all that the API server tells of it
STEP = 256  # entries and lines that are read in one go: less than a millisecond
QUICK = Patience(deadline=2.0, per_try=1.5)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ApiKeyCheck:
    owner: str | None = None  # whose key it is: the entry's name in the Secret
    problem: SecretProblem | None = None
    wait: float = 0.0  # seconds for which the client is not told

    @property
    def is_wrong(self) -> bool:
        return self.owner is None and self.problem is None


class ApiKeys:
    """`clock` is the event loop's."""

    def __init__(self, client: KubeClient, *, clock: Callable[[], float]) -> None:
        self._client, self._clock = client.with_(patience=QUICK), clock
        self._salt = secrets.token_bytes(32)
        self._ring = ApiKeyCache()
        self._turns = QueryLimiter(READS_PER_SECOND, READS_BURST, at_once=READS_AT_ONCE, clock=clock)
        self._reading: set[asyncio.Task[bool]] = set()

    async def check(self, place: SecretRef, key: bytes, *, client: str) -> ApiKeyCheck:
        digest, known = self._digest(key), self._ring.of(place)
        if wait := known.wait(client, digest, self._clock()):
            return ApiKeyCheck(wait=wait)
        is_current = await self._renew(place, known, digest)
        if known.problem:
            return ApiKeyCheck(problem=known.problem)
        now, owner = self._clock(), known.owners.get(digest)
        if wait := known.wait(client, digest, now):  # others of the same client were wrong meanwhile
            return ApiKeyCheck(wait=wait)
        if owner is not None:
            known.was_valid(client, digest)
        elif is_current:
            known.was_wrong(client, digest, now)
        else:
            return ApiKeyCheck(problem=SecretProblem.LATER)
        self._ring.weigh(place, known)
        return ApiKeyCheck(owner=owner)

    async def _renew(self, place: SecretRef, known: SecretKeys, digest: bytes) -> bool:
        """Whether it is known as of late, or as well as the API server tells it."""
        is_settled = digest in known.owners or known.problem not in (None, SecretProblem.LATER)
        if known.reading is None and self._clock() - known.read_at < (FRESH if is_settled else SURE):
            return True
        if known.reading is None:
            known.reading = asyncio.create_task(self._read(place, known))
            self._reading.add(known.reading)
            known.reading.add_done_callback(self._reading.discard)
        return await asyncio.shield(known.reading)

    async def _read(self, place: SecretRef, known: SecretKeys) -> bool:
        """Whether it had its turn. What was known stays while the API server is away; nothing wakes then either."""
        try:
            async with self._turns.turn(place.namespace, until=self._clock() + WAIT):
                found = await self._client.get(SECRET, place.name, place.namespace, at_most=MOST_BYTES)
                owners, has_more = await in_steps(self._owners(found))
            if has_more and not known.has_more:
                logger.warning(
                    "Of the Secret %s of %s, the first %d keys count.", place.name, place.namespace, MOST_KEYS
                )
            known.owners, known.has_more, known.problem = owners, has_more, None
        except QueryLimitError:
            return False
        except NotFoundError:
            known.owners, known.problem = {}, SecretProblem.MISSING
        except TooLargeError:
            known.owners, known.problem = {}, SecretProblem.TOO_LARGE
        except UnavailableError:
            pass
        except KubeError:
            known.owners, known.problem = {}, SecretProblem.UNTOLD
        finally:
            known.reading = None
        known.read_at = self._clock()
        self._ring.weigh(place, known)
        return True

    def _owners(self, secret: Mapping[str, Any]) -> Generator[None, None, tuple[dict[bytes, str], bool]]:
        """By the digests of their keys; and whether there are more keys than count."""
        owners: dict[bytes, str] = {}
        keys = 0
        for number, (owner, line) in enumerate(_lines(secret.get("data") or {}), start=1):
            if number % STEP == 0:
                yield
            if forms := api_key_format.forms_of(line):
                if keys == MOST_KEYS:
                    return owners, True
                keys += 1
                owners.update((self._digest(form), owner) for form in forms)
        return owners, False

    def _digest(self, key: bytes) -> bytes:
        return hashlib.blake2b(key, key=self._salt, digest_size=32).digest()

    async def close(self) -> None:
        for task in self._reading:
            task.cancel()
        await asyncio.gather(*self._reading, return_exceptions=True)


def _lines(data: Mapping[str, str]) -> Iterator[tuple[str, bytes]]:
    """With the entry's name; and an empty one for the entry itself, since looking at it takes time, too."""
    for owner in sorted(data):
        if not owner.startswith("."):  # as a file, it is a hidden one, which the guard leaves out
            yield owner, b""
            yield from ((owner, line) for line in api_key_format.lines_in(_decoded(data[owner])))


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
