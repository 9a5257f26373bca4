"""Keeps the table of the activators' ports: gives ports away, and lets none count before it is written.

Each ConfigMap is written as a whole, with the version that it had: whoever writes on older knowledge is refused, be it
a leader of before or this one. One write of a ConfigMap is in flight at a time, and the next one waits until a moment
after it and takes along all that has come up meanwhile, so that a thousand deployments cost far fewer writes.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence

from slipway.api.names import KIND, MANAGED_BY, MANAGED_BY_LABEL, OWNER_LABEL, PORT_TABLE_LABEL, activator_slice
from slipway.kube.client import KubeClient
from slipway.kube.errors import ConflictError, NotFoundError
from slipway.kube.kinds import CONFIG_MAP, ENDPOINT_SLICE, LLM_DEPLOYMENT, Object
from slipway.kube.store import Store, place_of
from slipway.kube.work_queue import RetryLaterError
from slipway.observing.porttable import Claim, PortTable, claims_in, lines, map_name, map_of, number_in, ports_in
from slipway.operator.reconciling.key import Key
from slipway.operator.reconciling.ports import ExhaustedError, Place, Ports

logger = logging.getLogger(__name__)

PAUSE = 0.5  # seconds from a write of a ConfigMap to the next: one that comes alone doesn't wait
CHANGE_IS_TOLD = 0.2  # seconds after which the watch should have told what another has written

LookAgain = Callable[[Key, float], None]


class PortBook:
    """`activators`: their Services, in the order in which they are filled. `clock` is monotonic.

    `look_again` is called with a deployment that waits for a port, once there may be one, and in how many seconds.
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
        self._written: dict[str, Object] = {}  # by name, the ConfigMaps as we know them
        self._writing: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._may_write_at: dict[str, float] = {}  # by the event loop's clock
        self._unheard: set[str] = set()  # of them, what we have written and no watch has told yet
        self._waiting: dict[Key, float] = {}  # with the seconds after which a port that is given up helps
        self.begin_anew()

    def begin_anew(self) -> None:
        """Somebody else may have given ports away meanwhile."""
        self._ports = Ports(self._activators, per_namespace=self._per_namespace)
        self._is_current = False
        self._waiting.clear()

    # --- what is written ---------------------------------------------------------------------------------------------

    def place_of(self, claim: Claim) -> Place | None:
        """Where its requests come in. None: it has no port yet, or the table has to be put right first."""
        written = self._places_in_tables(claim)
        return written[0] if len(written) == 1 else None

    def _places_in_tables(self, claim: Claim) -> list[Place]:
        return [Place(each, port) for each, table in self._tables.items() for port in table.ports_of(claim)]

    def concerns(self, config_map: Object) -> Iterable[Key]:
        """What a watch tells of one. The last that is heard of it looks like all before, so its place is looked at."""
        namespace, name = place_of(config_map)
        if namespace != self._namespace:
            return ()
        there = self._store.get(CONFIG_MAP, name, self._namespace)
        known = self._written.get(name)
        if there and known and _version(there) < _version(known) and name in self._unheard:
            return ()
        self._unheard.discard(name)
        if there and known and _version(there) == _version(known):
            return ()
        return [Key(claim.namespace, claim.name) for claim in self._take(name, there)]

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
        """A watch may tell of what we write before the answer to it does."""
        place = self._ports.place_of(claim)
        return self._places_in_tables(claim) == ([place] if place else [])

    # --- giving ------------------------------------------------------------------------------------------------------

    async def give(self, claim: Claim, *, at: Sequence[str]) -> Place:
        """Its port at one of these activators, when it is written. Raises ExhaustedError."""
        key = Key(claim.namespace, claim.name)
        self._catch_up()
        try:
            place = self._ports.take(claim, self._clock(), at=at)
        except ExhaustedError as error:
            self._waiting[key] = error.useful_after
            if error.useful_after:
                self._look_again(key, error.useful_after)
            raise
        self._waiting.pop(key, None)
        for wrong in [each for each in self._places_in_tables(claim) if each != place]:
            told = "The table of ports had %d of %s, too, which goes"
            logger.warning(told, wrong.port, wrong.activator, extra={"key": str(key)})
            await self._write(wrong)
        await self._write(place)
        if self.place_of(claim) != place:
            raise RetryLaterError("The table of ports has changed meanwhile", after=CHANGE_IS_TOLD)
        return place

    def forget(self, key: Key) -> None:
        """It is gone. Its line stays, and leads to nobody."""
        self._waiting.pop(key, None)
        self._catch_up()
        if not self._ports.free(key, self._clock()):
            return
        helped = (each for each, after in self._waiting.items() if after or each.namespace == key.namespace)
        if next_one := next(helped, None):
            self._look_again(next_one, self._waiting.pop(next_one))

    def _catch_up(self) -> None:
        """When one begins to lead, and when somebody else has changed the table."""
        if self._is_current:
            return
        self._is_current = True
        for thing in self._store.all(CONFIG_MAP):
            self.concerns(thing)
        self._is_current = True
        written = {Place(each, port): claim for each, table in self._tables.items() for port, claim in table.lines()}
        self._ports.learn(written, lives=self._lives, named=self._named_in_slices(), now=self._clock())

    def _lives(self, claim: Claim) -> bool:
        found = self._store.get(LLM_DEPLOYMENT, claim.name, claim.namespace)
        return found is not None and found["metadata"]["uid"] == claim.uid

    def _named_in_slices(self) -> dict[int, frozenset[Key]]:
        """Of each namespace no more than may have ports: whoever can write slices could name them all, else."""
        named: defaultdict[int, set[Key]] = defaultdict(set)
        counted: Counter[str] = Counter()
        for thing in self._store.all(ENDPOINT_SLICE):
            key = Key(place_of(thing)[0], (thing["metadata"].get("labels") or {}).get(OWNER_LABEL, ""))
            port = next((each.get("port") for each in thing.get("ports") or []), None)
            if port and counted[key.namespace] < self._per_namespace and self._is_of_living(thing, key):
                counted[key.namespace] += 1
                named[port].add(key)
        return {port: frozenset(keys) for port, keys in named.items()}

    def _is_of_living(self, extra_slice: Object, key: Key) -> bool:
        metadata = extra_slice["metadata"]
        owners = [each for each in metadata.get("ownerReferences") or [] if each.get("controller")]
        is_named_so = metadata["name"] == activator_slice(key.name)
        return is_named_so and any(each["kind"] == KIND and self._lives(Claim(*key, each["uid"])) for each in owners)

    # --- writing -----------------------------------------------------------------------------------------------------

    async def _write(self, place: Place) -> None:
        """So that the table has there what was given, and nothing else; whoever comes second finds it done."""
        name = map_name(place.activator, map_of(place.port))
        clock = asyncio.get_running_loop().time
        async with self._writing[name]:
            if self._is_written(place):
                return
            if (pause := self._may_write_at.get(name, 0.0) - clock()) > 0:
                await asyncio.sleep(pause)  # others come along
            if not self._is_written(place):
                self._may_write_at[name] = clock() + self._pause
                await self._write_map(place.activator, name)

    def _is_written(self, place: Place) -> bool:
        return self._tables[place.activator].owner_of(place.port) == self._ports.owner_of(place)

    async def _write_map(self, activator: str, name: str) -> None:
        wanted = self._wanted(activator, name)
        known = self._written.get(name)
        write = self._client.replace(_with_version(wanted, known)) if known else self._client.create(wanted)
        try:
            answer = await write
        except NotFoundError:
            self._take(name, None)
            raise RetryLaterError(f"The ConfigMap {name} has been deleted", after=CHANGE_IS_TOLD) from None
        except ConflictError:
            self._unheard.discard(name)
            self._take(name, self._store.get(CONFIG_MAP, name, self._namespace))
            raise RetryLaterError(f"The ConfigMap {name} has changed meanwhile", after=CHANGE_IS_TOLD) from None
        is_current = self._is_current
        self._take(name, answer)
        self._is_current = is_current  # that was ourselves
        if not self._is_told(answer):
            self._unheard.add(name)
        logger.info("The table of ports %s is written", name)

    def _is_told(self, config_map: Object) -> bool:
        told = self._store.get(CONFIG_MAP, config_map["metadata"]["name"], self._namespace)
        return told is not None and _version(told) >= _version(config_map)

    def _wanted(self, activator: str, name: str) -> Object:
        """Lines of those that are gone stay until their port is given away."""
        number = number_in(name, activator)
        assert number is not None
        claims = {
            port: claim
            for port, claim in claims_in(self._written.get(name), number).items()
            if self._ports.place_of(claim) is None
        }
        for port in ports_in(number):
            if owner := self._ports.owner_of(Place(activator, port)):
                claims[port] = owner
        labels = {PORT_TABLE_LABEL: activator, MANAGED_BY_LABEL: MANAGED_BY}
        metadata = {"name": name, "namespace": self._namespace, "labels": labels}
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": lines(claims)}


def _with_version(thing: Object, known: Object) -> Object:
    return {**thing, "metadata": {**thing["metadata"], "resourceVersion": known["metadata"]["resourceVersion"]}}


def _version(thing: Object) -> int:
    return int(thing["metadata"]["resourceVersion"])
