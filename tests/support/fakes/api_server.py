"""An API server in memory: it stores objects, and fails where a test wants it to. Tests of what a real API server does
run on a real cluster."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from slipway.api.model_key import ModelKey
from slipway.api.names import FIELD_MANAGER
from slipway.kube.connection import ApiResponse, NoResponseError
from slipway.kube.store import place_of
from slipway.objects.kinds import (
    ACCESS_REVIEW,
    EVENT,
    INFERENCE_SERVICE,
    POD_TEMPLATE,
    SUBJECT_ACCESS_REVIEW,
    WELL_KNOWN,
    Kind,
    Object,
    kind_of,
)

KEY = ModelKey("chat", "llama")
BY_PATH = {(kind.group, kind.version, kind.plural): kind for kind in WELL_KNOWN.values()}
VERBS = {"GET": "get", "POST": "create", "PUT": "replace", "PATCH": "apply", "DELETE": "delete"}


@dataclass(frozen=True)
class Request:
    verb: str  # get, list, create, replace, apply, apply-status, scale, delete
    kind: Kind
    name: str
    body: Any
    forced: bool = True

    def __str__(self) -> str:
        return f"{self.verb} {self.kind.name}"


@dataclass
class FakeApiServer:
    """`faults`: responses by verb and kind, as `Request` prints them; a code and a message, or None for no response.

    `then`: what happens right after such a request. `unheard`: requests that are carried out but get no response.
    """

    objects: dict[tuple[Kind, str, str], Object] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    faults: dict[str, tuple[int, str] | None] = field(default_factory=dict)
    then: dict[str, Callable[[], None]] = field(default_factory=dict)
    unanswered: set[str] = field(default_factory=set)
    missing: set[Kind] = field(default_factory=set)
    allows: bool = True  # its answer about the activator's rights
    may_get_secrets: bool = False  # its answer about the operator's own rights
    _told: dict[tuple[Kind, str, str, str], Object] = field(
        default_factory=dict
    )  # what was applied last, spec and status
    _versions: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    # --- what tests do ----------------------------------------------------------------------------------------------

    def put(self, thing: Object) -> Object:
        """Stores an object as if another client had written it."""
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
        """Returns the writes since the last call, in order."""
        written = [str(request) for request in self.requests if request.verb not in ("get", "list")]
        self.requests.clear()
        return written

    # --- requests of the client -------------------------------------------------------------------------------------

    async def send(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        body: Any = None,
        timeout: float,
        at_most: int | None = None,
    ) -> ApiResponse:
        request, namespace = _read(method, path, body)
        self.requests.append(request)
        if str(request) in self.faults:
            fault = self.faults[str(request)]
            if fault is None:
                raise NoResponseError("connection reset")
            return _status(*fault, name=request.name)
        if request.kind in self.missing:
            return _status(404, "the server could not find the requested resource")
        code, thing = self._answer(request, namespace)
        self.then.pop(str(request), lambda: None)()
        if str(request) in self.unanswered:
            raise NoResponseError("connection reset")
        if code == 409:
            return _status(code, "the object has been modified", name=request.name)
        if not thing:
            return _status(404, "not found", name=request.name)
        return ApiResponse(code, {}, json.dumps(thing).encode())

    def _answer(self, request: Request, namespace: str) -> tuple[int, Object | None]:  # noqa: PLR0911 - one a verb
        place = (request.kind, namespace, request.name)
        there = self.objects.get(place)
        match request.verb:
            case "list":
                return 200, {"items": self._listed(request, namespace), "metadata": {}}
            case "get" | "delete":
                return 200, self.objects.pop(place, None) if request.verb == "delete" else there
            case "create" if request.kind in (SUBJECT_ACCESS_REVIEW, ACCESS_REVIEW):
                allowed = self.allows if request.kind == SUBJECT_ACCESS_REVIEW else self.may_get_secrets
                return 201, {**request.body, "status": {"allowed": allowed}}
            case "create" if request.kind in (EVENT, POD_TEMPLATE):  # of the latter, only dry runs are sent
                return 201, request.body
            case "create" | "replace":
                return self._written(request, there)
            case _ if there and _is_refused(request, there):
                return 409, None
            case "apply-status" | "scale":
                return 200, self._merge(place, there, request.body) if there else None
            case _:
                return 200, self._merge(place, there or {}, _with_managed_fields(request.body))

    def _listed(self, request: Request, namespace: str) -> list[Object]:
        """`body`: of events, the name of the object that they are about."""
        found = [each for (kind, where, _), each in self.objects.items() if (kind, where) == (request.kind, namespace)]
        about = request.body
        return [each for each in found if not about or each.get("involvedObject", {}).get("name") == about]

    def _written(self, request: Request, there: Object | None) -> tuple[int, Object | None]:
        if there and (request.verb == "create" or _is_outdated(request.body, there)):
            return 409, None
        return (404, None) if request.verb == "replace" and not there else (200, self.put(request.body))

    def _merge(self, place: tuple[Kind, str, str], there: Object, change: Object) -> Object:
        part = "status" if "status" in change else "spec"
        before, now = self._told.get((*place, part), {}), change.get(part) or {}
        merged = _merged(there, change)
        if there and part in merged:
            merged[part] = _without_gone(merged[part], before, now)
        self._told[*place, part] = now
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
    if verb == "get" and not name:
        verb, body = "list", unquote(path).partition("involvedObject.name=")[2].partition("&")[0]
    return Request(verb, kind, name, body, "force=false" not in path), namespace


def _with_managed_fields(applied: Object) -> Object:
    """Adds managedFields as the API server does, for the only kind whose managedFields the operator reads."""
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


def _status(code: int, words: str, *, name: str = "") -> ApiResponse:
    details: Object = {"name": name} if name else {}
    if "is being terminated" in words:
        details["causes"] = [{"reason": "NamespaceTerminating"}]
    return ApiResponse(
        code, {}, json.dumps({"kind": "Status", "code": code, "message": words, "details": details}).encode()
    )


def _without_gone(merged: Any, before: Any, now: Any) -> Any:
    """Without the fields that were applied before and are not now, which no manager owns any more."""
    if not all(isinstance(each, Mapping) for each in (merged, before, now)):
        return merged
    return {
        name: _without_gone(each, before.get(name), now.get(name))
        for name, each in merged.items()
        if name in now or name not in before
    }


def _merged(there: Any, change: Any) -> Any:
    """Merges objects; any other value replaces the old one. These tests need no more of server-side apply."""
    if not (isinstance(there, Mapping) and isinstance(change, Mapping)):
        return change
    return {**there, **{name: _merged(there.get(name), value) for name, value in change.items()}}
