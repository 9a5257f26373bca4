"""API keys while no replica runs: the Secret of a model, read when a request has a key, and kept as salted digests.

Slipway has no right to read Secrets. A tenant may grant the activator the right to read just this one (docs/access.md);
without it, nothing is known of the keys, and only the guard in the pod checks them. A Secret is read again when what is
known of it is older than `FRESH`, and for an unknown key, older than `SURE`: so a new key counts within seconds, an old
one no longer, and without requests nothing is read. The reads of all Secrets are limited to a number per second,
round-robin over the namespaces; a large Secret isn't read, and digests are computed in steps.

An address that sends many invalid keys gets responses only at a steady rate. Keys that it has sent before and that were
valid are still checked: behind a gateway, other clients have the same address.
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
from slipway.kube.call_retries import Patience
from slipway.kube.client import KubeClient
from slipway.kube.errors import KubeError, NotFoundError, TooLargeError, UnavailableError
from slipway.objects.kinds import SECRET

FRESH, SURE = 10.0, 2.0
READS_PER_SECOND, READS_BURST, READS_AT_ONCE = 20.0, 50, 8  # of all Secrets together
WAIT = 4.0  # seconds for which a read waits for its turn
MOST_BYTES = 256 * 1024  # of a Secret, as the API server sends it
STEP = 256  # entries and lines that are read in one go: less than a millisecond
QUICK = Patience(deadline=2.0, per_try=1.5)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ApiKeyCheck:
    """The result of checking one key."""

    owner: str | None = None  # of a valid key: the entry's name in the Secret
    problem: SecretProblem | None = None
    wait: float = 0.0  # seconds for which keys of this client aren't checked

    @property
    def is_wrong(self) -> bool:
        return self.owner is None and self.problem is None


class ApiKeys:
    """`clock` is the event loop's."""

    def __init__(self, client: KubeClient, *, clock: Callable[[], float]) -> None:
        self._client, self._clock = client.with_(patience=QUICK), clock
        self._salt = secrets.token_bytes(32)
        self._cache = ApiKeyCache()
        self._limiter = QueryLimiter(READS_PER_SECOND, READS_BURST, at_once=READS_AT_ONCE, clock=clock)
        self._reading: set[asyncio.Task[bool]] = set()

    async def check(self, secret: SecretRef, key: bytes, *, client: str) -> ApiKeyCheck:
        digest, keys = self._digest(key), self._cache.of(secret)
        if wait := keys.wait(client, digest, self._clock()):
            return ApiKeyCheck(wait=wait)
        is_current = await self._refresh(secret, keys, digest)
        if keys.problem:
            return ApiKeyCheck(problem=keys.problem)
        now, owner = self._clock(), keys.owners.get(digest)
        if wait := keys.wait(client, digest, now):  # other keys of the same client were wrong meanwhile
            return ApiKeyCheck(wait=wait)
        if owner is not None:
            keys.was_valid(client, digest)
        elif is_current:
            keys.was_wrong(client, digest, now)
        else:
            return ApiKeyCheck(problem=SecretProblem.LATER)
        self._cache.weigh(secret, keys)
        return ApiKeyCheck(owner=owner)

    async def _refresh(self, secret: SecretRef, keys: SecretKeys, digest: bytes) -> bool:
        """Returns whether the keys are recent, or as recent as the API server allows."""
        is_settled = digest in keys.owners or keys.problem not in (None, SecretProblem.LATER)
        if keys.reading is None and self._clock() - keys.read_at < (FRESH if is_settled else SURE):
            return True
        if keys.reading is None:
            keys.reading = asyncio.create_task(self._read(secret, keys))
            self._reading.add(keys.reading)
            keys.reading.add_done_callback(self._reading.discard)
        return await asyncio.shield(keys.reading)

    async def _read(self, secret: SecretRef, keys: SecretKeys) -> bool:
        """Returns whether it had its turn. While the API server is away, the keys stay as they are; nothing wakes then
        either."""
        try:
            async with self._limiter.turn(secret.namespace, until=self._clock() + WAIT):
                found = await self._client.get(SECRET, secret.name, secret.namespace, at_most=MOST_BYTES)
                owners, has_more = await in_steps(self._owners(found))
            if has_more and not keys.has_more:
                logger.warning(
                    "Secret %s in namespace %s has too many API keys: only the first %d count",
                    secret.name,
                    secret.namespace,
                    MOST_KEYS,
                )
            keys.owners, keys.has_more, keys.problem = owners, has_more, None
        except QueryLimitError:
            return False
        except NotFoundError:
            keys.owners, keys.problem = {}, SecretProblem.MISSING
        except TooLargeError:
            keys.owners, keys.problem = {}, SecretProblem.TOO_LARGE
        except UnavailableError:
            pass
        except KubeError:
            keys.owners, keys.problem = {}, SecretProblem.UNREADABLE
        finally:
            keys.reading = None
        keys.read_at = self._clock()
        self._cache.weigh(secret, keys)
        return True

    def _owners(self, secret: Mapping[str, Any]) -> Generator[None, None, tuple[dict[bytes, str], bool]]:
        """By the digests of their keys; and whether there are more keys than count."""
        owners: dict[bytes, str] = {}
        number_of_keys = 0
        for number, (owner, line) in enumerate(_lines(secret.get("data") or {}), start=1):
            if number % STEP == 0:
                yield
            if forms := api_key_format.forms_of(line):
                if number_of_keys == MOST_KEYS:
                    return owners, True
                number_of_keys += 1
                owners.update((self._digest(form), owner) for form in forms)
        return owners, False

    def _digest(self, key: bytes) -> bytes:
        return hashlib.blake2b(key, key=self._salt, digest_size=32).digest()

    async def close(self) -> None:
        for task in self._reading:
            task.cancel()
        await asyncio.gather(*self._reading, return_exceptions=True)


def _lines(data: Mapping[str, str]) -> Iterator[tuple[str, bytes]]:
    """Each with its entry's name; and an empty one for the entry itself, because decoding it takes time, too."""
    for owner in sorted(data):
        if not owner.startswith("."):  # as a file, it is hidden, and the guard skips it
            yield owner, b""
            yield from ((owner, line) for line in api_key_format.lines_in(_decoded(data[owner])))


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
