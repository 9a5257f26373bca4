"""Lets kopf watch, and nothing else: each event goes into the store, and the keys that it concerns into the queue.

kopf runs in a thread with an event loop of its own, because it cancels whatever else runs in its loop when it ends.
And it ends: at an answer 5xx that lasts, at a kind that was removed, at an error inside of a watch. Then it is begun
anew, with pauses that grow; its first lists tell the store what it has missed. kopf could look for new kinds itself,
but reads what the API server offers at the moment when a CRD changes, which may be too early, and not again. So that is
off (no rights on CRDs are needed), and the `audit` says when to begin anew.

kopf writes nothing: without handlers that keep a state it adds no finalizers and no annotations, and it posts no
events.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from collections.abc import Awaitable, Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import kopf
from kopf._core.reactor.inventory import ResourceMemories, ResourceMemory

from slipway.kube.arrivals import Arrivals, soon
from slipway.kube.audit import Auditor, Rhythm
from slipway.kube.errors import KubeError
from slipway.kube.metrics import WatchMetrics
from slipway.kube.places import Lister
from slipway.kube.store import Store, bare, place_of, pruned, size_of
from slipway.objects.kinds import Kind, Object

logger = logging.getLogger(__name__)
logging.getLogger("kopf.objects").setLevel(logging.WARNING)  # it tells of each event that it was passed on

Key = TypeVar("Key", bound=Hashable)
Login = Callable[[], Awaitable[kopf.ConnectionInfo]]

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 15.0
STOP_WITHIN = 3.0
IDENTITY: Any = "slipway"  # else it asks for the user's name, which a bare number of a container has not
CLOSE_WITHIN = 0.2
PAGE = 25
"""Objects of a first list that kopf has in its hands at once. A page of the largest that the API server takes, 1.5 MB
each, takes 300 MB while it is read, and most are of a kilobyte or two, so that a call for 25 costs little more."""
STEADY_AFTER = 60.0  # seconds after which an end is no longer taken for a failed start


@dataclass(frozen=True)
class Watch(Generic[Key]):
    """Which objects of a kind to watch, what of them to keep, and the keys to work on when one of them changes."""

    kind: Kind
    keys: Callable[[Object], Iterable[Key]]
    label_selector: str = ""
    field_selector: str = ""
    namespaces: tuple[str, ...] = ()  # without any, in all of the cluster
    keep: Callable[[Object], Object] = pruned  # called in kopf's thread
    adopt: Callable[[Object], Object | None] = lambda kept: kept  # None: nobody needs it; called in our own
    packed: bool = False  # kept as text: for kinds with many objects, of which few are looked at in a moment
    largest: int = 64 << 10  # characters of what is kept of one object
    is_hint: bool = False
    """What it tells helps when it comes, and isn't missed when it doesn't: nothing waits for it or checks it."""

    def shrunk(self, thing: Object) -> Object:
        """What is kept of it: bounded, and never nothing, or it would be missed for ever."""
        try:
            kept = self.keep(thing)
            why = "" if size_of(kept) <= self.largest else "it is too large"
        except Exception as error:  # whoever wrote it, the others' events go on
            why = f"it can't be read: {type(error).__name__}: {error!s:.200}"
        if not why:
            return kept
        logger.warning("Of %s %s its name alone is kept: %s", self.kind, "/".join(place_of(thing)), why)
        return bare(thing)

    def kept(self, thing: Object) -> Object | None:
        return self.adopt(self.shrunk(thing))


def with_home(watched: tuple[str, ...], home: str) -> tuple[str, ...]:
    """The namespaces of models and our own, for what is in both; none: all of the cluster."""
    return tuple(dict.fromkeys((*watched, home))) if watched else ()


class Watching(Generic[Key]):
    """`run` it in a task; `on_kinds` hears when a kind came or went, so that all can be worked on again.

    `on_told` hears of each object whose newest state, or end, has got into the store.
    """

    def __init__(
        self,
        watches: Sequence[Watch[Key]],
        *,
        client: Lister,
        login: Login,
        add: Callable[[Key], None],
        metrics: WatchMetrics,
        on_kinds: Callable[[Kind], None] = lambda kind: None,
        on_told: Callable[[Kind, Object], None] = lambda kind, thing: None,
        rhythm: Rhythm | None = None,
    ) -> None:
        self._watches: Mapping[Kind, Watch[Key]] = {watch.kind: watch for watch in watches}
        self._login, self._add, self._metrics = login, add, metrics
        self._on_kinds, self._on_told = on_kinds, on_told
        self.store = Store(
            self._watches,
            hints=[watch.kind for watch in watches if watch.is_hint],
            packed=[watch.kind for watch in watches if watch.packed],
        )
        selectors = {watch.kind: watch.label_selector for watch in watches if not watch.is_hint}
        self.auditor = Auditor(
            client,
            self.store,
            selectors,
            namespaces={watch.kind: watch.namespaces for watch in watches if watch.namespaces},
            on_gone=self._gone,
            on_stale=self._begin_anew,
            rhythm=rhythm,
        )
        self._epoch = 0
        self._kopfs: list[_KopfThread] = []
        self._asked_to_stop = asyncio.Event()
        metrics.watch_ages(lambda: self.store.ages(time.monotonic()))

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.auditor.run(), name="audit")
            group.create_task(self._keep_watching(), name="watching")

    async def _keep_watching(self) -> None:
        pause = FIRST_PAUSE
        while True:
            began = time.monotonic()
            was_asked_to_stop = await self._watch_once()
            if was_asked_to_stop or time.monotonic() - began > STEADY_AFTER:
                pause = FIRST_PAUSE
            else:
                self._metrics.watch_restarts.labels("kopf ended").inc()
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))
                pause = min(pause * 2, LONGEST_PAUSE)

    async def _watch_once(self) -> bool:
        self._epoch += 1
        self.store.forget_hints()
        try:
            await self.auditor.look_around()
        except KubeError as error:
            logger.warning("The watches can't begin yet: %s", error)
            return False
        self.auditor.begun()
        self._asked_to_stop.clear()
        arrivals = Arrivals()
        arrive = self._arriving(self._epoch, arrivals)
        groups = _by_namespaces(self._watches.values(), self.auditor.closed)
        self._kopfs = [_KopfThread(group, where, self._login, arrive) for where, group in groups.items()]
        try:
            return await self._first_end()
        finally:
            self._stop()
            await asyncio.gather(*(each.ended() for each in self._kopfs))
            await arrivals.all_taken()  # an end among them would be told by no other watch

    async def _first_end(self) -> bool:
        """One that ends takes the others with it, so that all begin anew together. True: they were asked to."""
        ends = [asyncio.create_task(each.ended()) for each in self._kopfs]
        asked = asyncio.create_task(self._asked_to_stop.wait())  # there is no kopf where no namespace is open
        try:
            await asyncio.wait([*ends, asked], return_when=asyncio.FIRST_COMPLETED)
            return self._asked_to_stop.is_set()
        finally:
            for each in (*ends, asked):
                each.cancel()

    def _stop(self) -> None:
        self._asked_to_stop.set()
        for each in self._kopfs:
            each.stop()

    # --- what happens -----------------------------------------------------------------------------------------------

    def _arriving(self, epoch: int, arrivals: Arrivals | None = None) -> Callable[[Kind, str | None, Object], None]:
        """From kopf's thread into ours; what a kopf tells that was ended is not heard.

        Objects are made small in kopf's: some are of a size that would keep waiting all whom our loop serves.
        """
        into = arrivals or Arrivals()

        def arrive(kind: Kind, type_: str | None, shrunk: Object) -> None:
            if epoch == self._epoch:
                self._arrived(kind, type_, shrunk)

        return lambda kind, type_, thing: into.put(arrive, kind, type_, self._watches[kind].shrunk(thing))

    def _arrived(self, kind: Kind, type_: str | None, shrunk: Object) -> None:
        if type_ is None:
            self.auditor.listed_anew(kind)
        kept = self._watches[kind].adopt(shrunk)
        if kept and self.store.take(kind, type_, kept, now=time.monotonic(), epoch=self._epoch):
            self._on_told(kind, kept)
            self._concern(kind, kept)

    def _gone(self, kind: Kind, things: Sequence[Object]) -> None:
        for thing in things:
            self._concern(kind, thing)
        if self.store.is_missing(kind):
            self._on_kinds(kind)

    def _begin_anew(self, kind: Kind, why: str) -> None:
        logger.info("All watches begin anew: %s %s", kind, why)
        self._metrics.watch_restarts.labels(why).inc()
        self._on_kinds(kind)
        self._stop()

    def _concern(self, kind: Kind, thing: Object) -> None:
        """Called by the audit, too, which must not end for what one object says."""
        try:
            for key in self._watches[kind].keys(thing):
                self._add(key)
        except Exception:
            logger.exception("Whom a change of %s %s concerns can't be told", kind, "/".join(place_of(thing)))


def _by_namespaces(watches: Iterable[Watch[Any]], closed: Collection[str]) -> dict[tuple[str, ...], list[Watch[Any]]]:
    """One kopf watches all of its kinds in the same namespaces; without any, in all of the cluster."""
    groups: dict[tuple[str, ...], list[Watch[Any]]] = {}
    for watch in watches:
        where = tuple(each for each in watch.namespaces if each not in closed)
        if where or not watch.namespaces:
            groups.setdefault(where, []).append(watch)
    return groups


class _KopfThread:
    """One run of kopf, in some namespaces or in all of the cluster."""

    def __init__(
        self,
        watches: Sequence[Watch[Any]],
        namespaces: Sequence[str],
        login: Login,
        arrive: Callable[[Kind, str | None, Object], None],
    ) -> None:
        self._namespaces = namespaces
        self._registry = _registry(watches, login, arrive)
        self._settings = _settings(watches)
        self._ours = asyncio.get_running_loop()
        self._end = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._work: asyncio.Task[Any] | None = None
        self._lock = threading.Lock()
        self._is_asked_to_stop = False
        threading.Thread(target=self._run, name="kopf", daemon=True).start()

    async def ended(self) -> None:
        """When it has, or was asked to and has not in time."""
        await self._end.wait()

    def stop(self) -> None:
        with self._lock:
            self._is_asked_to_stop = True
            if self._loop and self._stop:
                soon(self._loop, self._stop.set)
        self._ours.call_later(STOP_WITHIN, self._insist)

    def _insist(self) -> None:
        """kopf cancels each watch once, and one that is just being closed may not notice. Nobody waits for that."""
        with self._lock:
            if self._loop and self._work and not self._end.is_set():
                logger.info("kopf does not end by itself, so it is cancelled")
                soon(self._loop, self._work.cancel)
        self._end.set()

    def _run(self) -> None:
        try:
            asyncio.run(self._operate())
        except BaseException as error:  # whatever it was, the remedy is to begin anew
            if not self._is_asked_to_stop:
                logger.warning("The watches ended and will begin anew: %r", error)
        soon(self._ours, self._end.set)

    async def _operate(self) -> None:
        with self._lock:
            self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
            self._work = asyncio.current_task()
            self._loop.set_exception_handler(self._complain)
            if self._is_asked_to_stop:
                return
        try:
            await kopf.operator(
                registry=self._registry,
                settings=self._settings,
                clusterwide=not self._namespaces,
                namespaces=self._namespaces,
                stop_flag=self._stop,
                identity=IDENTITY,
                memories=NoMemories(),
            )
        finally:
            await asyncio.sleep(CLOSE_WITHIN)  # TLS connections end only while their loop runs

    def _complain(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Stopped in the midst of an event, kopf leaves its watches open, and asyncio tells of each at length."""
        if not self._is_asked_to_stop:
            loop.default_exception_handler(context)


def _registry(
    watches: Iterable[Watch[Any]], login: Login, arrive: Callable[[Kind, str | None, Object], None]
) -> kopf.OperatorRegistry:
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    async def log_in(**_: Any) -> kopf.ConnectionInfo:
        return await login()

    for watch in watches:
        _register(registry, watch.kind, arrive)
    return registry


def _register(registry: kopf.OperatorRegistry, kind: Kind, arrive: Callable[[Kind, str | None, Object], None]) -> None:
    @kopf.on.event(group=kind.group, version=kind.version, plural=kind.plural, registry=registry, id=kind.plural)
    async def tell(event: kopf.RawEvent, **_: Any) -> None:
        arrive(kind, event["type"], dict(event["object"]))


class NoDifferences(kopf.DiffBaseStorage):
    """Handlers of events ask for no difference; without this, kopf copies each object twice to look for one."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    def fetch(self, **_: Any) -> kopf.BodyEssence | None:
        return None

    def store(self, **_: Any) -> None:
        pass


class NoProgress(kopf.ProgressStorage):
    """Handlers of events make none."""

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        return essence

    def fetch(self, **_: Any) -> None:
        pass

    def store(self, **_: Any) -> None:
        pass

    def purge(self, **_: Any) -> None:
        pass

    def touch(self, **_: Any) -> None:
        pass


class NoMemories(ResourceMemories):
    """kopf remembers a kilobyte of each object that it has ever seen, for what handlers of events don't have."""

    async def recall(self, raw_body: Any, **_: Any) -> ResourceMemory:
        return ResourceMemory()


def _settings(watches: Iterable[Watch[Any]]) -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.persistence.diffbase_storage = NoDifferences()
    settings.persistence.progress_storage = NoProgress()
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.process.ultimate_exiting_timeout = None
    settings.queueing.idle_timeout = 0.2
    settings.queueing.exit_timeout = 0.5
    settings.watching.server_timeout = 240
    settings.watching.client_timeout = 300
    settings.watching.connect_timeout = 5
    settings.watching.inactivity_timeout = 70  # bookmarks come each minute
    settings.watching.chunk_size = PAGE
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 5
    settings.networking.error_backoffs = [0.2, 0.5, *[1.0] * 20]  # back within a second after an outage
    for watch in watches:
        resource = watch.kind.group, watch.kind.version, watch.kind.plural
        if watch.label_selector:
            settings.watching.label_selectors[resource] = watch.label_selector
        if watch.field_selector:
            settings.watching.field_selectors[resource] = watch.field_selector
    return settings
