"""The only module that imports kopf: a list and watch loop in a thread of its own, and nothing else of kopf.

`KopfWatch` is one run of it: it delivers each event, can be stopped, and says when it has ended. It is never restarted:
`watching` makes a new one. Below the class are its settings, and the storages that keep kopf from storing anything.

kopf has a thread with an event loop of its own, because it cancels all other tasks of its loop when it ends. And it
ends: when the API server keeps answering 5xx, when a kind was removed, at an error inside of a watch.

kopf writes nothing to the cluster: without handlers that have a state, it adds no finalizers and no annotations, and
it posts no events.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import kopf
from kopf._core.reactor.inventory import ResourceMemories, ResourceMemory

from slipway.kube.connection import TOKEN
from slipway.kube.handover import soon
from slipway.kube.watch import Watch
from slipway.objects.kinds import Kind, Object

logger = logging.getLogger(__name__)
logging.getLogger("kopf.objects").setLevel(logging.WARNING)  # it logs each event that it has passed on

Deliver = Callable[[Kind, str | None, Object], None]
"""Called in kopf's thread with each event: None (listed), ADDED, MODIFIED or DELETED, and the object."""

STOP_WITHIN = 3.0  # seconds; then its task is cancelled, and it counts as ended
CLOSE_WITHIN = 0.2
PAGE = 25
"""Objects of a first list that kopf holds at a time. A page of the largest objects that the API server admits, 1.5 MB
each, takes 300 MB while it is read. Most objects have a kilobyte or two, so a request for 25 costs little more."""
IDENTITY: Any = "slipway"  # without it kopf reads the user's name, which the bare uid of a container doesn't have


class KopfWatch:
    """One run of kopf, in some namespaces or in the entire cluster: from construction until `ended`.

    `configuration`: the official client's, of the API server.
    """

    def __init__(
        self, watches: Sequence[Watch[Any]], namespaces: Sequence[str], configuration: Any, deliver: Deliver
    ) -> None:
        self._namespaces = namespaces
        self._registry = _registry(watches, configuration, deliver)
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
        """Returns when it has ended, or when it was asked to stop and has not in time."""
        await self._end.wait()

    def stop(self) -> None:
        with self._lock:
            self._is_asked_to_stop = True
            if self._loop and self._stop:
                soon(self._loop, self._stop.set)
        self._ours.call_later(STOP_WITHIN, self._insist)

    def _insist(self) -> None:
        """kopf cancels each watch once, and one that is just being closed may miss that. Nothing waits for it."""
        with self._lock:
            if self._loop and self._work and not self._end.is_set():
                logger.info("kopf has not ended on its own, so it is cancelled")
                soon(self._loop, self._work.cancel)
        self._end.set()

    # --- in kopf's thread -------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            asyncio.run(self._operate())
        except BaseException as error:  # whatever it was, the remedy is to start again
            if not self._is_asked_to_stop:
                logger.warning("The watches ended and will restart: %r", error)
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
            await asyncio.sleep(CLOSE_WITHIN)  # TLS connections are closed only while their loop runs

    def _complain(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Stopped in the middle of an event, kopf leaves its watches open, and asyncio would log each at length."""
        if not self._is_asked_to_stop:
            loop.default_exception_handler(context)


# --- what kopf is to do ----------------------------------------------------------------------------------------------


def _registry(watches: Iterable[Watch[Any]], configuration: Any, deliver: Deliver) -> kopf.OperatorRegistry:
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    async def log_in(**_: Any) -> kopf.ConnectionInfo:
        return await _credentials(configuration)

    for watch in watches:
        _register(registry, watch.kind, deliver)
    return registry


def _register(registry: kopf.OperatorRegistry, kind: Kind, deliver: Deliver) -> None:
    @kopf.on.event(group=kind.group, version=kind.version, plural=kind.plural, registry=registry, id=kind.plural)
    async def pass_on(event: kopf.RawEvent, **_: Any) -> None:
        deliver(kind, event["type"], dict(event["object"]))


async def _credentials(configuration: Any) -> kopf.ConnectionInfo:
    """kopf calls this again when its token was refused; a service account's token is then read from its file again."""
    header = await configuration.get_api_key_with_prefix(TOKEN)
    scheme, _, token = (header or "").partition(" ")
    return kopf.ConnectionInfo(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        ca_data=configuration.ca_cert_data,
        insecure=not configuration.verify_ssl,
        scheme=scheme.capitalize() or None,
        token=token or None,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
        proxy_url=configuration.proxy,
    )


def _settings(watches: Iterable[Watch[Any]]) -> kopf.OperatorSettings:
    """kopf could discover new kinds on its own (`scanning`), but it reads what the API server serves at the moment
    when a CRD changes, which may be too early, and not again. So that is off, which needs no rights on CRDs, and the
    cache audit says when to restart."""
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
    settings.watching.inactivity_timeout = 70  # a bookmark arrives each minute
    settings.watching.chunk_size = PAGE
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 5
    settings.networking.error_backoffs = [0.2, 0.5, *[1.0] * 20]  # watches again within a second after an outage
    for watch in watches:
        resource = watch.kind.group, watch.kind.version, watch.kind.plural
        if watch.label_selector:
            settings.watching.label_selectors[resource] = watch.label_selector
        if watch.field_selector:
            settings.watching.field_selectors[resource] = watch.field_selector
    return settings


# --- what kopf must not store ----------------------------------------------------------------------------------------


class NoDifferences(kopf.DiffBaseStorage):
    """Handlers of events need no difference; without this, kopf copies each object twice to search for one."""

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
    """kopf remembers a kilobyte of each object that it has ever seen, for handlers that we don't have."""

    async def recall(self, raw_body: Any, **_: Any) -> ResourceMemory:
        return ResourceMemory()
