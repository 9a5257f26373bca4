"""Keeps the Supply up to date: the nodes by the watch, everything else by polls. It is computed when something that it
depends on has changed, and not at each heartbeat of a node. With many nodes it takes so long that a thread computes it,
and the last one holds meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Any

from slipway.api.acceleratorprofile import AcceleratorProfile
from slipway.objects.kinds import Object
from slipway.operator.planning.engines import CPU
from slipway.operator.planning.stock import Cluster, NodeFacts, facts_of, supply_of
from slipway.operator.planning.supply import ProfileSupply, Supply
from slipway.operator.reconciling.supply_polling import Polled

logger = logging.getLogger(__name__)

PAUSE = 1.0  # seconds between two computations because of nodes that change
SHARE = 20  # of the time, at most one part in this many is spent on it
STEP = 256 << 20  # bytes of host memory
LARGE = 20_000  # nodes times profiles, which take some 10 ms: a thread computes more
MOST_OF_CPUS = 64  # nodes whose pods are listed once a minute, although they have no devices
SETTLES_WITHIN = 3.0  # seconds for which a reconcile waits


class SupplyCache:
    """`node`: the node as it is now, if it exists. `is_filled`: whether the caches have been filled; until then,
    nothing is known, since a node that wasn't listed yet would count as missing. `on_change` is called with whether
    more than the number of free devices has changed, after the Supply has changed in a way that may change a plan."""

    def __init__(
        self,
        *,
        node: Callable[[str], Object | None],
        profiles: Callable[[], Iterable[AcceleratorProfile]],
        on_change: Callable[[bool], None],
        is_filled: Callable[[], bool] = lambda: True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._node, self._profiles, self._on_change, self._clock = node, profiles, on_change, clock
        self._is_filled = is_filled
        self._nodes: dict[str, NodeFacts] = {}
        self._polled = Polled()
        self._supply, self._is_outdated = Supply(), True
        self._computed_at, self._took = float("-inf"), 0.0
        self._alarm: asyncio.TimerHandle | None = None
        self._counting: asyncio.Task[None] | None = None  # in a thread
        self._has_counted = asyncio.Event()
        self._resources: frozenset[str] = frozenset()
        self._claims = False
        self._cpus: Sequence[Mapping[str, str]] = ()

    # --- reading ----------------------------------------------------------------------------------------------------

    def supply(self) -> Supply:
        """As of the last change, or of a moment ago where changes or nodes are many."""
        if self._is_outdated and self._clock() - self._computed_at >= self._pause:
            self._compute()
        return self._supply

    async def settle(self) -> None:
        """Waits until everything that is known now is in the Supply, but not long: what is known then must do."""
        if not self._is_filled():
            return
        if self._is_outdated and self._clock() - self._computed_at >= SHARE * self._took:
            self._compute()
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLES_WITHIN):
                while self._is_outdated or self._counting:
                    self._has_counted.clear()
                    await self._has_counted.wait()

    def nodes_to_read(self) -> Collection[str]:
        """Those that offer a resource of a profile; and those of profiles of CPUs, if they are few: in a large cluster,
        these are nearly all."""
        self.supply()
        with_devices = {name for name, node in self._nodes.items() if not self._resources.isdisjoint(node.offered)}
        return with_devices | set(_few_of_cpus(self._nodes.values(), self._cpus) or ())

    @property
    def has_claims(self) -> bool:
        """Whether a profile has a DeviceClass."""
        self.supply()
        return self._claims

    # --- what changes it --------------------------------------------------------------------------------------------

    def node_changed(self, name: str) -> bool:
        """Whether that changes anything here: heartbeats don't."""
        there = self._node(name)
        facts = facts_of(there) if there else None
        if facts == self._nodes.get(name):
            return False
        if facts is None:
            del self._nodes[name]
        else:
            self._nodes[name] = facts
        self._changed()
        return True

    def profiles_changed(self) -> None:
        """What is to be read follows from the profiles, so it must not wait for the next computation."""
        self._note_what_matters(list(self._profiles()))
        self._changed()

    def polled(self, polled: Polled) -> None:
        before, self._polled = self._polled, polled
        if polled != before or self._counting:
            self._changed()
        elif not self._is_outdated:
            self._supply = replace(self._supply, read_at=_seconds(polled.read_at))

    def _changed(self) -> None:
        self._is_outdated = True
        if self._alarm is None:
            left = max(0.0, self._computed_at + self._pause - self._clock())
            self._alarm = asyncio.get_running_loop().call_later(left, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        if self._is_outdated:
            self._compute()

    @property
    def _pause(self) -> float:
        return max(PAUSE, SHARE * self._took)

    # --- computing --------------------------------------------------------------------------------------------------

    def _compute(self) -> None:
        if self._counting or not self._is_filled():
            return  # what changes meanwhile is computed after it
        profiles, cluster = list(self._profiles()), self._cluster()
        count = partial(_counted, profiles, cluster, _seconds(self._polled.read_at))
        self._is_outdated, began = False, self._clock()
        if len(profiles) * len(cluster.nodes) <= LARGE:
            self._has_computed(count(), began)
        else:
            self._counting = asyncio.create_task(self._in_thread(count, began))

    async def _in_thread(self, count: Callable[[], Supply | None], began: float) -> None:
        try:
            counted = await asyncio.to_thread(count)
        finally:
            self._counting = None
        self._has_computed(counted, began)
        if self._is_outdated:
            self._changed()

    def _has_computed(self, counted: Supply | None, began: float) -> None:
        """If it has failed, the last one stays: no LLMDeployment waits for it."""
        self._computed_at = self._clock()
        self._took = self._computed_at - began
        if counted:
            self._note_what_matters(list(self._profiles()))
        before, self._supply = self._supply, counted or self._supply
        self._has_counted.set()
        if change := _difference(before, self._supply):
            self._on_change(change == MORE)

    def _cluster(self) -> Cluster:
        return Cluster(
            nodes=list(self._nodes.values()),
            used=self._polled.used,
            pools=self._polled.pools,
            device_classes=self._polled.device_classes,
            remarks=self._polled.remarks,
        )

    def _note_what_matters(self, profiles: Collection[AcceleratorProfile]) -> None:
        specs = [each.spec for each in profiles]
        self._resources = frozenset(each.resource.name for each in specs if each.resource and each.vendor != CPU)
        self._claims = any(each.device_class for each in specs)
        self._cpus = _labels_of_cpus(profiles)


def _counted(profiles: list[AcceleratorProfile], cluster: Cluster, read_at: float | None) -> Supply | None:
    """None: it failed."""
    try:
        are_few = _few_of_cpus(cluster.nodes, _labels_of_cpus(profiles)) is not None
        return replace(supply_of(profiles, replace(cluster, counts_cpus=are_few)), read_at=read_at)
    except Exception:
        logger.exception("The nodes of the accelerator profiles can't be counted; please report this bug")
        return None


def _labels_of_cpus(profiles: Iterable[AcceleratorProfile]) -> list[Mapping[str, str]]:
    """A node with all labels of any one of these sets is one of a profile of CPUs."""
    return [labels for each in profiles if each.spec.vendor == CPU for labels in each.spec.label_sets or ({},)]


def _few_of_cpus(nodes: Iterable[NodeFacts], label_sets: Sequence[Mapping[str, str]]) -> list[str] | None:
    """The names of the nodes of profiles of CPUs; None: they are too many to be read."""
    found = (node.name for node in nodes if any(each.items() <= node.labels.items() for each in label_sets))
    few = list(islice(found, MOST_OF_CPUS + 1))
    return few if len(few) <= MOST_OF_CPUS else None


def _seconds(moment: datetime | None) -> float | None:
    return moment.timestamp() if moment else None


# --- what matters ----------------------------------------------------------------------------------------------------

FREE, MORE = "free", "more"


def _difference(before: Supply, after: Supply) -> str:
    """Empty: nothing that a plan depends on."""
    both = [(each.profiles or {}, each.regular, each.spot) for each in (before, after)]
    if any(_of_all(one, _lasting) != _of_all(other, _lasting) for one, other in zip(*both, strict=True)):
        return MORE
    if any(_of_all(one, _free) != _of_all(other, _free) for one, other in zip(*both, strict=True)):
        return FREE
    return ""


def _of_all(supplies: Mapping[str, ProfileSupply], of: Callable[[ProfileSupply], Any]) -> dict[str, Any]:
    return {name: of(each) for name, each in supplies.items()}


def _lasting(each: ProfileSupply) -> tuple[Any, ...]:
    """Not the numbers of nodes and devices: one more of many changes no plan. Nor a few bytes: nodes of one type report
    slightly different memory."""
    host = None if each.memory_of_node is None else each.memory_of_node // STEP
    sizes = (each.nodes > 0, each.most_on_a_node, each.memory, host)
    return (*sizes, each.can_grow, each.growth, each.drivers, each.tainted > 0)


def _free(each: ProfileSupply) -> tuple[Any, ...]:
    by_driver = tuple((one.driver, one.most_on_a_node, one.most_free_on_a_node) for one in each.on_drivers)
    return each.free is None, each.most_free_on_a_node, each.rooms, by_driver
