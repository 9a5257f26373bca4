"""Reads LLMDeployments and what belongs to them; what a user may not read is left out, and said."""

from __future__ import annotations

import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from difflib import get_close_matches
from urllib.parse import quote

from slipway.objects.kinds import LLM_DEPLOYMENT, Kind

from slipway_cli.cluster.kubectl import ApiError, Kubectl, Object
from slipway_cli.cluster.world import World, paths_of
from slipway_cli.problems import Misused, Problem

NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
AT_ONCE = 4  # requests, each a process
NOT_INSTALLED = (
    "The cluster doesn't know LLMDeployments, so Slipway isn't installed there: install its charts, or choose another "
    "context by --context."
)
LISTED = "`kubectl llm status --all-namespaces` lists them."
BASIC = frozenset({"Unreachable", "Unauthorized", "NoContext", "NoKubectl"})  # no other request would do better


class NotThereError(Problem):
    """There is no such LLMDeployment."""


def read_one(kubectl: Kubectl, name: str, namespace: str) -> Object:
    if not NAME.fullmatch(name):
        hint = _hint(kubectl, name, namespace)
        raise Misused(f"{name!r} is not a name of an object: {hint}{kubectl.told(LISTED)}")
    try:
        return kubectl.get(LLM_DEPLOYMENT.path(namespace, quote(name, safe="")))
    except ApiError as error:
        hint = _hint(kubectl, name, namespace) if error.word == "NotFound" else ""
        raise _explained(kubectl, error, f"LLMDeployment {name} in namespace {namespace}", hint) from None


def _hint(kubectl: Kubectl, name: str, namespace: str) -> str:
    """The name that was meant, as where it has capitals."""
    try:
        there = kubectl.get(LLM_DEPLOYMENT.path(namespace)).get("items") or []
    except ApiError:
        return ""
    close = get_close_matches(name.lower(), [each["metadata"]["name"] for each in there], n=1)
    return f"did you mean {close[0]}? " if close else ""


def read_all(kubectl: Kubectl, namespace: str | None, selector: str = "") -> list[Object]:
    """`namespace`: None: all of them."""
    path = LLM_DEPLOYMENT.path(namespace) + (f"?labelSelector={quote(selector)}" if selector else "")
    try:
        return list(kubectl.get(path).get("items") or [])
    except ApiError as error:
        where = f"in namespace {namespace}" if namespace else "of the whole cluster"
        raise _explained(kubectl, error, f"LLMDeployments {where}") from None


def _explained(kubectl: Kubectl, error: ApiError, what: str, hint: str = "") -> Problem:
    if error.word == "NoKind":
        return ApiError("NoKind", NOT_INSTALLED)
    if error.word == "NotFound":
        return NotThereError(f"There is no {what}: {hint}{kubectl.told(LISTED)}")
    if error.word == "Forbidden":
        return ApiError(
            "Forbidden",
            f"You may not read {what}: ask for the role view there, to which Slipway's chart adds what this needs "
            f"({error.message})",
        )
    return error


def read_world(
    kubectl: Kubectl, name: str, namespace: str, *further: Kind, only: frozenset[Kind] | None = None
) -> World:
    """`further`: kinds of which all objects of the namespace are needed, too; `only`: of these kinds, besides the
    LLMDeployment."""
    llm = read_one(kubectl, name, namespace)
    wanted = {kind: path for kind, path in paths_of(name, namespace).items() if only is None or kind in only}
    wanted |= {kind: kind.path(namespace) for kind in further}
    objects, unreadable = read_lists(kubectl, wanted)
    return World(now=datetime.now(UTC), llm=llm, objects=objects, unreadable=unreadable)


def read_lists(kubectl: Kubectl, wanted: Mapping[Kind, str]) -> tuple[dict[Kind, tuple[Object, ...]], dict[Kind, str]]:
    """The objects by kind, and why those of other kinds couldn't be read."""
    objects: dict[Kind, tuple[Object, ...]] = {}
    unreadable: dict[Kind, str] = {}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = {kind: pool.submit(kubectl.get, path) for kind, path in wanted.items()}
    for kind, answer in answers.items():
        try:
            found = answer.result()
        except ApiError as error:
            if error.word in BASIC:
                raise
            unreadable[kind] = error.word
            continue
        items = found.get("items") or []
        objects[kind] = tuple({"apiVersion": kind.api_version, "kind": kind.name, **each} for each in items)
    return objects, unreadable
