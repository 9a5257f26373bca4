"""Elects one leader by a Lease, and says for each write whether we are surely it.

Who leads doubts first: from `surely` seconds after it began its last renewal that succeeded, nothing is written. Who
stands by waits longest: it takes the Lease only after it has seen it unchanged for the whole `duration`, counted from
when it saw that itself. Both count on their own clock, which also runs while the machine sleeps, and no time of day is
ever compared: wrong or jumping clocks of the day change nothing.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from slipway.kube.client import KubeClient
from slipway.kube.errors import ConflictError, KubeError, NotLeaderError
from slipway.kube.events import micro_time
from slipway.kube.metrics import Metrics
from slipway.kube.retries import Patience
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
class Seen:
    """The Lease as it was last seen, and since when it has been so."""

    lease: Object
    since: float

    @property
    def holder(self) -> str:
        return self.lease["spec"].get("holderIdentity") or ""

    @property
    def version(self) -> str:
        return str(self.lease["metadata"]["resourceVersion"])

    def is_free(self, now: float) -> bool:
        return not self.holder or now - self.since >= self.lease["spec"].get("leaseDurationSeconds", Timing.duration)

    def again(self, lease: Object, now: float) -> Seen:
        """The same Lease, seen anew."""
        return self if lease["metadata"]["resourceVersion"] == self.version else Seen(lease, now)


def boot_clock() -> float:
    """Seconds since the machine started, with those that it slept."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def own_identity() -> str:
    """Another one for each process, so that a container that starts again does not take itself for its forerunner."""
    return f"{socket.gethostname()}_{secrets.token_hex(4)}"


class LeaderElection:
    """`run` it in a task of its own; `guard` goes into the client with which the leader writes."""

    def __init__(
        self,
        client: KubeClient,
        metrics: Metrics,
        *,
        namespace: str,
        name: str,
        identity: str,
        timing: Timing | None = None,
        on_change: Callable[[bool], None] = lambda leads: None,
        clock: Callable[[], float] = boot_clock,
    ) -> None:
        """`client` has no guard. `on_change` is told True when we lead, False when we don't any more."""
        self._timing = timing or Timing()
        self._client = client.with_(patience=Patience(deadline=self._timing.every, per_try=self._timing.every))
        self._metrics, self._namespace, self._name, self._identity = metrics, namespace, name, identity
        self._on_change, self._clock = on_change, clock
        self._seen: Seen | None = None
        self._surely_until = float("-inf")
        self._leads = False  # as `on_change` was told last

    # --- what others ask of it --------------------------------------------------------------------------------------

    @property
    def is_leader(self) -> bool:
        return self._clock() < self._surely_until

    @property
    def term(self) -> object:
        """The same for as long as surely nobody else has led."""
        return self._seen and [self._seen.lease["spec"].get(name) for name in ("acquireTime", "leaseTransitions")]

    def guard(self) -> float:
        """The seconds for which writing is surely allowed; raises NotLeaderError when it isn't."""
        left = self._surely_until - self._clock()
        if left <= 0:
            self._tell()  # so that nobody else tries
            holder = self._seen.holder if self._seen else ""
            led = f"{holder} was seen to lead" if holder and holder != self._identity else "the lease isn't surely ours"
            raise NotLeaderError(f"this replica may not write now: {led}")
        return left

    async def run(self) -> None:
        """Until it is cancelled; the Lease is kept until it ends or `release` gives it back."""
        while True:
            began = self._clock()
            try:
                await self._round(began)
            except KubeError as error:
                logger.warning("The lease %s/%s is neither read nor renewed: %s", self._namespace, self._name, error)
            self._tell()
            await self._sleep_until(began + self._timing.every)

    async def release(self) -> None:
        """Lets a standby lead at its next look. To be called when nothing is in flight any more.

        An API server that is slow may not keep the process from ending: then the Lease runs out by itself.
        """
        self._surely_until = float("-inf")
        self._tell()
        try:
            async with asyncio.timeout(self._timing.every):
                await self._give_back()
        except (KubeError, TimeoutError) as error:
            logger.warning("The lease could not be given back and will run out: %s", str(error) or "no answer in time")

    async def _give_back(self) -> None:
        await self._look()  # a renewal that was cancelled may have landed
        if self._seen and self._seen.holder == self._identity:
            await self._client.replace(self._changed(self._seen, holder=""))

    # --- one round --------------------------------------------------------------------------------------------------

    async def _round(self, began: float) -> None:
        if self._seen is None or self._seen.holder != self._identity:
            await self._look()
        if self._seen is None:
            self._won(await self._client.create(self._first_lease()), began)
        elif self._seen.holder == self._identity or self._seen.is_free(self._clock()):
            await self._hold(self._seen)

    async def _look(self) -> None:
        lease = await self._client.find(LEASE, self._name, self._namespace)
        now = self._clock()
        if lease:
            self._seen = self._seen.again(lease, now) if self._seen else Seen(lease, now)
        elif self._seen and (self._seen.holder == self._identity or self._seen.is_free(now)):
            self._seen = None
        # Else it was deleted, and its holder may not know yet: it counts as held until it would have ended.

    async def _hold(self, seen: Seen) -> None:
        began = self._clock()  # the others count from when they see it, which is later
        try:
            lease = await self._client.replace(self._changed(seen, holder=self._identity))
        except ConflictError:
            await self._look()  # someone was faster, or somebody edited it, or an earlier try has landed
            return
        except KubeError as error:
            if error.code == 404:
                self._seen = None  # deleted: made anew in the next round
            raise
        self._won(lease, began)

    def _won(self, lease: Object, began: float) -> None:
        self._seen = Seen(lease, began)
        self._surely_until = began + self._timing.surely

    def _tell(self) -> None:
        leads = self.is_leader
        self._metrics.leader.set(leads)
        if leads != self._leads:
            self._leads = leads
            logger.info("%s %s", self._identity, "leads" if leads else "does not lead any more")
            self._on_change(leads)

    async def _sleep_until(self, at: float) -> None:
        """Wakes up in between when the lease becomes doubtful, so that `on_change` is told of it in time."""
        if self._leads and self._surely_until < at:
            await asyncio.sleep(max(0.0, self._surely_until - self._clock()))
            self._tell()
        await asyncio.sleep(max(0.0, at - self._clock()))

    # --- the object -------------------------------------------------------------------------------------------------

    def _first_lease(self) -> Object:
        metadata = {"name": self._name, "namespace": self._namespace}
        return {"apiVersion": LEASE.api_version, "kind": LEASE.name, "metadata": metadata, "spec": self._spec(0)}

    def _changed(self, seen: Seen, *, holder: str) -> Object:
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
            "leaseDurationSeconds": self._timing.duration,
            "acquireTime": now,
            "renewTime": now,
            "leaseTransitions": transitions,
        }
