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
from typing import Any, NamedTuple
from urllib.parse import urlencode

from slipway.api.names import FIELD_MANAGER, STATUS_FIELD_MANAGER
from slipway.kube.connection import Answer, Connection, NoAnswerError, TooLongError
from slipway.kube.errors import (
    Call,
    KindMissingError,
    KubeError,
    NotFoundError,
    TooLargeError,
    UnavailableError,
    error_of,
)
from slipway.kube.metrics import WatchMetrics
from slipway.kube.retries import Patience, is_worth_another_try, retry_after
from slipway.objects.kinds import ACCESS_REVIEW, SUBJECT_ACCESS_REVIEW, Kind, Object, kind_of

PAGE = 200
"""Objects of a list that are asked for at once. Those of 500 take 70 MB for a moment: their managed fields are read."""
SMALLER = 8  # times is the next try for a page, where one was too large
LARGEST_PAGE = 8 << 20  # bytes; a page takes several times as much while it is read
JSON = {"Accept": "application/json"}
WHICH = ("name", "namespace", "uid", "resourceVersion")
ITS_METADATA = {"Accept": "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"}
METADATA_ONLY = {"Accept": "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"}
APPLY = {**JSON, "Content-Type": "application/apply-patch+yaml"}
MERGE = {**JSON, "Content-Type": "application/merge-patch+json"}

Objects = list[Object]
Guard = Callable[[], float]
"""The seconds for which writing is surely allowed; raises NotLeaderError when it isn't."""


class ServiceAccount(NamedTuple):
    """As the API server knows it."""

    namespace: str
    name: str

    @property
    def user(self) -> str:
        return f"system:serviceaccount:{self.namespace}:{self.name}"

    @property
    def groups(self) -> list[str]:
        """Those of every ServiceAccount: rights may have been given to them all."""
        return ["system:serviceaccounts", f"system:serviceaccounts:{self.namespace}", "system:authenticated"]


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

    async def get(self, kind: Kind, name: str, namespace: str | None = None, *, at_most: int | None = None) -> Object:
        """`at_most`: TooLargeError for more; reading what others have written takes everybody's time."""
        call = Call("get", kind.name, _full_name(namespace, name))
        return await self._ask(call, "GET", kind.path(namespace, name), at_most=at_most)

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

    async def may_get(self, kind: Kind, name: str, namespace: str, *, account: ServiceAccount | None = None) -> bool:
        """Whether we may, or that account: so that nobody has to wonder at requests that are refused."""
        what = {"verb": "get", "group": kind.group, "resource": kind.plural, "name": name, "namespace": namespace}
        asked = SUBJECT_ACCESS_REVIEW if account else ACCESS_REVIEW
        whose = {"user": account.user, "groups": account.groups} if account else {}
        review: Object = {
            "apiVersion": asked.api_version,
            "kind": asked.name,
            "spec": {**whose, "resourceAttributes": what},
        }
        call = Call("review", kind.name, _full_name(namespace, name))
        answer = await self._ask(call, "POST", asked.path(), body=review)
        return bool(answer["status"].get("allowed"))

    async def list(
        self,
        kind: Kind,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        at_most: int | None = None,
        keep: Callable[[Object], Object] = dict,
    ) -> Objects:
        """`at_most`: bytes of an answer; TooLargeError for more, instead of asking for less at once. `keep`: what of
        each object is wanted.
        """
        # In a list, the items don't say what they are.
        named = {"apiVersion": kind.api_version, "kind": kind.name}
        query = {"labelSelector": label_selector, "fieldSelector": field_selector}
        return await self._pages(
            kind, namespace, query, JSON, keep=lambda item: keep({**item, **named}), at_most=at_most
        )

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
        at_most: int | None = None,
    ) -> Objects:
        """Objects are as large as their writers want, so that what is too much at once is asked for in less."""
        call, items, limit = Call("list", kind.name, ""), Objects(), PAGE
        # What a field selects is little; without pages, the API server finds it in its cache instead of in etcd.
        in_pages = not selectors.get("fieldSelector")
        query = {**selectors, "continue": ""}
        while True:
            if in_pages:
                query["limit"] = str(limit)
            bound = at_most or (LARGEST_PAGE if in_pages and limit > 1 else None)
            try:
                page = await self._ask(call, "GET", kind.path(namespace), query=query, headers=headers, at_most=bound)
            except TooLargeError:
                if at_most:
                    raise
                limit = max(1, limit // SMALLER)
                continue
            limit = min(PAGE, limit * 2)
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

    async def create(self, thing: Object, *, dry_run: bool = False) -> Object:
        """`dry_run`: all that judges it is asked, and nothing is made."""
        kind, _, namespace = _identity(thing)
        query = {"dryRun": "All"} if dry_run else {}
        return await self._write("create", thing, "POST", kind.path(namespace), query=query)

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
        at_most: int | None = None,
    ) -> Object:
        given = {name: value for name, value in (query or {}).items() if value}
        where = f"{path}?{urlencode(given)}" if given else path
        give_up_at, tries = time.monotonic() + self._patience.deadline, 0
        while True:
            tries += 1
            left = min(give_up_at - time.monotonic(), self._patience.per_try)
            if is_write and self._guard:
                left = min(left, self._guard())
            bounds: dict[str, Any] = {"timeout": max(left, 0.01), **({"at_most": at_most} if at_most else {})}
            outcome = await self._try(call, method, where, headers=headers, body=body, **bounds)
            if not isinstance(outcome, _NotNow):
                return outcome
            pause = self._patience.pause(tries, self._jitter(), asked_for=outcome.retry_after)
            if time.monotonic() + pause >= give_up_at:
                raise outcome.error
            await asyncio.sleep(pause)

    async def _try(
        self, call: Call, method: str, path: str, *, headers: Mapping[str, str], body: Object | None, **bounds: Any
    ) -> Object | _NotNow:
        began, answer = time.monotonic(), None
        try:
            answer = await self._connection.send(method, path, headers=headers, body=body, **bounds)
        except NoAnswerError as error:
            return _NotNow(UnavailableError(call, str(error)))
        except TooLongError as error:
            raise TooLargeError(call, str(error)) from None
        finally:
            seconds = time.monotonic() - began
            self._metrics.count_call(call.verb, call.kind, answer.code if answer else None, seconds)
        return _read(call, answer)


class _NotNow:
    """The outcome of a try after which another one makes sense."""

    def __init__(self, error: KubeError, retry_after: float = 0.0) -> None:
        self.error, self.retry_after = error, retry_after


def _read(call: Call, answer: Answer) -> Object | _NotNow:
    if answer.code < 300:
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
