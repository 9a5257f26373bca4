"""A cluster in memory for unit tests of the loop: an API server that keeps objects, fails where it is told to, and
caches that know of a change only once a test lets them. What real ones do is tested on a real cluster.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from slipway.api.model_key import ModelKey
from slipway.api.names import FIELD_MANAGER, STATUS_FIELD_MANAGER
from slipway.kube.call_retries import Patience
from slipway.kube.client import FieldManagers, KubeClient
from slipway.kube.connection import Answer, NoAnswerError
from slipway.kube.events import EventRecorder
from slipway.kube.metrics import WatchMetrics
from slipway.kube.overlay import Overlay
from slipway.kube.store import Store, place_of, pruned
from slipway.kube.watch import Watch
from slipway.kube.work_queue import RetryLaterError
from slipway.objects.kinds import (
    ACCESS_REVIEW,
    CONFIG_MAP,
    EVENT,
    INFERENCE_SERVICE,
    SUBJECT_ACCESS_REVIEW,
    WELL_KNOWN,
    Kind,
    Object,
    kind_of,
)
from slipway.observing.keeping import FOUND_BY
from slipway.observing.snapshot import PlatformPart
from slipway.operator.installation import Installation
from slipway.operator.reconciling.applying import Applier
from slipway.operator.reconciling.memory import Memories
from slipway.operator.reconciling.portbook import PortBook
from slipway.operator.reconciling.reconciler import Reconciler
from slipway.operator.reconciling.references import References
from slipway.operator.reconciling.reporting import Reporter
from slipway.operator.reconciling.rights import Rights
from slipway.operator.reconciling.snapshots import SnapshotReader
from slipway.operator.reconciling.watches import watches
from slipway.process.metrics import MetricsRegistry

MANAGERS = FieldManagers(objects=FIELD_MANAGER, status=STATUS_FIELD_MANAGER)
IMPATIENT = Patience(deadline=0.001, first_pause=0.001)
KEY = ModelKey("chat", "llama")
NOW = datetime(2026, 11, 21, 10, 0, 0, tzinfo=UTC)
INSTALLATION = Installation("slipway-system", ("slipway-activator", "slipway-activator-2"))
WATCHED = watches(
    everyone=lambda: (), on_node=lambda _: (), node=lambda _: None, ports=lambda _: (), installation=INSTALLATION
)
BY_PATH = {(kind.group, kind.version, kind.plural): kind for kind in WELL_KNOWN.values()}
VERBS = {"GET": "get", "POST": "create", "PUT": "replace", "PATCH": "apply", "DELETE": "delete"}


@dataclass(frozen=True)
class Request:
    verb: str  # get, create, replace, apply, apply-status, scale, delete
    kind: Kind
    name: str
    body: Any
    forced: bool = True

    def __str__(self) -> str:
        return f"{self.verb} {self.kind.name}"


@dataclass
class Api:
    """`faults`: what is answered instead, by verb and kind as in `Request`; a code and words, or None for silence.

    `then`: what happens right after such a request. `unheard`: requests that are carried out and not answered.
    """

    objects: dict[tuple[Kind, str, str], Object] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    faults: dict[str, tuple[int, str] | None] = field(default_factory=dict)
    then: dict[str, Callable[[], None]] = field(default_factory=dict)
    unheard: set[str] = field(default_factory=set)
    missing: set[Kind] = field(default_factory=set)
    allows: bool = True  # what it says of the activator's rights
    may_get_secrets: bool = False  # and of the operator's own
    _told: dict[tuple[Kind, str, str], frozenset[str]] = field(default_factory=dict)  # fields of a status
    _versions: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    # --- what tests do ----------------------------------------------------------------------------------------------

    def put(self, thing: Object) -> Object:
        """As if somebody else had written it."""
        kind, (namespace, name) = kind_of(thing), place_of(thing)
        before = self.objects.get((kind, namespace, name))
        metadata = {
            "uid": before["metadata"]["uid"] if before else f"uid-{next(self._versions)}",
            "generation": 1,
            **thing["metadata"],
            "resourceVersion": str(next(self._versions)),
        }
        self.objects[kind, namespace, name] = {**thing, "metadata": metadata}
        return self.objects[kind, namespace, name]

    def change(self, kind: Kind, change: Mapping[str, Any], *, namespace: str = KEY[0], name: str = KEY[1]) -> Object:
        return self.put(_merged(self.get(kind, namespace=namespace, name=name), change))

    def get(self, kind: Kind, *, namespace: str = KEY[0], name: str = KEY[1]) -> Object:
        return self.objects[kind, namespace, name]

    def remove(self, kind: Kind, *, namespace: str = KEY[0], name: str = KEY[1]) -> None:
        del self.objects[kind, namespace, name]

    def writes(self) -> list[str]:
        """Since the last call, in order."""
        written = [str(request) for request in self.requests if request.verb != "get"]
        self.requests.clear()
        return written

    # --- what the client asks ---------------------------------------------------------------------------------------

    async def send(
        self, method: str, path: str, *, headers: Mapping[str, str], body: Any = None, timeout: float
    ) -> Answer:
        request, namespace = _read(method, path, body)
        self.requests.append(request)
        if str(request) in self.faults:
            fault = self.faults[str(request)]
            if fault is None:
                raise NoAnswerError("connection reset")
            return _status(*fault, name=request.name)
        if request.kind in self.missing:
            return _status(404, "the server could not find the requested resource")
        code, thing = self._answer(request, namespace)
        self.then.pop(str(request), lambda: None)()
        if str(request) in self.unheard:
            raise NoAnswerError("connection reset")
        if code == 409:
            return _status(code, "the object has been modified", name=request.name)
        return Answer(code, {}, json.dumps(thing).encode()) if thing else _status(404, "not found", name=request.name)

    def _answer(self, request: Request, namespace: str) -> tuple[int, Object | None]:  # noqa: PLR0911 - one a verb
        place = (request.kind, namespace, request.name)
        there = self.objects.get(place)
        match request.verb:
            case "get" | "delete":
                return 200, self.objects.pop(place, None) if request.verb == "delete" else there
            case "create" if request.kind in (SUBJECT_ACCESS_REVIEW, ACCESS_REVIEW):
                allowed = self.allows if request.kind == SUBJECT_ACCESS_REVIEW else self.may_get_secrets
                return 201, {**request.body, "status": {"allowed": allowed}}
            case "create" if request.kind == EVENT:
                return 201, request.body
            case "create" | "replace":
                return self._written(request, there)
            case _ if there and _is_refused(request, there):
                return 409, None
            case "apply-status" | "scale":
                return 200, self._merge(place, there, request.body) if there else None
            case _:
                return 200, self._merge(place, there or {}, _with_managed_fields(request.body))

    def _written(self, request: Request, there: Object | None) -> tuple[int, Object | None]:
        if there and (request.verb == "create" or _is_outdated(request.body, there)):
            return 409, None
        return (404, None) if request.verb == "replace" and not there else (200, self.put(request.body))

    def _merge(self, place: tuple[Kind, str, str], there: Object, change: Object) -> Object:
        merged = _merged(there, change)
        gone = self._told.get(place, frozenset()) - change.get("status", {}).keys() if "status" in change else ()
        for name in gone:  # applied before and not now, so nobody's any more
            merged["status"] = {key: value for key, value in merged["status"].items() if key != name}
        self._told[place] = frozenset(change.get("status", {}))
        return there if there and merged == there else self.put(merged)


def _read(method: str, path: str, body: Any) -> tuple[Request, str]:
    parts = path.partition("?")[0].strip("/").split("/")
    group, version = ("", parts[1]) if parts[0] == "api" else (parts[1], parts[2])
    rest = parts[2:] if parts[0] == "api" else parts[3:]
    namespace = rest[1] if rest[0] == "namespaces" else ""
    plural, *more = rest[2:] if namespace else rest
    kind = BY_PATH[group, version, plural]
    name = more[0] if more else (body or {}).get("metadata", {}).get("name", "")
    verb = {"status": "apply-status", "scale": "scale"}.get(more[1] if len(more) > 1 else "", VERBS[method])
    return Request(verb, kind, name, body, "force=false" not in path), namespace


def _with_managed_fields(applied: Object) -> Object:
    """As the API server notes who has set what, for the one kind of which that is read."""
    if applied["kind"] != INFERENCE_SERVICE.name:
        return applied
    entry = {"manager": FIELD_MANAGER, "operation": "Apply", "fieldsV1": fields_of(applied)}
    return {**applied, "metadata": {**applied["metadata"], "managedFields": [entry]}}


def fields_of(value: Any) -> Object:
    return {f"f:{name}": fields_of(each) for name, each in value.items()} if isinstance(value, Mapping) else {}


def _is_outdated(change: Object, there: Object) -> bool:
    version = there["metadata"]["resourceVersion"]
    return bool(change.get("metadata", {}).get("resourceVersion", version) != version)


def _is_refused(request: Request, there: Object) -> bool:
    contradicts = _merged(request.body, there) != _merged(there, request.body)
    return _is_outdated(request.body, there) or (contradicts and not request.forced)


def _status(code: int, words: str, *, name: str = "") -> Answer:
    details: Object = {"name": name} if name else {}
    if "is being terminated" in words:
        details["causes"] = [{"reason": "NamespaceTerminating"}]
    return Answer(code, {}, json.dumps({"kind": "Status", "code": code, "message": words, "details": details}).encode())


def _merged(there: Any, change: Any) -> Any:
    """Objects go into each other, all else replaces what was: enough of a server-side apply for these tests."""
    if not (isinstance(there, Mapping) and isinstance(change, Mapping)):
        return change
    return {**there, **{name: _merged(there.get(name), value) for name, value in change.items()}}


class Loop:
    """The real loop on such a cluster. `silent`: kinds of which no watch tells."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] | None = None,
        now: Callable[[], datetime] | None = None,
        per_namespace: int = 1000,
        pause: float = 0.0,
        installation: Installation = INSTALLATION,
        api: Api | None = None,
    ) -> None:
        self.api = api or Api()
        self.silent: set[Kind] = set()
        self._now = 100.0
        self._passed = 0.0
        clock = clock or (lambda: self._passed)
        self.time = NOW  # on the clock on the wall
        now = now or (lambda: self.time)
        self.store = Store(
            [watch.kind for watch in WATCHED],
            hints=[each.kind for each in WATCHED if each.is_hint],
            packed=[each.kind for each in WATCHED if each.packed],
            index_by=FOUND_BY,
        )
        client = KubeClient(self.api, WatchMetrics(MetricsRegistry()), patience=IMPATIENT, managers=MANAGERS)  # type: ignore[arg-type]
        events = EventRecorder(client, controller="of-a-test", instance="test", clock=clock, now=now)
        self.again: list[tuple[ModelKey, float]] = []  # who is to be looked at again, and when
        self.ports = PortBook(
            client,
            self.store,
            namespace=INSTALLATION.namespace,
            activators=INSTALLATION.activators,
            per_namespace=per_namespace,
            look_again=lambda key, seconds: self.again.append((key, seconds)),
            clock=clock,
            pause=pause,
        )
        self.overlay = Overlay(self.store)
        self.memories = Memories(self.overlay)
        self.kserve: PlatformPart | None = None
        self.keda: PlatformPart | None = None
        self.reader = SnapshotReader(
            self.store,
            self.overlay,
            port_of=self.ports.port_of,
            now=now,
            installation=installation,
            kserve=lambda: self.kserve,
            keda=lambda: self.keda,
        )
        applier = Applier(client, self.store, self.overlay, clock=clock)
        self.seconds_between_looks = 10.0
        reporter = Reporter(client, events, self.overlay, clock=self._passing)
        self.references = References(client, self.store, self.memories, clock=clock)
        self.reconciler = Reconciler(
            store=self.store,
            memories=self.memories,
            reader=self.reader,
            ports=self.ports,
            applier=applier,
            reporter=reporter,
            references=self.references,
            rights=Rights(client, slipway_namespace=INSTALLATION.namespace, clock=self._passing),
            installation=installation,
        )

    def _passing(self) -> float:
        self._now += self.seconds_between_looks
        return self._now

    def take_over(self) -> None:
        """Another replica has led meanwhile."""
        self.memories.clear()
        self.ports.start_over()

    def pass_time(self, seconds: float) -> None:
        """On the clock by which it waits."""
        self._passed += seconds

    def catch_up(self) -> None:
        """The caches hear of all that has happened."""
        tables = {thing["metadata"]["name"]: thing for thing in self.store.all(CONFIG_MAP)}
        self._catch_up()
        tables |= {thing["metadata"]["name"]: thing for thing in self.store.all(CONFIG_MAP)}
        for table in tables.values():
            self.ports.concerns(table)

    def _catch_up(self) -> None:
        for watch in WATCHED:
            if watch.kind in self.silent:
                continue
            if watch.kind in self.api.missing:
                self.store.miss(watch.kind)
                continue
            there = [thing for (kind, *_), thing in self.api.objects.items() if kind == watch.kind]
            kept = [thing for thing in map(watch.kept, there) if thing and is_selected(watch, thing)]
            for thing in kept:
                self.store.take(watch.kind, "MODIFIED", thing, now=0)
            self.store.compare(watch.kind, kept, since=self.store.mark, now=0)

    def end(self, kind: Kind, *, namespace: str = KEY[0], name: str = KEY[1]) -> None:
        """It goes, and the caches hear of it."""
        gone = self.api.get(kind, namespace=namespace, name=name)
        self.api.remove(kind, namespace=namespace, name=name)
        self.store.take(kind, "DELETED", gone, now=0)

    async def turn(self, key: ModelKey = KEY) -> float | None:
        """The caches hear of everything, then one turn."""
        self.catch_up()
        return await self.reconciler.reconcile(key)

    async def failing_turn(self, key: ModelKey = KEY) -> str:
        """What the turn raises."""
        try:
            await self.turn(key)
        except Exception as error:  # whichever it is, the queue takes it as a failure
            return str(error) if isinstance(error, RetryLaterError) else f"{type(error).__name__}: {error}"
        raise AssertionError("the turn went well")

    async def settle(self, key: ModelKey = KEY, *, turns: int = 5) -> None:
        for _ in range(turns):
            await self.turn(key)
        self.api.writes()


def is_selected(watch: Watch[Any], thing: Object) -> bool:
    """Whether the watch sees it."""
    name, _, value = watch.label_selector.partition("=")
    labels = pruned(thing)["metadata"].get("labels", {})
    has_label = not name or (labels.get(name) == value if value else name in labels)
    return has_label and (not watch.namespaces or place_of(thing)[0] in watch.namespaces)
