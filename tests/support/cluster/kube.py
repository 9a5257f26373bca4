"""Talks to a cluster through its own kubectl, and waits for things by watching them.

Errors carry kubectl's words. A wait that is in vain says what it waited for and what was there instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from support.builders.objects import Object

Predicate = Callable[[Object], bool]

FIELD_MANAGER = "slipway-tests"
LINE_LIMIT = 1 << 24  # bytes: kubectl writes each event as one line, however large the object


class KubectlError(Exception):
    """kubectl refused or failed; the message is its own."""


class WaitedInVainError(AssertionError):
    """What a test waited for did not come."""


@dataclass(frozen=True)
class Event:
    """One change that a watch has seen: ADDED (what was there at its begin, too), MODIFIED or DELETED."""

    type: str
    object: Object

    @property
    def deleted(self) -> bool:
        return self.type == "DELETED"


@dataclass(frozen=True)
class Kube:
    """A cluster, seen from one of its namespaces."""

    kubectl: Path
    kubeconfig: Path | None  # None: as kubectl itself finds it
    cache_folder: Path
    namespace: str = "default"

    def within(self, namespace: str) -> Kube:
        return replace(self, namespace=namespace)

    def command(self, *arguments: str) -> list[str]:
        kubeconfig = [f"--kubeconfig={self.kubeconfig}"] if self.kubeconfig else []
        return [
            str(self.kubectl),
            *kubeconfig,
            f"--cache-dir={self.cache_folder}",
            f"--namespace={self.namespace}",
            *arguments,
        ]

    async def run(self, *arguments: str, stdin: str | None = None) -> str:
        """Runs kubectl and returns what it printed."""
        process = await asyncio.create_subprocess_exec(
            *self.command(*arguments),
            stdin=asyncio.subprocess.PIPE if stdin is not None else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with _ended(process):
            output, errors = await process.communicate(None if stdin is None else stdin.encode())
        if process.returncode:
            raise KubectlError(errors.decode(errors="replace").strip())
        return output.decode()

    # --- reading and writing ----------------------------------------------------------------------------------------

    async def apply(self, *objects: Object | str) -> None:
        """Applies objects, or texts of YAML, server-side."""
        command = ["apply", "--server-side", "--force-conflicts", f"--field-manager={FIELD_MANAGER}", "-f", "-"]
        for text in (thing for thing in objects if isinstance(thing, str)):
            await self.run(*command, stdin=text)
        items = [thing for thing in objects if not isinstance(thing, str)]
        if items:
            await self.run(*command, stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))

    async def get(self, kind: str, name: str) -> Object:
        return _object(await self.run("get", kind, name, "--output=json"))

    async def find(self, kind: str, name: str) -> Object | None:
        """The object, or None if it isn't there."""
        found = await self.run("get", kind, name, "--output=json", "--ignore-not-found")
        return _object(found) if found else None

    async def select(self, kind: str, selector: str = "") -> list[Object]:
        """All of the kind that have the labels."""
        listed = _object(await self.run("get", kind, f"--selector={selector}", "--output=json"))
        items: list[Object] = listed["items"]
        return items

    async def patch(self, kind: str, name: str, change: Mapping[str, Any], *, subresource: str = "") -> None:
        """A merge patch."""
        where = [f"--subresource={subresource}"] if subresource else []
        await self.run("patch", kind, name, *where, "--type=merge", f"--patch={json.dumps(change)}")

    async def scale(self, kind: str, name: str, replicas: int) -> None:
        """Through the scale subresource, as autoscalers do it."""
        await self.patch(kind, name, {"spec": {"replicas": replicas}}, subresource="scale")

    async def delete(self, kind: str, name: str, *, wait: bool = False) -> None:
        await self.run("delete", kind, name, "--ignore-not-found", f"--wait={str(wait).lower()}")

    async def logs(self, pod: str) -> str:
        return await self.run("logs", pod, "--all-containers", "--ignore-errors")

    # --- waiting ----------------------------------------------------------------------------------------------------

    async def watch(self, kind: str, *, name: str = "", selector: str = "") -> AsyncGenerator[Event]:
        """All that is there, then every change. Opened again, from the begin, when the API server ends it."""
        narrowed = [f"--field-selector=metadata.name={name}"] if name else []
        watching = ["--watch", "--output-watch-events", "--output=json"]
        command = self.command("get", kind, *narrowed, f"--selector={selector}", *watching)
        while True:
            process = await asyncio.create_subprocess_exec(
                *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, limit=LINE_LIMIT
            )
            assert process.stdout
            assert process.stderr
            async with _ended(process):
                async for line in process.stdout:
                    event = json.loads(line)
                    yield Event(event["type"], event["object"])
                errors = await process.stderr.read()
            if process.returncode:
                raise KubectlError(errors.decode(errors="replace").strip())

    async def wait_for(self, kind: str, name: str, predicate: Predicate, *, timeout: float = 60) -> Object:
        """The object, as soon as it exists and is as the predicate wants it."""
        async with contextlib.aclosing(self.watch(kind, name=name)) as events:
            return await _first(events, predicate, f"{kind}/{name} is not as it should be", timeout)

    @contextlib.asynccontextmanager
    async def passing(self, kind: str, name: str, predicate: Predicate, *, timeout: float = 60) -> AsyncGenerator[None]:
        """What the block does makes the object be as the predicate wants it, be it for a moment: none is missed."""
        async with contextlib.aclosing(self.watch(kind, name=name)) as events:
            await anext(events)  # as it was before
            yield
            await _first(events, predicate, f"{kind}/{name} never was as it should be", timeout)

    async def wait_for_condition(
        self, kind: str, name: str, condition: str, *, status: str = "True", timeout: float = 60
    ) -> Object:
        return await self.wait_for(kind, name, lambda thing: condition_of(thing, condition) == status, timeout=timeout)

    async def wait_for_any(self, kind: str, selector: str, predicate: Predicate, *, timeout: float = 60) -> Object:
        """The first object of the selection that is as the predicate wants it."""
        async with contextlib.aclosing(self.watch(kind, selector=selector)) as events:
            return await _first(events, predicate, f"no {kind} with {selector} is as it should be", timeout)

    async def wait_gone(self, kind: str, name: str, *, timeout: float = 60) -> None:
        await self.run("wait", "--for=delete", f"{kind}/{name}", f"--timeout={timeout}s")

    @contextlib.asynccontextmanager
    async def recording(self, kind: str, *, selector: str = "") -> AsyncGenerator[list[Object]]:
        """All objects that appear while the block lasts, or were there at its begin."""
        seen: list[Object] = []

        async def record() -> None:
            async with contextlib.aclosing(self.watch(kind, selector=selector)) as events:
                async for event in events:
                    if event.type == "ADDED":
                        seen.append(event.object)

        recorder = asyncio.create_task(record())
        try:
            yield seen
            assert not recorder.done(), f"the watch of {kind} ended: {recorder.exception()}"
        finally:
            recorder.cancel()
            with contextlib.suppress(asyncio.CancelledError, KubectlError):
                await recorder

    async def never(
        self, kind: str, predicate: Predicate = lambda _: True, *, selector: str = "", seconds: float
    ) -> None:
        """Watches for so long that no object of the selection is as the predicate says (by default: none is)."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), contextlib.aclosing(self.watch(kind, selector=selector)) as events:
                async for event in events:
                    if predicate(event.object):
                        raise AssertionError(f"this should never have been: {kind} {summary(event.object)}")


def condition_of(thing: Object, condition: str) -> str | None:
    """The status of a condition of the object, if the condition is there."""
    conditions = thing.get("status", {}).get("conditions") or []  # of a new definition, they are null
    return next((each["status"] for each in conditions if each["type"] == condition), None)


def is_ready(thing: Object) -> bool:
    return condition_of(thing, "Ready") == "True"


def summary(thing: Object) -> str:
    """An object in one line: its name and status."""
    return f"{thing['metadata']['name']} with status {json.dumps(thing.get('status', {}))}"


def _object(text: str) -> Object:
    found: Object = json.loads(text)
    return found


async def _first(events: AsyncIterator[Event], predicate: Predicate, complaint: str, timeout: float) -> Object:
    """Of the objects that a watch tells of, that are there and as the predicate wants them."""
    there: dict[str, Object] = {}
    try:
        async with asyncio.timeout(timeout):
            async for event in events:
                name = event.object["metadata"]["name"]
                if event.deleted:
                    there.pop(name, None)
                elif predicate(event.object):
                    return event.object
                else:
                    there[name] = event.object
    except TimeoutError:
        seen = ", ".join(map(summary, there.values())) or "it isn't there"
        raise WaitedInVainError(f"after {timeout:.0f} s, {complaint}: {seen}") from None
    raise AssertionError("a watch never ends by itself")


@contextlib.asynccontextmanager
async def _ended(process: asyncio.subprocess.Process) -> AsyncGenerator[None]:
    """Sees to it that the process has ended, and all that it wrote was taken, before anything goes on."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        raise
    finally:
        await process.communicate()
