"""The engine core and the server as two processes, and what becomes known about them."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from slipway_runtime.engines.engine import module
from slipway_runtime.faststart.child_messages import PIPE, ChildEvent, ChildMessage

CORE, SERVER = "core", "server"
NAMES = {CORE: "the engine core", SERVER: "the server"}


@dataclass(frozen=True)
class ChildEnded:
    who: str
    exit_code: int  # as in subprocess: negative for a signal

    def __str__(self) -> str:
        how = f"with exit code {self.exit_code}" if self.exit_code >= 0 else f"by signal {-self.exit_code}"
        return f"{NAMES[self.who]} ended {how}"


@dataclass(frozen=True)
class SignalReceived:
    """The launcher has received a signal."""

    signal: int


Occurrence = ChildMessage | ChildEnded | SignalReceived


@dataclass
class Progress:
    """How far the start of the two has come. Pure."""

    ready: set[str] = field(default_factory=set)
    flags: dict[str, str] = field(default_factory=dict)
    trouble: str = ""

    def receive(self, message: ChildMessage) -> None:
        match message.event:
            case ChildEvent.FLAGS:
                self.flags[message.who] = message.value
                if len(set(self.flags.values())) > 1:
                    self.fail("the two processes read the flags differently")
            case ChildEvent.GIVES_UP:
                self.fail(f"{NAMES[message.who]} reports that {message.value}")
            case ChildEvent.READY:
                self.ready.add(message.who)

    def fail(self, trouble: str) -> None:
        """Records the first trouble: it is the cause of what follows."""
        self.trouble = self.trouble or trouble

    @property
    def serves(self) -> bool:
        return self.ready == {CORE, SERVER} and set(self.flags) == {CORE, SERVER} and not self.trouble


class Pair:
    """The two processes. Everything that happens to them goes into one queue; a signal handler may use it, too.

    As a context manager it leaves neither process behind, whatever happens to the launcher's own code.
    """

    def __init__(self, flags: Sequence[str], environments: Mapping[str, Mapping[str, str]]) -> None:
        self.occurrences: queue.SimpleQueue[Occurrence] = queue.SimpleQueue()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        try:
            for who, environment in environments.items():
                self._start_child(who, flags, environment)
        except BaseException:  # for example at a limit of processes or threads: nothing else would end the first child
            self.__exit__()
            raise

    def _start_child(self, who: str, flags: Sequence[str], environment: Mapping[str, str]) -> None:
        reading, writing = os.pipe()
        try:
            self._processes[who] = subprocess.Popen(
                [*module("slipway_runtime.faststart.child"), who, *flags],
                env={**environment, PIPE: str(writing)},
                pass_fds=[writing],
            )
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        threading.Thread(target=self._listen, args=(who, reading), name=f"{who}-messages", daemon=True).start()
        threading.Thread(target=self._wait, args=(who,), name=f"{who}-end", daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes.values():
            process.kill()
        for process in self._processes.values():
            process.wait()

    def _listen(self, who: str, reading: int) -> None:
        with os.fdopen(reading) as lines:
            for line in lines:
                self.occurrences.put(ChildMessage.read(who, line))

    def _wait(self, who: str) -> None:
        self.occurrences.put(ChildEnded(who, self._processes[who].wait()))

    def terminate(self, who: str, patience: float) -> int:
        """Lets a child end on its own for a while, then kills it."""
        self._processes[who].send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._processes[who].wait(patience)
        self._processes[who].kill()
        return self._processes[who].wait()

    def send_signal(self, who: str, number: int) -> None:
        self._processes[who].send_signal(number)
