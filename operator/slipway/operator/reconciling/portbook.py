"""Stores the table of the activators' ports: assigns ports, and uses none before it is written.

Each ConfigMap is written as one, with the version that was read: a write by outdated knowledge is refused, whether by a
former leader or by this one. One write of a ConfigMap is in flight at a time; the next waits a moment and includes all
assignments made meanwhile, so that a thousand LLMDeployments cost far fewer writes.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence

from slipway.api.model_key import ModelKey
from slipway.api.names import KIND, MANAGED_BY, MANAGED_BY_LABEL, OWNER_LABEL, PORT_TABLE_LABEL, activator_slice_name
from slipway.kube.client import KubeClient
from slipway.kube.errors import ConflictError, NotFoundError
from slipway.kube.store import Store, place_of
from slipway.kube.work_queue import RetryLaterError
from slipway.objects.kinds import CONFIG_MAP, ENDPOINT_SLICE, LLM_DEPLOYMENT, Object
from slipway.objects.metadata import labels_of, resource_version_of, uid_of
from slipway.observing.porttable import (
    ActivatorPort,
    Claim,
    PortTable,
    claims_in,
    lines,
    map_name,
    map_of,
    ports_in,
)
from slipway.operator.reconciling.port_allocation import ExhaustedError, PortAllocation

logger = logging.getLogger(__name__)

PAUSE = 0.5  # seconds between two writes of one ConfigMap; a single write doesn't wait
CHANGE_IS_TOLD = 0.2  # seconds within which the watch should report a write of another process

LookAgain = Callable[[ModelKey, float], None]


class PortBook:
    """`activators`: their Services, in the order in which they are filled. `clock` is monotonic.

    `look_again` is called with an LLMDeployment that waits for a port, and the seconds after which one may
    be free.
    """

    def __init__(
        self,
        client: KubeClient,
        store: Store,
        *,
        namespace: str,
        activators: Sequence[str],
        per_namespace: int,
        look_again: LookAgain,
        clock: Callable[[], float] = time.monotonic,
        pause: float = PAUSE,
    ) -> None:
        self._client, self._store, self._namespace, self._clock = client, store, namespace, clock
        self._pause = pause
        self._activators, self._per_namespace, self._look_again = tuple(activators), per_namespace, look_again
        self._tables = {each: PortTable(each) for each in activators}
        self._written: dict[str, Object] = {}  # the ConfigMaps as last read or written, by name
        self._writing: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._may_write_at: dict[str, float] = {}  # by the event loop's clock
        self._unheard: set[str] = set()  # the ones that we have written and no watch has reported yet
        self._waiting: dict[
            ModelKey, float
        ] = {}  # with the seconds after which a port that is given up can be assigned
        self.start_over()

    def start_over(self) -> None:
        """Another leader may have assigned ports meanwhile."""
        self._allocation = PortAllocation(self._activators, per_namespace=self._per_namespace)
        self._is_current = False
        self._waiting.clear()

    # --- what is written ---------------------------------------------------------------------------------------------

    def port_of(self, claim: Claim) -> ActivatorPort | None:
        """The port at which its requests arrive. None: it has none yet, or the table must be corrected first."""
        written = self._places_in_tables(claim)
        return written[0] if len(written) == 1 else None

    def _places_in_tables(self, claim: Claim) -> list[ActivatorPort]:
        return [ActivatorPort(each, port) for each, table in self._tables.items() for port in table.ports_of(claim)]

    def concerns(self, config_map: Object) -> Iterable[ModelKey]:
        """The LLMDeployments that a change of a ConfigMap concerns. A deletion looks like any other change, so the
        store shows whether it still exists."""
        namespace, name = place_of(config_map)
        if namespace != self._namespace:
            return ()
        there = self._store.get(CONFIG_MAP, name, self._namespace)
        known = self._written.get(name)
        if there and known and resource_version_of(there) < resource_version_of(known) and name in self._unheard:
            return ()
        self._unheard.discard(name)
        if there and known and resource_version_of(there) == resource_version_of(known):
            return ()
        return [ModelKey(claim.namespace, claim.name) for claim in self._take(name, there)]

    def _take(self, name: str, config_map: Object | None) -> list[Claim]:
        if config_map:
            self._written[name] = config_map
        else:
            self._written.pop(name, None)
        concerned = [claim for table in self._tables.values() for claim in table.take(name, config_map)]
        if not all(map(self._is_as_given, concerned)):
            self._is_current = False
        return concerned

    def _is_as_given(self, claim: Claim) -> bool:
        """A watch may report our own write before its response arrives."""
        place = self._allocation.port_of(claim)
        return self._places_in_tables(claim) == ([place] if place else [])

    # --- assigning ---------------------------------------------------------------------------------------------------

    async def give(self, claim: Claim, *, at: Sequence[str]) -> ActivatorPort:
        """Assigns a port of one of these activators, and returns once it is written. Raises ExhaustedError."""
        key = ModelKey(claim.namespace, claim.name)
        self._catch_up()
        try:
            place = self._allocation.take(claim, self._clock(), at=at)
        except ExhaustedError as error:
            self._waiting[key] = error.useful_after
            if error.useful_after:
                self._look_again(key, error.useful_after)
            raise
        self._waiting.pop(key, None)
        for wrong in [each for each in self._places_in_tables(claim) if each != place]:
            message = "The port table also had port %d of %s for it, which is removed"
            logger.warning(message, wrong.port, wrong.activator, extra={"key": str(key)})
            await self._write(wrong)
        await self._write(place)
        if self.port_of(claim) != place:
            raise RetryLaterError("The port table has changed meanwhile", after=CHANGE_IS_TOLD)
        return place

    def release(self, key: ModelKey) -> None:
        """The LLMDeployment is gone. Its line in the table stays, and no LLMDeployment matches it any more."""
        self._waiting.pop(key, None)
        self._catch_up()
        if not self._allocation.free(key, self._clock()):
            return
        helped = (each for each, after in self._waiting.items() if after or each.namespace == key.namespace)
        if next_one := next(helped, None):
            self._look_again(next_one, self._waiting.pop(next_one))

    def _catch_up(self) -> None:
        """After a change of leader, and after a change of the table by others."""
        if self._is_current:
            return
        self._is_current = True
        for raw in self._store.all(CONFIG_MAP):
            self.concerns(raw)
        self._is_current = True
        written = {
            ActivatorPort(each, port): claim for each, table in self._tables.items() for port, claim in table.lines()
        }
        self._allocation.learn(written, lives=self._lives, named=self._named_in_slices(), now=self._clock())

    def _lives(self, claim: Claim) -> bool:
        found = self._store.get(LLM_DEPLOYMENT, claim.name, claim.namespace)
        return found is not None and uid_of(found) == claim.uid

    def _named_in_slices(self) -> dict[int, frozenset[ModelKey]]:
        """At most as many ports of a namespace as it may have, or a tenant could block all ports by EndpointSlices."""
        named: defaultdict[int, set[ModelKey]] = defaultdict(set)
        counted: Counter[str] = Counter()
        for raw in self._store.all(ENDPOINT_SLICE):
            key = ModelKey(place_of(raw)[0], labels_of(raw).get(OWNER_LABEL, ""))
            port = next((each.get("port") for each in raw.get("ports") or []), None)
            if port and counted[key.namespace] < self._per_namespace and self._is_of_living(raw, key):
                counted[key.namespace] += 1
                named[port].add(key)
        return {port: frozenset(keys) for port, keys in named.items()}

    def _is_of_living(self, extra_slice: Object, key: ModelKey) -> bool:
        metadata = extra_slice["metadata"]
        owners = [each for each in metadata.get("ownerReferences") or [] if each.get("controller")]
        is_named_so = metadata["name"] == activator_slice_name(key.name)
        return is_named_so and any(each["kind"] == KIND and self._lives(Claim(*key, each["uid"])) for each in owners)

    # --- writing -----------------------------------------------------------------------------------------------------

    async def _write(self, place: ActivatorPort) -> None:
        """Makes the table match the assignment of this port; of concurrent callers, the first writes for all."""
        number = map_of(place.port)
        name = map_name(place.activator, number)
        clock = asyncio.get_running_loop().time
        async with self._writing[name]:
            if self._is_written(place):
                return
            if (pause := self._may_write_at.get(name, 0.0) - clock()) > 0:
                await asyncio.sleep(pause)  # further assignments join this write
            if not self._is_written(place):
                self._may_write_at[name] = clock() + self._pause
                await self._write_map(place.activator, number)

    def _is_written(self, place: ActivatorPort) -> bool:
        return self._tables[place.activator].owner_of(place.port) == self._allocation.owner_of(place)

    async def _write_map(self, activator: str, number: int) -> None:
        name = map_name(activator, number)
        wanted = self._wanted(activator, number)
        known = self._written.get(name)
        try:
            if known:
                answer = await self._client.replace(CONFIG_MAP, _with_version(wanted, known))
            else:
                answer = await self._client.create(CONFIG_MAP, wanted)
        except NotFoundError:
            self._take(name, None)
            raise RetryLaterError(f"The ConfigMap {name} has been deleted", after=CHANGE_IS_TOLD) from None
        except ConflictError:
            self._unheard.discard(name)
            self._take(name, self._store.get(CONFIG_MAP, name, self._namespace))
            raise RetryLaterError(f"The ConfigMap {name} has changed meanwhile", after=CHANGE_IS_TOLD) from None
        is_current = self._is_current
        self._take(name, answer)
        self._is_current = is_current  # the change was our own
        if not self._is_told(answer):
            self._unheard.add(name)
        logger.info("The port table %s is written", name)

    def _is_told(self, config_map: Object) -> bool:
        cached = self._store.get(CONFIG_MAP, config_map["metadata"]["name"], self._namespace)
        return cached is not None and resource_version_of(cached) >= resource_version_of(config_map)

    def _wanted(self, activator: str, number: int) -> Object:
        """Lines of deleted LLMDeployments stay until their port is assigned again."""
        name = map_name(activator, number)
        claims = {
            port: claim
            for port, claim in claims_in(self._written.get(name), number).items()
            if self._allocation.port_of(claim) is None
        }
        for port in ports_in(number):
            if owner := self._allocation.owner_of(ActivatorPort(activator, port)):
                claims[port] = owner
        labels = {PORT_TABLE_LABEL: activator, MANAGED_BY_LABEL: MANAGED_BY}
        metadata = {"name": name, "namespace": self._namespace, "labels": labels}
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": lines(claims)}


def _with_version(raw: Object, known: Object) -> Object:
    return {**raw, "metadata": {**raw["metadata"], "resourceVersion": known["metadata"]["resourceVersion"]}}
