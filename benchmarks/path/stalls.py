"""What blocks an event loop: its longest steps, each with its name, and garbage collections.

A step is one callback of the loop: for example a task's code from one `await` to the next, or the reading of a socket.
It serves one client, and blocks all others meanwhile. Between two polls of its sockets, the loop runs one step for each
client that has work; their total is how long a client waits that has just sent something. Both are reported in
milliseconds of the thread's CPU time, which is independent of other load on the machine. The position of a long step is
found by a thread that samples every other millisecond.
"""

from __future__ import annotations

import asyncio
import gc
import resource
import sys
import threading
import time
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, TypeVarTuple, Unpack

import uvloop

TICK = 0.001
LONG = 5.0
"""Milliseconds from which a step is reported by name."""
DEEP = 4  # functions

Ts = TypeVarTuple("Ts")


@dataclass
class Stalls:
    """The longest of each kind since the last report."""

    clock: float = 0.0  # between two ticks, whatever else the machine did meanwhile
    turn: float = 0.0  # between two ticks: all steps together
    step: float = 0.0  # without the garbage
    garbage: float = 0.0
    long: dict[str, float] = field(default_factory=dict)  # steps and searches

    def told(self) -> dict[str, Any]:
        said = {each: getattr(self, each) for each in ("clock", "turn", "step", "garbage", "long")}
        self.clock = self.turn = self.step = self.garbage = 0.0
        self.long = {}
        return said

    async def tick(self) -> None:
        """For ever."""
        while True:
            clock, processor = time.monotonic(), time.thread_time()
            await asyncio.sleep(TICK)
            self.clock = max(self.clock, (time.monotonic() - clock - TICK) * 1000)
            self.turn = max(self.turn, (time.thread_time() - processor) * 1000)

    def remember(self, name: str, milliseconds: float) -> None:
        self.long[name] = max(self.long.get(name, 0.0), milliseconds)


class Loop(uvloop.Loop):
    """Times each of its steps."""

    def __init__(self) -> None:
        super().__init__()
        self.stalls = Stalls()
        self._searching = 0.0  # milliseconds, in all
        self._search_began = 0.0
        self._step_began: float | None = None
        self._seen = ""  # where this step has been, after it had become a long one
        gc.callbacks.append(self._search)
        threading.Thread(target=self._look, args=(threading.get_ident(),), daemon=True).start()

    def call_soon(
        self, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        return super().call_soon(self.step, callback, *args, context=context)

    def call_later(
        self, delay: float, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return super().call_later(delay, self.step, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return super().call_at(when, self.step, callback, *args, context=context)

    def step(self, callback: Callable[..., Any], *args: Any) -> Any:
        began, in_kernel, searching = time.thread_time(), _in_kernel(), self._searching
        self._step_began, self._seen = time.monotonic(), ""
        try:
            return callback(*args)
        finally:
            self._step_began = None
            took = (time.thread_time() - began) * 1000 - (self._searching - searching)
            self.stalls.step = max(self.stalls.step, took)
            if took > LONG:
                share = (_in_kernel() - in_kernel) / took
                where = ", mostly in the kernel" if share > 0.5 else ""
                self.stalls.remember((self._seen or _name(callback)) + where, took)

    def watch(self, kind: type, *names: str) -> None:
        """Also measure steps that the loop calls directly: the methods of a protocol."""
        for name in names:
            setattr(kind, name, self._timed(getattr(kind, name)))

    def _timed(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any) -> Any:
            return self.step(method, *args)

        return timed

    def _look(self, thread: int) -> None:
        """Sample by the clock, since a thread can't read another's CPU time; only steps that used CPU are reported."""
        while True:
            time.sleep(2 * TICK)
            began = self._step_began
            if began is not None and not self._seen and (time.monotonic() - began) * 1000 > LONG / 2:
                self._seen = _place(sys._current_frames().get(thread))

    def _search(self, phase: str, info: dict[str, int]) -> None:
        now = time.thread_time() * 1000
        if phase == "start":
            self._search_began = now
            return
        took = now - self._search_began
        self._searching += took
        self.stalls.garbage = max(self.stalls.garbage, took)
        if took > LONG:
            self.stalls.remember(f"garbage, generation {info['generation']}", took)


def _in_kernel() -> float:
    """Milliseconds of this thread in the kernel so far: page faults, and time that the host takes."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_stime * 1000


def _place(frame: FrameType | None) -> str:
    """The innermost functions of ours."""
    names: list[str] = []
    while frame and len(names) < DEEP:
        path = Path(frame.f_code.co_filename)
        if "slipway" in path.parts:
            names.append(f"{path.name}:{frame.f_lineno} {frame.f_code.co_name}")
        frame = frame.f_back
    return " < ".join(names)


def _name(callback: Callable[..., Any]) -> str:
    """Of a task, where it waits now."""
    task = getattr(callback, "__self__", None)
    if not isinstance(task, asyncio.Task):
        return getattr(callback, "__qualname__", repr(callback))
    inner: Any = task.get_coro()
    begun = inner.__qualname__
    while getattr(inner, "cr_await", None) is not None and hasattr(inner.cr_await, "cr_frame"):
        inner = inner.cr_await
    frame = inner.cr_frame
    return f"{begun}, now in {inner.__qualname__}:{frame.f_lineno if frame else 'its end'}"
