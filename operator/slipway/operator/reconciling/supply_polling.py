"""Reads what the Supply needs besides nodes: the pods on nodes with devices, NodePools, and what drivers offer.

It is read once a minute, on the leader, and sooner when something has changed. Pods are listed node by node, of nodes
with devices, and in small clusters also of nodes for models on CPUs: a watch of all pods would deliver, and cost, each
change of each pod of the cluster, of which few have a device (ADR 0029). What we have no right to read stays unknown,
and the status of the profiles says so.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from slipway.kube.client import KubeClient
from slipway.kube.errors import KindMissingError, KubeError, TooLargeError
from slipway.objects.kinds import DEVICE_CLASS, NODE_POOL, POD, RESOURCE_CLAIM, RESOURCE_SLICE, Kind, Object
from slipway.operator.planning.stock import DeviceClasses, NodePool, device_classes, pool_of, used_by

logger = logging.getLogger(__name__)

EVERY = 60.0  # seconds
SOON = 0.3  # seconds, in which further changes are waited for
REVIEW_EVERY = 600.0  # seconds: no watch reports a change of our rights, or of the kinds that exist
NODES_AT_A_TIME = 4
MOST_OF_A_NODE = 8 << 20  # bytes of the pods of one node
MOST_OF_A_LIST = 32 << 20  # bytes
NOT_ENDED = "status.phase!=Failed,status.phase!=Succeeded"  # these hold no devices, and there may be thousands
FRESH_WITHIN = 3.0  # seconds for which a reconcile waits
FRESH_FOR = 2.0  # seconds, or ten times as long as it takes

NO_PODS = (
    "Which devices are free is unknown, because Slipway may not list the pods of all namespaces "
    "(accelerators.supply.pods in the values of its chart)."
)
NO_RIGHT = "Slipway may not list {} (accelerators.supply.{} in the values of its chart)."


@dataclass(frozen=True)
class Polled:
    """What the last polls have found."""

    used: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # by node
    pools: tuple[NodePool, ...] = ()
    device_classes: DeviceClasses | None = None
    remarks: tuple[str, ...] = ()
    read_at: datetime | None = field(default=None, compare=False)  # when the reading of all nodes began


def utc_now() -> datetime:
    return datetime.now(UTC)


class SupplyPolling:
    """`nodes`: the nodes whose pods are read. `wants_classes`: whether any profile has a DeviceClass. `on_polled`
    is called after each poll."""

    def __init__(
        self,
        client: KubeClient,
        *,
        nodes: Callable[[], Collection[str]],
        wants_classes: Callable[[], bool],
        leads: Callable[[], bool],
        on_polled: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._client, self._nodes, self._wants_classes = client, nodes, wants_classes
        self._leads, self._on_polled, self._clock, self._now = leads, on_polled, clock, now
        self.polled = Polled()
        self._rights: dict[Kind, tuple[float, bool]] = {}
        self._used: dict[str, Mapping[str, int]] = {}
        self._touched: set[str] = set()
        self._wake, self._done = asyncio.Event(), asyncio.Event()
        self._all_at, self._took = float("-inf"), 0.0  # when all was read last, and how long that took
        self._wants_all = True  # from the next poll
        self.has_polled = False  # since another replica led
        self._alarm: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        while True:
            if self._leads():
                await self.poll()
            with_timeout = asyncio.create_task(self._wake.wait())
            await asyncio.wait([with_timeout], timeout=EVERY)
            with_timeout.cancel()
            if self._wake.is_set():
                await asyncio.sleep(SOON)
                self._wake.clear()

    def touch(self, nodes: Iterable[str]) -> None:
        """The pods of these nodes have changed. A replica that doesn't lead polls nothing, so it notes only that all
        is to be read once it does."""
        if not self._leads():
            self._all_at = float("-inf")
            return
        self._touched |= set(nodes)
        self._wake.set()

    def start_over(self) -> None:
        """Another replica has led meanwhile, so all is read again, soon."""
        self.has_polled = False
        self.read_all_soon()

    def read_all_soon(self) -> None:
        self._wants_all = True
        self._wake.set()

    @property
    def is_fresh(self) -> bool:
        return not self._wants_all and self._clock() < self._fresh_until

    @property
    def _fresh_until(self) -> float:
        return self._all_at + max(FRESH_FOR, 10 * self._took)

    def outdated(self) -> None:
        """A pod has found no place where one was free: all is read again, as soon as the last reading is old."""
        if self._alarm is None:
            left = max(0.0, self._fresh_until - self._clock())
            self._alarm = asyncio.get_running_loop().call_later(left, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        self.read_all_soon()

    async def freshen(self) -> None:
        """Waits for a poll, if the last one is old, but not long: what is known then must do."""
        if self.is_fresh:
            return
        self._done.clear()
        self.read_all_soon()
        try:
            async with asyncio.timeout(FRESH_WITHIN):
                await self._done.wait()
        except TimeoutError:
            logger.info("What is free on the nodes could not be read within %.0f seconds", FRESH_WITHIN)

    # --- one poll ---------------------------------------------------------------------------------------------------

    async def poll(self) -> None:
        """What is requested meanwhile is left to the next one, which reads again what this one fails to read."""
        began = self._clock()
        touched, self._touched = self._touched, set()
        everything = self._wants_all or began - self._all_at >= EVERY
        self._wants_all = False
        try:
            await self._poll(touched, everything)
        except Exception:
            logger.exception("Reading what is free on the nodes failed; please report this bug")
            self._touched |= touched
            self._wants_all |= everything
        else:
            if everything:
                self._has_read_all(began)
        self._on_polled()

    def _has_read_all(self, began: float) -> None:
        self._all_at, self._took = began, self._clock() - began
        if not self._wants_all:
            self.has_polled = True
            self._done.set()

    async def _poll(self, touched: set[str], everything: bool) -> None:
        began = self._now()
        nodes = set(self._nodes())
        for gone in self._used.keys() - nodes:
            del self._used[gone]
        sees_pods = await self._may(POD)
        if sees_pods:
            await self._read_pods(nodes if everything else (touched & nodes) | (nodes - self._used.keys()))
        else:
            self._used.clear()
        if not everything:
            self.polled = replace(self.polled, used=dict(self._used))
            return
        remarks = [] if sees_pods else [NO_PODS]
        pools = await self._read(NODE_POOL, "nodePools", remarks)
        classes = await self._read_classes(remarks) if self._wants_classes() else None
        self.polled = Polled(dict(self._used), tuple(map(pool_of, pools or ())), classes, tuple(remarks), began)

    async def _read_pods(self, nodes: Collection[str]) -> None:
        limit = asyncio.Semaphore(NODES_AT_A_TIME)

        async def read(node: str) -> None:
            async with limit:
                await self._read_pods_on(node)

        await asyncio.gather(*map(read, sorted(nodes)))

    async def _read_pods_on(self, node: str) -> None:
        """If that fails, what was known of the node stays; if it can't succeed, the node counts as full."""
        try:
            pods = await self._client.list(
                POD, field_selector=f"spec.nodeName={node},{NOT_ENDED}", at_most=MOST_OF_A_NODE, keep=_of_pod
            )
        except TooLargeError:
            logger.info("The pods on node %s are too large to be read, so none of its devices counts as free", node)
            self._used.pop(node, None)
        except KubeError as error:
            logger.info("The pods on node %s can't be listed: %s", node, error)
        else:
            self._used[node] = used_by(pods)

    async def _read_classes(self, remarks: list[str]) -> DeviceClasses | None:
        classes = await self._read(DEVICE_CLASS, "dynamicResources", remarks)
        slices = await self._read(RESOURCE_SLICE, "dynamicResources", remarks) if classes is not None else None
        if classes is None or slices is None:
            return None
        return device_classes(classes, slices, await self._read(RESOURCE_CLAIM, "dynamicResources", remarks))

    async def _read(self, kind: Kind, value: str, remarks: list[str]) -> list[Object] | None:
        """None: the cluster doesn't have the kind, or it can't be listed, which `remarks` says."""
        try:
            if await self._may(kind):
                return list(await self._client.list(kind, at_most=MOST_OF_A_LIST, keep=_without_metadata))
            if await self._is_served(kind):
                remarks.append(NO_RIGHT.format(kind.plural, value))
        except KindMissingError:
            self._rights[kind] = self._clock(), False
        except KubeError as error:
            remarks.append(f"{kind.plural} could not be listed: {error}.")
        return None

    async def _is_served(self, kind: Kind) -> bool:
        return await self._client.serves(kind)

    async def _may(self, kind: Kind) -> bool:
        """By a review, since refused requests would alarm readers of the audit log."""
        asked_at, allowed = self._rights.get(kind, (float("-inf"), False))
        if self._clock() - asked_at < REVIEW_EVERY:
            return allowed
        try:
            allowed = await self._client.may_list(kind)
        except KubeError as error:
            logger.info("Could not find out whether %s may be listed: %s", kind.plural, error)
            return allowed
        self._rights[kind] = self._clock(), allowed
        return allowed


KEPT_OF_CONTAINERS = ("resources", "restartPolicy")


def _of_pod(pod: Object) -> Object:
    spec = pod.get("spec") or {}
    kept = {
        which: [{name: each[name] for name in KEPT_OF_CONTAINERS if name in each} for each in spec.get(which) or []]
        for which in ("initContainers", "containers")
    }
    return {
        "spec": {**kept, "overhead": spec.get("overhead")},
        "status": {"phase": (pod.get("status") or {}).get("phase")},
    }


def _without_metadata(found: Object) -> Object:
    kept: Object = {name: found[name] for name in ("spec", "status") if name in found}
    return {**kept, "metadata": {"name": found["metadata"]["name"]}}
