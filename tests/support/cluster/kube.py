"""Runs kubectl against a cluster, and waits for objects by watching them.

Errors carry kubectl's message. A wait that fails says what it waited for and what was there instead.
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
NOT_SERVED = "could not find the requested resource"  # of a kind that discovery knows
MOST_TRIES = 25
LINE_LIMIT = 1 << 24  # bytes: kubectl writes each event as one line, however large the object is


class KubectlError(Exception):
    """kubectl failed; the message is its own."""


class WaitedInVainError(AssertionError):
    """The state that a test waited for did not occur in time."""


@dataclass(frozen=True)
class Event:
    """One event of a watch: ADDED (also for each object that exists when the watch starts), MODIFIED or DELETED."""

    type: str
    object: Object

    @property
    def deleted(self) -> bool:
        return self.type == "DELETED"


@dataclass(frozen=True)
class Kube:
    """kubectl for one namespace of a cluster."""

    kubectl: Path
    kubeconfig: Path | None  # None: as kubectl finds it on its own
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
        """Applies objects, or YAML as strings, server-side."""
        command = ["apply", "--server-side", "--force-conflicts", f"--field-manager={FIELD_MANAGER}", "-f", "-"]
        for text in (thing for thing in objects if isinstance(thing, str)):
            await self.run(*command, stdin=text)
        items = [thing for thing in objects if not isinstance(thing, str)]
        if items:
            await self.run(*command, stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))

    async def get(self, kind: str, name: str) -> Object:
        return _object(await self.run("get", kind, name, "--output=json"))

    async def find(self, kind: str, name: str) -> Object | None:
        """Returns the object, or None if it doesn't exist."""
        found = await self.run("get", kind, name, "--output=json", "--ignore-not-found")
        return _object(found) if found else None

    async def select(self, kind: str, selector: str = "") -> list[Object]:
        """Returns all objects of the kind with these labels."""
        listed = _object(await self.run("get", kind, f"--selector={selector}", "--output=json"))
        items: list[Object] = listed["items"]
        return items

    async def patch(self, kind: str, name: str, change: Mapping[str, Any], *, subresource: str = "") -> None:
        """Sends a merge patch."""
        where = [f"--subresource={subresource}"] if subresource else []
        await self.run("patch", kind, name, *where, "--type=merge", f"--patch={json.dumps(change)}")

    async def scale(self, kind: str, name: str, replicas: int) -> None:
        """Sets the replicas through the scale subresource, as autoscalers do."""
        await self.patch(kind, name, {"spec": {"replicas": replicas}}, subresource="scale")

    async def delete(self, kind: str, name: str, *, wait: bool = False) -> None:
        await self.run("delete", kind, name, "--ignore-not-found", f"--wait={str(wait).lower()}")

    async def logs(self, pod: str) -> str:
        return await self.run("logs", pod, "--all-containers", "--ignore-errors")

    # --- waiting ----------------------------------------------------------------------------------------------------

    async def watch(self, kind: str, *, name: str = "", selector: str = "") -> AsyncGenerator[Event]:
        """Yields all existing objects, then every change. When the API server ends the watch, it starts again from
        scratch; also when it doesn't serve the kind for a moment, because its CRD was just replaced."""
        narrowed = [f"--field-selector=metadata.name={name}"] if name else []
        watching = ["--watch", "--output-watch-events", "--output=json"]
        command = self.command("get", kind, *narrowed, f"--selector={selector}", *watching)
        tries = MOST_TRIES
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
                message = errors.decode(errors="replace").strip()
                tries -= 1
                if NOT_SERVED not in message or not tries:
                    raise KubectlError(message)
                await asyncio.sleep(0.2)

    async def wait_for(self, kind: str, name: str, predicate: Predicate, *, timeout: float = 60) -> Object:
        """Waits until the object exists and the predicate holds; returns it."""
        async with contextlib.aclosing(self.watch(kind, name=name)) as events:
            return await _first(events, predicate, f"{kind}/{name} doesn't meet the predicate", timeout)

    @contextlib.asynccontextmanager
    async def passing(self, kind: str, name: str, predicate: Predicate, *, timeout: float = 60) -> AsyncGenerator[None]:
        """Fails unless the object meets the predicate during or after the block; states that last only a moment
        count."""
        async with contextlib.aclosing(self.watch(kind, name=name)) as events:
            await anext(events)  # its state before the block
            yield
            await _first(events, predicate, f"{kind}/{name} never met the predicate", timeout)

    async def wait_for_condition(
        self, kind: str, name: str, condition: str, *, status: str = "True", timeout: float = 60
    ) -> Object:
        return await self.wait_for(kind, name, lambda thing: condition_of(thing, condition) == status, timeout=timeout)

    async def wait_for_any(self, kind: str, selector: str, predicate: Predicate, *, timeout: float = 60) -> Object:
        """Waits until the predicate holds for an object of the selection; returns the first one."""
        async with contextlib.aclosing(self.watch(kind, selector=selector)) as events:
            return await _first(events, predicate, f"no {kind} with {selector} meets the predicate", timeout)

    async def wait_gone(self, kind: str, name: str, *, timeout: float = 60) -> None:
        await self.run("wait", "--for=delete", f"{kind}/{name}", f"--timeout={timeout}s")

    @contextlib.asynccontextmanager
    async def recording(self, kind: str, *, selector: str = "") -> AsyncGenerator[list[Object]]:
        """Yields a list of all objects that exist when the block starts or appear while it lasts."""
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
        """Watches for `seconds`, and fails if the predicate holds for an object (by default: if any object exists)."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), contextlib.aclosing(self.watch(kind, selector=selector)) as events:
                async for event in events:
                    if predicate(event.object):
                        raise AssertionError(f"this must never happen: {kind} {summary(event.object)}")


def condition_of(thing: Object, condition: str) -> str | None:
    """Returns the status of a condition, or None if the object doesn't have it."""
    conditions = thing.get("status", {}).get("conditions") or []  # null in a new CRD
    return next((each["status"] for each in conditions if each["type"] == condition), None)


def is_ready(thing: Object) -> bool:
    return condition_of(thing, "Ready") == "True"


def summary(thing: Object) -> str:
    """Describes an object in one line: its name and status."""
    return f"{thing['metadata']['name']} with status {json.dumps(thing.get('status', {}))}"


def _object(text: str) -> Object:
    found: Object = json.loads(text)
    return found


async def _first(events: AsyncIterator[Event], predicate: Predicate, complaint: str, timeout: float) -> Object:
    """Returns the first object of a watch for which the predicate holds."""
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
        seen = ", ".join(map(summary, there.values())) or "it doesn't exist"
        raise WaitedInVainError(f"after {timeout:.0f} s, {complaint}: {seen}") from None
    raise AssertionError("a watch never ends on its own")


@contextlib.asynccontextmanager
async def _ended(process: asyncio.subprocess.Process) -> AsyncGenerator[None]:
    """Ends the process and reads the rest of its output before the caller goes on."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        raise
    finally:
        await process.communicate()
