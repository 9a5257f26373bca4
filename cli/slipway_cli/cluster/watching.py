"""Watches lists of objects: what they have now, and each change, until the caller has seen enough."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from slipway.objects.kinds import LLM_DEPLOYMENT, Kind

from slipway_cli.cluster.kubectl import ApiError, Kubectl, Object
from slipway_cli.cluster.reading import BASIC
from slipway_cli.cluster.world import World

AGAIN = 1.0  # seconds after which a watch that has ended starts again
SETTLING = 0.1  # seconds in which further changes count as the same
LASTING = frozenset({"Forbidden", "NoKind"})  # why a list can't be read, without an end by itself


def is_final(error: ApiError) -> bool:
    """The same request would fail again."""
    return error.word in BASIC and error.word != "Unreachable"


class Lasting:
    """Whether something has been so for some seconds without a break: after a change of the spec, the status is about
    the pods before until the new ones are there."""

    def __init__(self, seconds: float = 30.0) -> None:
        self._seconds = seconds
        self._since: float | None = None

    def is_so(self, now: bool) -> bool:
        if not now:
            self._since = None
            return False
        self._since = time.monotonic() if self._since is None else self._since
        return time.monotonic() - self._since >= self._seconds


class Live:
    """The objects of some lists, kept up to date by one watch for each, until the end of a `with`."""

    def __init__(self, kubectl: Kubectl, wanted: Mapping[Kind, str]) -> None:
        self._kubectl = kubectl
        self._wanted = frozenset(wanted)
        self._lock = threading.Lock()
        self._objects: dict[Kind, dict[str, Object]] = {}
        self._unreadable: dict[Kind, str] = {}
        self._changes: queue.Queue[ApiError | None] = queue.Queue()
        self._is_over = False
        for kind, path in wanted.items():
            threading.Thread(target=self._follow, args=(kind, path), daemon=True).start()

    def __enter__(self) -> Live:
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over = True
        self._kubectl.end_all()

    def states(self, seconds: float | None) -> Iterator[tuple[dict[Kind, tuple[Object, ...]], dict[Kind, str]]]:
        """What there is, once all lists are read, and after each change, and at least once a second; until the time is
        over."""
        until = None if seconds is None else time.monotonic() + seconds
        while until is None or time.monotonic() < until:
            left = 1.0 if until is None else max(0.0, min(1.0, until - time.monotonic()))
            try:
                problem = self._changes.get(timeout=left)
                if problem is not None:
                    raise problem
                time.sleep(SETTLING)
            except queue.Empty:
                pass
            yield self.now()

    def worlds(self, seconds: float | None) -> Iterator[World | None]:
        """For each state, what there is of the one LLMDeployment that is watched; None: it has been deleted. A moment
        without an answer of the API server changes nothing."""
        for found, unreadable in self.states(seconds):
            if unreadable.get(LLM_DEPLOYMENT) in LASTING:
                word = unreadable[LLM_DEPLOYMENT]
                raise ApiError(word, f"The LLMDeployment can't be read any more ({word}), so nothing is known of it.")
            if not self.is_complete or LLM_DEPLOYMENT not in found:
                continue
            others = {kind: objects for kind, objects in found.items() if kind is not LLM_DEPLOYMENT}
            now = datetime.now(UTC)
            models = found[LLM_DEPLOYMENT]
            yield World(now=now, llm=models[0], objects=others, unreadable=unreadable) if models else None

    @property
    def is_complete(self) -> bool:
        """Each list is read, or can't be."""
        with self._lock:
            return self._wanted <= (self._objects.keys() | self._unreadable.keys())

    def now(self) -> tuple[dict[Kind, tuple[Object, ...]], dict[Kind, str]]:
        with self._lock:
            objects = {kind: tuple(each.values()) for kind, each in self._objects.items()}
            return objects, dict(self._unreadable)

    def _follow(self, kind: Kind, path: str) -> None:
        """Without the right to watch, it is listed again and again."""
        while not self._is_over:
            try:
                self._watch_if_allowed(kind, path, self._listed(kind, path))
            except ApiError as error:
                if is_final(error):
                    self._changes.put(error)
                    return
                with self._lock:
                    self._unreadable[kind] = error.word
                    if error.word in LASTING:
                        self._objects.pop(kind, None)
                self._changes.put(None)
            time.sleep(AGAIN)

    def _watch_if_allowed(self, kind: Kind, path: str, version: str) -> None:
        try:
            self._watch(kind, path, version)
        except ApiError as error:
            if error.word != "Forbidden":
                raise

    def _listed(self, kind: Kind, path: str) -> str:
        found = self._kubectl.get(path)
        items = {each["metadata"]["uid"]: _complete(kind, each) for each in found.get("items") or []}
        with self._lock:
            self._objects[kind] = items
            self._unreadable.pop(kind, None)
        self._changes.put(None)
        return str((found.get("metadata") or {}).get("resourceVersion") or "")

    def _watch(self, kind: Kind, path: str, version: str) -> None:
        start = f"{path}{'&' if '?' in path else '?'}watch=1&resourceVersion={version}"
        with self._kubectl.lines("get", "--raw", start) as lines:
            if self._is_over:
                return
            for line in lines:
                event = _event_of(line)
                found = event.get("object") or {}
                uid = (found.get("metadata") or {}).get("uid")
                if event.get("type") not in ("ADDED", "MODIFIED", "DELETED") or not uid:
                    return  # the version is too old, or the line is cut off: list again
                with self._lock:
                    if event["type"] == "DELETED":
                        self._objects[kind].pop(uid, None)
                    else:
                        self._objects[kind][uid] = _complete(kind, found)
                self._changes.put(None)


def _event_of(line: str) -> Object:
    try:
        event = json.loads(line)
    except ValueError:
        return {}
    return event if isinstance(event, dict) else {}


def _complete(kind: Kind, found: Object) -> Object:
    return {"apiVersion": kind.api_version, "kind": kind.name, **found}
