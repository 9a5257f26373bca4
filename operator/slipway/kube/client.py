"""Calls the API server, and retries where the response means "not now".

Retried within a deadline: 429 (no sooner than Retry-After), 5xx and broken connections. Never: 403, 404, 409, 422.
Every try is counted. Retrying is safe: an apply ends in the same object, and a create or replace that had landed before
gets a 409.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import urlencode

from slipway.kube import large_json
from slipway.kube.call_retries import Patience, is_retried, retry_after
from slipway.kube.connection import ApiResponse, Connection, NoResponseError, TooLongError
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
from slipway.objects.kinds import ACCESS_REVIEW, SUBJECT_ACCESS_REVIEW, TOKEN_REVIEW, Kind, Object

PAGE = 200
"""Objects in one page of a list. A page of 500 takes 70 MB for a moment: their managed fields are read."""
SMALLER = 8  # so many times smaller is the next try for a page that was too large
LARGEST_PAGE = 8 << 20  # bytes; a page takes several times as much while it is read
JSON = {"Accept": "application/json"}
WHICH = ("name", "namespace", "uid", "resourceVersion")
ITS_METADATA = {"Accept": "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"}
METADATA_ONLY = {"Accept": "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"}
APPLY = {**JSON, "Content-Type": "application/apply-patch+yaml"}
MERGE = {**JSON, "Content-Type": "application/merge-patch+json"}

Objects = list[Object]
Guard = Callable[[], float]
"""The seconds for which writing is certainly allowed; raises NotLeaderError when it isn't."""


class ServiceAccount(NamedTuple):
    """By its names in the API server."""

    namespace: str
    name: str

    @property
    def user(self) -> str:
        return f"system:serviceaccount:{self.namespace}:{self.name}"

    @property
    def groups(self) -> list[str]:
        """Those of every ServiceAccount: rights may have been given to all of them."""
        return ["system:serviceaccounts", f"system:serviceaccounts:{self.namespace}", "system:authenticated"]


@dataclass(frozen=True)
class FieldManagers:
    """By which names the API server knows what we set by server-side apply; needed only by clients that apply."""

    objects: str = ""
    status: str = ""


class KubeClient:
    """`guard` is called before each try of each write, and no try takes longer than it allows.

    Derive one with other rules by `with_`; all share one connection.
    """

    def __init__(
        self,
        connection: Connection,
        metrics: WatchMetrics,
        *,
        patience: Patience | None = None,
        guard: Guard | None = None,
        managers: FieldManagers | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._connection, self._metrics, self._guard, self._jitter = connection, metrics, guard, jitter
        self._patience, self._managers = patience or Patience(), managers or FieldManagers()

    def with_(self, *, guard: Guard | None = None, patience: Patience | None = None) -> KubeClient:
        """The same connection under other rules."""
        return KubeClient(
            self._connection,
            self._metrics,
            patience=patience or self._patience,
            guard=guard or self._guard,
            managers=self._managers,
            jitter=self._jitter,
        )

    @property
    def configuration(self) -> Any:
        """The official client's, of this API server."""
        return self._connection.configuration

    # --- reading ----------------------------------------------------------------------------------------------------

    async def get(self, kind: Kind, name: str, namespace: str | None = None, *, at_most: int | None = None) -> Object:
        """`at_most`: TooLargeError for more bytes; reading a large object that a tenant wrote delays the others."""
        call = Call("get", kind.name, _full_name(namespace, name))
        return await self._call(call, "GET", kind.path(namespace, name), at_most=at_most)

    async def find(self, kind: Kind, name: str, namespace: str | None = None) -> Object | None:
        """The object, or None if it isn't there."""
        try:
            return await self.get(kind, name, namespace)
        except NotFoundError:
            return None

    async def exists(self, kind: Kind, name: str, namespace: str | None = None) -> bool:
        """Requests its metadata alone: the content of a Secret is not needed here."""
        call = Call("get", kind.name, _full_name(namespace, name))
        try:
            await self._call(call, "GET", kind.path(namespace, name), headers=ITS_METADATA)
        except NotFoundError:
            return False
        return True

    async def may_get(self, kind: Kind, name: str, namespace: str, *, account: ServiceAccount | None = None) -> bool:
        """Whether we may, or that account: refused requests would alarm readers of the audit log."""
        what = {"verb": "get", "group": kind.group, "resource": kind.plural, "name": name, "namespace": namespace}
        kind_of_review = SUBJECT_ACCESS_REVIEW if account else ACCESS_REVIEW
        subject = {"user": account.user, "groups": account.groups} if account else {}
        review: Object = {
            "apiVersion": kind_of_review.api_version,
            "kind": kind_of_review.name,
            "spec": {**subject, "resourceAttributes": what},
        }
        call = Call("review", kind.name, _full_name(namespace, name))
        answer = await self._call(call, "POST", kind_of_review.path(), body=review)
        return bool(answer["status"].get("allowed"))

    async def may_list(self, kind: Kind) -> bool:
        """Whether we may list the objects of the kind in the entire cluster, for the same reason."""
        what = {"verb": "list", "group": kind.group, "resource": kind.plural}
        review: Object = {
            "apiVersion": ACCESS_REVIEW.api_version,
            "kind": ACCESS_REVIEW.name,
            "spec": {"resourceAttributes": what},
        }
        answer = await self._call(Call("review", kind.name, ""), "POST", ACCESS_REVIEW.path(), body=review)
        return bool(answer["status"].get("allowed"))

    async def review_token(self, token: str, audience: str) -> Object:
        """What the API server says of a ServiceAccount's token that was made for that audience: the review's status."""
        review: Object = {
            "apiVersion": TOKEN_REVIEW.api_version,
            "kind": TOKEN_REVIEW.name,
            "spec": {"token": token, "audiences": [audience]},
        }
        answer = await self._call(Call("review", TOKEN_REVIEW.name, ""), "POST", TOKEN_REVIEW.path(), body=review)
        return dict(answer["status"])

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
        """`at_most`: bytes of a response; TooLargeError for more, instead of smaller pages. `keep`: returns what is
        needed of each object.
        """
        # In a list, the items don't name their kind.
        named = {"apiVersion": kind.api_version, "kind": kind.name}
        query = {"labelSelector": label_selector, "fieldSelector": field_selector}
        return await self._pages(
            kind, namespace, query, JSON, keep=lambda item: keep({**item, **named}), at_most=at_most
        )

    async def list_metadata(self, kind: Kind, namespace: str | None = None, *, label_selector: str = "") -> Objects:
        """The names and versions of all objects: a fraction of the bytes, of which a fraction is kept."""
        query = {"labelSelector": label_selector}
        return await self._pages(kind, namespace, query, METADATA_ONLY, keep=_which)

    async def serves(self, kind: Kind) -> bool:
        """Whether the API server has the kind now."""
        try:
            found = await self._call(Call("discover", kind.name, ""), "GET", kind.api_path)
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
        """Objects are as large as tenants make them, so a page that is too large is requested in smaller ones."""
        call, items, limit = Call("list", kind.name, ""), Objects(), PAGE
        # A field selector matches few objects; without pages, the API server reads them from its cache, not from etcd.
        in_pages = not selectors.get("fieldSelector")
        query = {**selectors, "continue": ""}
        while True:
            if in_pages:
                query["limit"] = str(limit)
            bound = at_most or (LARGEST_PAGE if in_pages and limit > 1 else None)
            try:
                page = await self._call(call, "GET", kind.path(namespace), query=query, headers=headers, at_most=bound)
            except TooLargeError:
                if at_most:
                    raise
                limit = max(1, limit // SMALLER)
                continue
            limit = min(PAGE, limit * 2)
            await _add(items, page["items"] or [], keep)
            query["continue"] = page["metadata"].get("continue") or ""
            if not query["continue"]:
                return items

    # --- writing ----------------------------------------------------------------------------------------------------

    # A manifest names its own kind too, but callers know it: so it never has to be recognised.

    async def apply(self, kind: Kind, manifest: Object, *, manager: str | None = None, force: bool = True) -> Object:
        """Server-side apply. `force` takes fields from other managers; without it they are a ConflictError.

        `manager`: if it isn't ours.
        """
        query = {"fieldManager": manager or self._managers.objects, "force": str(force).lower()}
        return await self._write("apply", kind, manifest, "PATCH", _path(kind, manifest), query=query, headers=APPLY)

    async def apply_status(self, kind: Kind, manifest: Object) -> Object:
        """`manifest`: its apiVersion, kind, name, namespace and all fields of the status that are ours."""
        query = {"fieldManager": self._managers.status, "force": "true"}
        path = _path(kind, manifest, "status")
        return await self._write("apply-status", kind, manifest, "PATCH", path, query=query, headers=APPLY)

    async def scale(self, kind: Kind, name: str, namespace: str, replicas: int) -> Object:
        """By the scale subresource, as autoscalers do it."""
        call = Call("scale", kind.name, _full_name(namespace, name))
        where, query = kind.path(namespace, name, "scale"), {"fieldManager": self._managers.objects}
        change: Object = {"spec": {"replicas": replicas}}
        return await self._call(call, "PATCH", where, query=query, headers=MERGE, body=change, is_write=True)

    async def create(self, kind: Kind, manifest: Object, *, dry_run: bool = False) -> Object:
        """`dry_run`: admission judges it, and nothing is created."""
        query = {"dryRun": "All"} if dry_run else {}
        path = kind.path(manifest["metadata"].get("namespace"))
        return await self._write("create", kind, manifest, "POST", path, query=query)

    async def replace(self, kind: Kind, manifest: Object) -> Object:
        """With the resourceVersion in it: ConflictError if it has changed meanwhile."""
        return await self._write("replace", kind, manifest, "PUT", _path(kind, manifest))

    async def delete(self, kind: Kind, name: str, namespace: str | None = None, *, only: Object | None = None) -> bool:
        """False if it doesn't exist. `only`: delete just this version. Objects that it owns are collected later."""
        call = Call("delete", kind.name, _full_name(namespace, name))
        seen = {name: only["metadata"][name] for name in ("uid", "resourceVersion")} if only else {}
        options: Object = {"propagationPolicy": "Background", "preconditions": seen}
        try:
            await self._call(call, "DELETE", kind.path(namespace, name), body=options, is_write=True)
        except NotFoundError:
            return False
        return True

    async def _write(
        self,
        verb: str,
        kind: Kind,
        manifest: Object,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] = JSON,
    ) -> Object:
        metadata = manifest["metadata"]
        call = Call(verb, kind.name, _full_name(metadata.get("namespace"), metadata["name"]))
        return await self._call(call, method, path, query=query, headers=headers, body=manifest, is_write=True)

    # --- requests ---------------------------------------------------------------------------------------------------

    async def _call(
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
        except NoResponseError as error:
            return _NotNow(UnavailableError(call, str(error)))
        except TooLongError as error:
            raise TooLargeError(call, str(error)) from None
        finally:
            seconds = time.monotonic() - began
            self._metrics.count_call(call.verb, call.kind, answer.code if answer else None, seconds)
        return await _read(call, answer)


class _NotNow:
    """The outcome of a try that is worth a retry."""

    def __init__(self, error: KubeError, retry_after: float = 0.0) -> None:
        self.error, self.retry_after = error, retry_after


async def _read(call: Call, answer: ApiResponse) -> Object | _NotNow:
    if answer.code < 300:
        thing: Object = await large_json.loads(answer.data)
        return thing
    error = error_of(call, answer.code, answer.data)
    if is_retried(answer.code):
        return _NotNow(error, retry_after(answer.headers))
    raise error


async def _add(items: Objects, found: Objects, keep: Callable[[Object], Object]) -> None:
    """Without a field selector, there is one step for each page; with one, thousands may come at once."""
    for first in range(0, len(found), PAGE):
        items += map(keep, found[first : first + PAGE])
        await asyncio.sleep(0)


def _which(item: Object) -> Object:
    return {"metadata": {name: item["metadata"].get(name) for name in WHICH}}


def _path(kind: Kind, manifest: Object, subresource: str | None = None) -> str:
    metadata: Mapping[str, Any] = manifest["metadata"]
    return kind.path(metadata.get("namespace"), metadata["name"], subresource)


def _full_name(namespace: str | None, name: str) -> str:
    return f"{namespace}/{name}" if namespace else name
