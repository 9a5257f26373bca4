"""Writes the status of AcceleratorProfiles: on the leader, if it says something new, and not more often than each ten
seconds."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable

from slipway.api.acceleratorprofile import AcceleratorProfile
from slipway.kube.client import KubeClient
from slipway.kube.errors import KubeError, NotLeaderError
from slipway.kube.store import Store
from slipway.objects.kinds import ACCELERATOR_PROFILE, Object
from slipway.operator.planning.stock import status_of
from slipway.operator.planning.supply import Supply

logger = logging.getLogger(__name__)

CHECK_EVERY = 10.0  # seconds, in the cache
FIRST_AFTER = 1.0
TRY_AGAIN_AFTER = 60.0


class ProfileStatuses:
    """`supply` and `profiles`: as the caches show them."""

    def __init__(
        self,
        client: KubeClient,
        store: Store,
        *,
        supply: Callable[[], Supply],
        profiles: Callable[[], Iterable[AcceleratorProfile]],
        is_ready: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client, self._store, self._supply, self._profiles = client, store, supply, profiles
        self._is_ready, self._clock = is_ready, clock
        self._not_before: dict[str, float] = {}  # by profile: when a failed write is tried again

    async def run(self) -> None:
        wait = FIRST_AFTER
        while True:
            await asyncio.sleep(wait)
            try:
                wait = CHECK_EVERY if await self.write() else FIRST_AFTER
            except NotLeaderError as error:
                logger.warning("The status of AcceleratorProfiles is not written: %s", error)
                wait = TRY_AGAIN_AFTER

    async def write(self) -> bool:
        """Writes those that differ. False: it is too early, or another replica leads."""
        if not self._is_ready():
            return False
        supply = self._supply()
        profiles = list(self._profiles())
        for profile in profiles:
            if self._clock() >= self._not_before.get(profile.metadata.name, float("-inf")):
                await self._try_to_write(profile, supply)
        names = {each.metadata.name for each in profiles}
        self._not_before = {name: at for name, at in self._not_before.items() if name in names}
        return True

    async def _try_to_write(self, profile: AcceleratorProfile, supply: Supply) -> None:
        """A profile that was deleted meanwhile, or whose status is refused, doesn't keep the others waiting."""
        name = profile.metadata.name
        try:
            await self._write(profile, supply)
        except KubeError as error:
            logger.warning("The status of AcceleratorProfile %s could not be written: %s", name, error)
        except NotLeaderError:
            raise
        except Exception:
            logger.exception("The status of AcceleratorProfile %s could not be written; please report this bug", name)
        else:
            self._not_before.pop(name, None)
            return
        self._not_before[name] = self._clock() + TRY_AGAIN_AFTER

    async def _write(self, profile: AcceleratorProfile, supply: Supply) -> None:
        there = self._store.get(ACCELERATOR_PROFILE, profile.metadata.name)
        found = supply.of(profile.metadata.name)
        if there is None or found is None:
            return
        generation = int(there["metadata"].get("generation") or 0)
        status = status_of(profile.spec, found, generation=generation)
        if (there.get("status") or {}) != status:
            await self._client.apply_status(ACCELERATOR_PROFILE, _manifest(profile.metadata.name, status))


def _manifest(name: str, status: Object) -> Object:
    return {
        "apiVersion": ACCELERATOR_PROFILE.api_version,
        "kind": ACCELERATOR_PROFILE.name,
        "metadata": {"name": name},
        "status": status,
    }
