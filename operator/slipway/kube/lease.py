"""Elects one leader by a Lease, and fences its writes: before each, `guard` says whether we are certainly the leader.

The leader gives up first: it writes nothing from `write_until` seconds after it started its last successful renewal. A
standby waits longest: it takes the Lease only after it has seen it unchanged for the full `duration`, counted from when
the standby itself saw it. Both count on their own clock, which also runs while the machine sleeps, and no time of day
is ever compared: a wrong or jumping time of day changes nothing. The times are in `lease_times`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from slipway.kube.call_retries import Patience
from slipway.kube.client import KubeClient
from slipway.kube.errors import ConflictError, KubeError, NotLeaderError
from slipway.kube.events import micro_time
from slipway.kube.lease_times import LeaseTimes
from slipway.kube.metrics import LeaderMetrics
from slipway.objects.kinds import LEASE, Object

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Timing:
    """In seconds. A crashed leader is replaced within `duration` and two rounds; one that stops, within one round."""

    duration: int = 10
    surely: float = 7.0
    every: float = 2.0

    def __post_init__(self) -> None:
        if not 2 * self.every <= self.surely < self.duration:
            raise ValueError(
                "a lease must be renewed at least twice before it is doubted, and doubted before it ends; "
                f"{self} does not fit"
            )


@dataclass(frozen=True)
class SeenLease:
    """The Lease as it was last read, and since when it has been unchanged."""

    lease: Object
    since: float

    @property
    def holder(self) -> str:
        return self.lease["spec"].get("holderIdentity") or ""

    @property
    def version(self) -> str:
        return str(self.lease["metadata"]["resourceVersion"])

    def is_free(self, now: float) -> bool:
        return not self.holder or now - self.since >= self.lease["spec"].get(
            "leaseDurationSeconds", LeaseTimes.duration
        )

    def read_again(self, lease: Object, now: float) -> SeenLease:
        return self if lease["metadata"]["resourceVersion"] == self.version else SeenLease(lease, now)


def boot_clock() -> float:
    """Seconds since the machine started, including those in which it slept."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class LeaderElection:
    """Lives as long as the process: `run` it in a task; `guard` is for the client with which the leader writes."""

    def __init__(
        self,
        client: KubeClient,
        metrics: LeaderMetrics,
        *,
        namespace: str,
        name: str,
        identity: str,
        times: LeaseTimes | None = None,
        on_change: Callable[[bool], None] = lambda leads: None,
        clock: Callable[[], float] = boot_clock,
    ) -> None:
        """`client` has no guard. `on_change` is called with True when we lead, with False when we no longer do."""
        self._times = times or LeaseTimes()
        one_round = self._times.renew_every
        self._client = client.with_(patience=Patience(deadline=one_round, per_try=one_round))
        self._namespace, self._name, self._identity = namespace, name, identity
        self._on_change, self._clock = on_change, clock
        self._seen: SeenLease | None = None
        self._write_until = float("-inf")
        self._leads = False  # as `on_change` was last called
        metrics.leader.set_function(lambda: self.is_leader)

    # --- for its users ----------------------------------------------------------------------------------------------

    @property
    def is_leader(self) -> bool:
        return self._clock() < self._write_until

    @property
    def term(self) -> object:
        """Stays equal while certainly no other replica has led."""
        return self._seen and [self._seen.lease["spec"].get(name) for name in ("acquireTime", "leaseTransitions")]

    def guard(self) -> float:
        """The seconds for which writing is certainly allowed; raises NotLeaderError when it isn't."""
        left = self._write_until - self._clock()
        if left <= 0:
            self._report()  # so that no further reconcile starts
            holder = self._seen.holder if self._seen else ""
            why = f"{holder} leads" if holder and holder != self._identity else "the Lease may no longer be ours"
            raise NotLeaderError(f"this replica may not write now: {why}")
        return left

    async def run(self) -> None:
        """Until it is cancelled; the Lease then stays ours until it expires or `release` is called."""
        while True:
            began = self._clock()
            try:
                await self._round(began)
            except KubeError as error:
                logger.warning("The Lease %s/%s can't be read or renewed: %s", self._namespace, self._name, error)
            self._report()
            await self._sleep_until(began + self._times.renew_every)

    async def release(self) -> None:
        """Lets a standby lead in its next round. Call it when no write is in flight any more.

        A slow API server must not keep the process from ending: then the Lease expires on its own.
        """
        self._write_until = float("-inf")
        self._report()
        try:
            async with asyncio.timeout(self._times.renew_every):
                await self._empty_holder()
        except (KubeError, TimeoutError) as error:
            logger.warning("The Lease could not be released and will expire: %s", str(error) or "no response in time")

    async def _empty_holder(self) -> None:
        await self._read()  # a renewal that was cancelled may have landed
        if self._seen and self._seen.holder == self._identity:
            await self._client.replace(LEASE, self._changed(self._seen, holder=""))

    # --- one round --------------------------------------------------------------------------------------------------

    async def _round(self, began: float) -> None:
        if self._seen is None or self._seen.holder != self._identity:
            await self._read()
        if self._seen is None:
            self._won(await self._client.create(LEASE, self._first_lease()), began)
        elif self._seen.holder == self._identity or self._seen.is_free(self._clock()):
            await self._hold(self._seen)

    async def _read(self) -> None:
        lease = await self._client.find(LEASE, self._name, self._namespace)
        now = self._clock()
        if lease:
            self._seen = self._seen.read_again(lease, now) if self._seen else SeenLease(lease, now)
        elif self._seen and (self._seen.holder == self._identity or self._seen.is_free(now)):
            self._seen = None
        # Else it was deleted, and its holder may not know yet: it counts as held until it would have expired.

    async def _hold(self, seen: SeenLease) -> None:
        began = self._clock()  # standbys count from when they see it, which is later
        try:
            lease = await self._client.replace(LEASE, self._changed(seen, holder=self._identity))
        except ConflictError:
            await self._read()  # a replica was faster, or a person edited it, or an earlier try has landed
            return
        except KubeError as error:
            if error.code == 404:
                self._seen = None  # deleted: created again in the next round
            raise
        self._won(lease, began)

    def _won(self, lease: Object, began: float) -> None:
        self._seen = SeenLease(lease, began)
        self._write_until = began + self._times.write_until

    def _report(self) -> None:
        leads = self.is_leader
        if leads != self._leads:
            self._leads = leads
            logger.info("%s %s", self._identity, "leads" if leads else "does not lead any more")
            self._on_change(leads)

    async def _sleep_until(self, at: float) -> None:
        """Wakes up in between when writing must stop, so that `on_change` is called in time."""
        if self._leads and self._write_until < at:
            await asyncio.sleep(max(0.0, self._write_until - self._clock()))
            self._report()
        await asyncio.sleep(max(0.0, at - self._clock()))

    # --- the object -------------------------------------------------------------------------------------------------

    def _first_lease(self) -> Object:
        metadata = {"name": self._name, "namespace": self._namespace}
        return {"apiVersion": LEASE.api_version, "kind": LEASE.name, "metadata": metadata, "spec": self._spec(0)}

    def _changed(self, seen: SeenLease, *, holder: str) -> Object:
        old = seen.lease["spec"]
        if holder == old.get("holderIdentity"):
            spec = {**old, "renewTime": micro_time(datetime.now(UTC))}
        elif holder:
            spec = self._spec(old.get("leaseTransitions", 0) + 1)
        else:
            spec = {**old, "holderIdentity": ""}
        return {**seen.lease, "spec": spec}

    def _spec(self, transitions: int) -> Object:
        now = micro_time(datetime.now(UTC))
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": self._times.duration,
            "acquireTime": now,
            "renewTime": now,
            "leaseTransitions": transitions,
        }
