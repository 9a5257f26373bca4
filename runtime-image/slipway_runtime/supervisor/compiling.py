"""Publishes what the engine has compiled, when the pod is ready and when it is about to end, by another process."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress

from slipway_runtime.compiled.cache import CompileCache
from slipway_runtime.compiled.publishing import Outcome
from slipway_runtime.engines.engine import ISOLATED, module
from slipway_runtime.supervisor.phases import PhaseRecorder

PUBLISHER = "slipway_runtime.compiled.publisher"
MODEST = 10  # the niceness of a publisher while the engine serves; with 19 it may get no CPU at all
LONGEST = 600.0  # seconds; a store that takes longer doesn't answer any more


class Compiling:
    """At most one publisher at a time. `said` gets a sentence for the log when there is something to say."""

    def __init__(self, cache: CompileCache, *, said: Callable[[str], None]) -> None:
        self._cache, self._said = cache, said
        self._publisher: _Publisher | None = None
        self._is_due_again = False
        self._nice = MODEST
        self._then: Callable[[], None] = lambda: None

    def __str__(self) -> str:
        """Returns what is added to the log's line about a start."""
        return "" if self._cache.is_off else f", compile cache {self._cache.report.state}"

    def facts(self) -> dict[str, str]:
        """Returns what is added to the trace of a start."""
        return {"compile_cache": self._cache.report.state}

    def ready(self, phases: PhaseRecorder) -> None:
        """To be called once, when the pod is ready."""
        self._cache.started(compile_seconds=compile_seconds(phases), start_seconds=phases.seconds)

    def publish(self, then: Callable[[], None] = lambda: None, *, nice: int = MODEST) -> None:
        """Publishes what is new. While a publisher runs, another one follows it. `then` is called at the end."""
        self._then, self._nice = then, nice
        if not self._cache.is_on:
            asyncio.get_running_loop().call_soon(then)
        elif self._publisher:
            self._is_due_again = True
        else:
            self._start()

    async def finish(self, patience: float) -> None:
        """Waits for the publisher; at the end of the time it is killed, which leaves the store as it was."""
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                while self._publisher:
                    await self._publisher.ended.wait()
        if self._publisher:
            self._is_due_again = False
            self._publisher.kill("The pod had to end before compiled code was published.")

    def _start(self) -> None:
        self._is_due_again = False
        try:
            self._publisher = _Publisher(self._cache.request(nice=self._nice), self._take)
        except OSError as error:
            self._take(Outcome(reason=f"The process that publishes can't be started: {error.strerror}."))

    def _take(self, outcome: Outcome) -> None:
        self._publisher = None
        before = self._cache.report.reason
        self._cache.publishing_ended(outcome)
        if self._cache.report.reason != before:
            self._said(f"Compile cache: {self._cache.report.reason}")
        if self._is_due_again:
            self._start()
        else:
            self._then()


class _Publisher:
    """One process. Its exit status may be reaped by others, so that the end of its output is its end."""

    def __init__(self, request: str, take: Callable[[Outcome], None]) -> None:
        self.ended = asyncio.Event()
        self._take, self._said = take, b""
        reading, writing = os.pipe()
        try:
            process = subprocess.Popen(
                [*module(PUBLISHER), request],
                stdin=subprocess.DEVNULL,
                stdout=writing,
                stderr=subprocess.DEVNULL,
                env=_environment(os.environ),
                start_new_session=True,
            )
        except OSError:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        self._pid, self._pipe = process.pid, reading
        process.returncode = 0  # so that Popen doesn't wait for it
        os.set_blocking(reading, False)
        loop = asyncio.get_running_loop()
        loop.add_reader(reading, self._read)
        self._timer = loop.call_later(LONGEST, self.kill, f"The store didn't take it within {LONGEST:g} s.")

    def kill(self, reason: str) -> None:
        with suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        self._end(Outcome(reason=reason))

    def _read(self) -> None:
        piece = os.read(self._pipe, 1 << 16)
        self._said += piece
        if not piece:
            self._end(_outcome(self._said))

    def _end(self, outcome: Outcome) -> None:
        if not self.ended.is_set():
            self._timer.cancel()
            asyncio.get_running_loop().remove_reader(self._pipe)
            os.close(self._pipe)
            self.ended.set()
            self._take(outcome)


def compile_seconds(phases: PhaseRecorder) -> float | None:
    """Returns the time from the loaded weights to the end of the profile run; None of engines without these phases."""
    reached = {moment.name: moment.seconds for moment in phases.moments}
    ends = [reached[name] for name in ("compiled", "profiled") if name in reached]
    return max(ends) - reached["loaded"] if ends and "loaded" in reached else None


def _outcome(said: bytes) -> Outcome:
    try:
        return Outcome(**json.loads(said))
    except (ValueError, TypeError):
        return Outcome(reason="The process that publishes was killed, maybe for lack of memory.")


def _environment(environment: Mapping[str, str]) -> dict[str, str]:
    return {**environment, **ISOLATED}
