"""Asks the API server, and keeps asking where "not now" was the answer.

Retried within a deadline: 429 (no sooner than Retry-After), 5xx and broken connections. Never: 403, 404, 409, 422.
Every try is counted. Repeating is safe: an apply ends in the same object, and a create or replace that had landed
before is answered with 409.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

from slipway.api.names import FIELD_MANAGER, STATUS_FIELD_MANAGER
from slipway.kube.connection import Answer, Connection, NoAnswerError
from slipway.kube.errors import (
    Call,
    KindMissingError,
    KubeError,
    NotFoundError,
    TooLargeError,
    UnavailableError,
    error_of,
)
from slipway.kube.kinds import ACCESS_REVIEW, Kind, Object, kind_of
from slipway.kube.metrics import WatchMetrics
from slipway.kube.retries import Patience, is_worth_another_try, retry_after

PAGE = 500
JSON = {"Accept": "application/json"}
WHICH = ("name", "namespace", "uid", "resourceVersion")
ITS_METADATA = {"Accept": "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"}
METADATA_ONLY = {"Accept": "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"}
APPLY = {**JSON, "Content-Type": "application/apply-patch+yaml"}
MERGE = {**JSON, "Content-Type": "application/merge-patch+json"}

Objects = list[Object]
Guard = Callable[[], float]
"""The seconds for which writing is surely allowed; raises NotLeaderError when it isn't."""


class KubeClient:
    """`guard` is asked before each try of each write, and no try outlasts what it allows."""

    def __init__(
        self,
        connection: Connection,
        metrics: WatchMetrics,
        *,
        patience: Patience | None = None,
        guard: Guard | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._connection, self._metrics, self._guard, self._jitter = connection, metrics, guard, jitter
        self._patience = patience or Patience()

    def with_(self, *, guard: Guard | None = None, patience: Patience | None = None) -> KubeClient:
        """The same connection under other rules."""
        return KubeClient(
            self._connection,
            self._metrics,
            patience=patience or self._patience,
            guard=guard or self._guard,
            jitter=self._jitter,
        )

    # --- reading ----------------------------------------------------------------------------------------------------

    async def get(
        self, kind: Kind, name: str, namespace: str | None = None, *, most_bytes: int | None = None
    ) -> Object:
        """`most_bytes`: TooLargeError for more; reading what others have written takes everybody's time."""
        call = Call("get", kind.name, _full_name(namespace, name))
        return await self._ask(call, "GET", kind.path(namespace, name), most_bytes=most_bytes)

    async def find(self, kind: Kind, name: str, namespace: str | None = None) -> Object | None:
        """The object, or None if it isn't there."""
        try:
            return await self.get(kind, name, namespace)
        except NotFoundError:
            return None

    async def exists(self, kind: Kind, name: str, namespace: str | None = None) -> bool:
        """Its metadata alone is asked for: nobody here wants to know what a Secret says."""
        call = Call("get", kind.name, _full_name(namespace, name))
        try:
            await self._ask(call, "GET", kind.path(namespace, name), headers=ITS_METADATA)
        except NotFoundError:
            return False
        return True

    async def may_get(self, kind: Kind, name: str, namespace: str) -> bool:
        """Asked of the API server, so that nobody has to wonder at requests that it refuses."""
        what = {"verb": "get", "group": kind.group, "resource": kind.plural, "name": name, "namespace": namespace}
        review: Object = {
            "apiVersion": ACCESS_REVIEW.api_version,
            "kind": ACCESS_REVIEW.name,
            "spec": {"resourceAttributes": what},
        }
        call = Call("review", kind.name, _full_name(namespace, name))
        answer = await self._ask(call, "POST", ACCESS_REVIEW.path(), body=review)
        return bool(answer["status"].get("allowed"))

    async def list(
        self, kind: Kind, namespace: str | None = None, *, label_selector: str = "", field_selector: str = ""
    ) -> Objects:
        # In a list, the items don't say what they are.
        named = {"apiVersion": kind.api_version, "kind": kind.name}
        query = {"labelSelector": label_selector, "fieldSelector": field_selector}
        return await self._pages(kind, namespace, query, JSON, keep=lambda item: {**item, **named})

    async def list_metadata(self, kind: Kind, namespace: str | None = None, *, label_selector: str = "") -> Objects:
        """Which objects there are, and their versions: a fraction of the bytes, and of those a fraction is kept."""
        query = {"labelSelector": label_selector}
        return await self._pages(kind, namespace, query, METADATA_ONLY, keep=_which)

    async def serves(self, kind: Kind) -> bool:
        """Whether the API server has the kind, now."""
        try:
            found = await self._ask(Call("discover", kind.name, ""), "GET", kind.api_path)
        except KindMissingError:
            return False
        return any(resource["name"] == kind.plural for resource in found["resources"] or [])

    async def _pages(
        self,
        kind: Kind,
        namespace: str | None,
        selectors: Mapping[str, str],
        headers: Mapping[str, str],
        *,
        keep: Callable[[Object], Object],
    ) -> Objects:
        call, items = Call("list", kind.name, ""), Objects()
        # What a field selects is little; without pages, the API server finds it in its cache instead of in etcd.
        query = {"limit": "" if selectors.get("fieldSelector") else str(PAGE), **selectors, "continue": ""}
        while True:
            page = await self._ask(call, "GET", kind.path(namespace), query=query, headers=headers)
            items += map(keep, page["items"] or [])
            query["continue"] = page["metadata"].get("continue") or ""
            if not query["continue"]:
                return items

    # --- writing ----------------------------------------------------------------------------------------------------

    async def apply(self, thing: Object, *, manager: str = FIELD_MANAGER, force: bool = True) -> Object:
        """Server-side. `force` takes fields from other managers; without it they are a ConflictError."""
        return await self._apply("apply", thing, manager, force=force, subresource=None)

    async def apply_status(self, thing: Object, *, manager: str = STATUS_FIELD_MANAGER) -> Object:
        """`thing`: its apiVersion, kind, name, namespace and the whole of the status that is ours."""
        return await self._apply("apply-status", thing, manager, force=True, subresource="status")

    async def scale(self, kind: Kind, name: str, namespace: str, replicas: int) -> Object:
        """Through the scale subresource, as autoscalers do it."""
        call = Call("scale", kind.name, _full_name(namespace, name))
        where, query = kind.path(namespace, name, "scale"), {"fieldManager": FIELD_MANAGER}
        change: Object = {"spec": {"replicas": replicas}}
        return await self._ask(call, "PATCH", where, query=query, headers=MERGE, body=change, is_write=True)

    async def create(self, thing: Object) -> Object:
        kind, _, namespace = _identity(thing)
        return await self._write("create", thing, "POST", kind.path(namespace))

    async def replace(self, thing: Object) -> Object:
        """With the resourceVersion in it: a ConflictError if it has changed meanwhile."""
        kind, name, namespace = _identity(thing)
        return await self._write("replace", thing, "PUT", kind.path(namespace, name))

    async def delete(self, kind: Kind, name: str, namespace: str | None = None, *, only: Object | None = None) -> bool:
        """False if it isn't there. With `only`, that very object as it was seen; what it owns is collected later."""
        call = Call("delete", kind.name, _full_name(namespace, name))
        seen = {name: only["metadata"][name] for name in ("uid", "resourceVersion")} if only else {}
        options: Object = {"propagationPolicy": "Background", "preconditions": seen}
        try:
            await self._ask(call, "DELETE", kind.path(namespace, name), body=options, is_write=True)
        except NotFoundError:
            return False
        return True

    async def _apply(self, verb: str, thing: Object, manager: str, *, force: bool, subresource: str | None) -> Object:
        kind, name, namespace = _identity(thing)
        query = {"fieldManager": manager, "force": str(force).lower()}
        path = kind.path(namespace, name, subresource)
        return await self._write(verb, thing, "PATCH", path, query=query, headers=APPLY)

    async def _write(
        self,
        verb: str,
        thing: Object,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] = JSON,
    ) -> Object:
        kind, name, namespace = _identity(thing)
        call = Call(verb, kind.name, _full_name(namespace, name))
        return await self._ask(call, method, path, query=query, headers=headers, body=thing, is_write=True)

    # --- asking -----------------------------------------------------------------------------------------------------

    async def _ask(
        self,
        call: Call,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] = JSON,
        body: Object | None = None,
        is_write: bool = False,
        most_bytes: int | None = None,
    ) -> Object:
        given = {name: value for name, value in (query or {}).items() if value}
        where = f"{path}?{urlencode(given)}" if given else path
        give_up_at, tries = time.monotonic() + self._patience.deadline, 0
        while True:
            tries += 1
            left = min(give_up_at - time.monotonic(), self._patience.per_try)
            if is_write and self._guard:
                left = min(left, self._guard())
            answer = await self._try(call, method, where, headers=headers, body=body, timeout=max(left, 0.01))
            outcome = answer if isinstance(answer, _NotNow) else _read(call, answer, most_bytes)
            if not isinstance(outcome, _NotNow):
                return outcome
            pause = self._patience.pause(tries, self._jitter(), asked_for=outcome.retry_after)
            if time.monotonic() + pause >= give_up_at:
                raise outcome.error
            await asyncio.sleep(pause)

    async def _try(
        self, call: Call, method: str, path: str, *, headers: Mapping[str, str], body: Object | None, timeout: float
    ) -> Answer | _NotNow:
        began, answer = time.monotonic(), None
        try:
            answer = await self._connection.send(method, path, headers=headers, body=body, timeout=timeout)
        except NoAnswerError as error:
            return _NotNow(UnavailableError(call, str(error)))
        finally:
            seconds = time.monotonic() - began
            self._metrics.count_call(call.verb, call.kind, answer.code if answer else None, seconds)
        return answer


class _NotNow:
    """The outcome of a try after which another one makes sense."""

    def __init__(self, error: KubeError, retry_after: float = 0.0) -> None:
        self.error, self.retry_after = error, retry_after


def _read(call: Call, answer: Answer, most_bytes: int | None) -> Object | _NotNow:
    if answer.code < 300:
        if most_bytes is not None and len(answer.data) > most_bytes:
            raise TooLargeError(call, f"{len(answer.data)} bytes are too many here", code=answer.code)
        thing: Object = json.loads(answer.data)
        return thing
    error = error_of(call, answer.code, answer.data)
    if is_worth_another_try(answer.code):
        return _NotNow(error, retry_after(answer.headers))
    raise error


def _which(item: Object) -> Object:
    return {"metadata": {name: item["metadata"].get(name) for name in WHICH}}


def _identity(thing: Object) -> tuple[Kind, str, str | None]:
    metadata: Mapping[str, Any] = thing["metadata"]
    return kind_of(thing), metadata["name"], metadata.get("namespace")


def _full_name(namespace: str | None, name: str) -> str:
    return f"{namespace}/{name}" if namespace else name
