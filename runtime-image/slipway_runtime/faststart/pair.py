"""The engine core and the server as two processes, and what becomes known of them."""

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
    exit_code: int  # as subprocess tells it: negative for a signal

    def __str__(self) -> str:
        how = f"with exit code {self.exit_code}" if self.exit_code >= 0 else f"by signal {-self.exit_code}"
        return f"{NAMES[self.who]} ended {how}"


@dataclass(frozen=True)
class SignalReceived:
    """This process was sent a signal."""

    signal: int


Occurrence = ChildMessage | ChildEnded | SignalReceived


@dataclass
class Progress:
    """How far the two have come. Pure."""

    ready: set[str] = field(default_factory=set)
    flags: dict[str, str] = field(default_factory=dict)
    trouble: str = ""

    def hear(self, news: ChildMessage) -> None:
        match news.event:
            case ChildEvent.FLAGS:
                self.flags[news.who] = news.value
                if len(set(self.flags.values())) > 1:
                    self.blame("the two processes don't understand the flags alike")
            case ChildEvent.GIVES_UP:
                self.blame(f"{NAMES[news.who]} finds that {news.value}")
            case ChildEvent.READY:
                self.ready.add(news.who)

    def blame(self, trouble: str) -> None:
        """What comes first is the cause."""
        self.trouble = self.trouble or trouble

    @property
    def serves(self) -> bool:
        return self.ready == {CORE, SERVER} and set(self.flags) == {CORE, SERVER} and not self.trouble


class Pair:
    """Whatever happens is put into one queue, in its order; a signal's handler may put something there, too.

    As a context it leaves neither of the two behind, whatever becomes of the launcher's part in it.
    """

    def __init__(self, flags: Sequence[str], environments: Mapping[str, Mapping[str, str]]) -> None:
        self.occurrences: queue.SimpleQueue[Occurrence] = queue.SimpleQueue()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        try:
            for who, environment in environments.items():
                self._begin(who, flags, environment)
        except BaseException:  # of one process, or a thread, too many, say: nobody would end the other one
            self.__exit__()
            raise

    def _begin(self, who: str, flags: Sequence[str], environment: Mapping[str, str]) -> None:
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
        threading.Thread(target=self._listen, args=(who, reading), name=f"{who}-news", daemon=True).start()
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
        """Lets it end by itself, for a while."""
        self._processes[who].send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._processes[who].wait(patience)
        self._processes[who].kill()
        return self._processes[who].wait()

    def tell(self, who: str, number: int) -> None:
        self._processes[who].send_signal(number)
