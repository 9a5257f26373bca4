"""The engine core and the server as two processes, and what becomes known about them."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, Self

from slipway_runtime.engines.engine import module
from slipway_runtime.faststart.child_messages import PIPE, SERVER_PIPE, ChildEvent, ChildMessage
from slipway_runtime.faststart.forking import VARIABLES
from slipway_runtime.faststart.linux import adopt_orphans

CORE, SERVER = "core", "server"
NAMES = {CORE: "the engine core", SERVER: "the server"}
LAST_WORDS = 3.0  # seconds for the messages of a child that has ended
AT_THE_END = 5.0  # seconds for a killed engine core's fork to be known, so that it can be killed, too


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


class ChildProcess(Protocol):
    """The part of subprocess.Popen that is needed here."""

    def wait(self, timeout: float | None = None) -> int: ...

    def send_signal(self, sig: int) -> None: ...


class Adopted:
    """A child that another process has forked."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._exit_code: int | None = None
        self._ended, self._reaping = threading.Event(), threading.Lock()
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)  # fails if it is not a child
        threading.Thread(target=self._reap, name=f"reap-{pid}", daemon=True).start()

    def wait(self, timeout: float | None = None) -> int:
        if not self._ended.wait(timeout) or self._exit_code is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
        return self._exit_code

    def send_signal(self, sig: int) -> None:
        with self._reaping:  # once it was reaped, its number may be another process's
            if self._exit_code is None:
                os.kill(self.pid, sig)

    def _reap(self) -> None:
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        with self._reaping:
            self._exit_code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        self._ended.set()


class Pair:
    """The two processes. Everything that happens to them goes into one queue; a signal handler may use it, too.

    The launcher starts the engine core, which forks the server. As a context manager it leaves neither process behind,
    whatever happens to the launcher's own code.
    """

    def __init__(self, flags: Sequence[str], environment: Mapping[str, str], of_server: Mapping[str, str]) -> None:
        """`of_server`: variables that the server has and the engine core must not have."""
        self.occurrences: queue.SimpleQueue[Occurrence] = queue.SimpleQueue()
        self._processes: dict[str, ChildProcess] = {}
        self._listeners: dict[str, threading.Thread] = {}
        adopt_orphans(True)
        try:
            self._start_core(flags, environment, of_server)
        except BaseException:  # for example at a limit of threads: nothing else would end the child
            self.__exit__()
            raise

    def _start_core(self, flags: Sequence[str], environment: Mapping[str, str], of_server: Mapping[str, str]) -> None:
        with contextlib.ExitStack() as theirs, contextlib.ExitStack() as ours:
            pipes = {who: os.pipe() for who in (CORE, SERVER)}
            for reading, writing in pipes.values():
                ours.callback(os.close, reading)
                theirs.callback(os.close, writing)
            variables = os.memfd_create("variables")
            theirs.callback(os.close, variables)
            os.write(variables, json.dumps(dict(of_server)).encode())
            given = {PIPE: pipes[CORE][1], SERVER_PIPE: pipes[SERVER][1], VARIABLES: variables}
            core = subprocess.Popen(
                [*module("slipway_runtime.faststart.child"), *flags],
                env={**environment, **{name: str(descriptor) for name, descriptor in given.items()}},
                pass_fds=tuple(given.values()),
            )
            self._processes[CORE] = core
            ours.pop_all()  # each listener closes its own
        for who, (reading, _) in pipes.items():
            self._listeners[who] = _in_thread(f"{who}-messages", self._listen, who, reading)
        self._watch(CORE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        until = time.monotonic() + AT_THE_END
        self._kill(CORE)
        listener = self._listeners.get(SERVER)
        while listener and listener.is_alive() and time.monotonic() < until:
            self._kill(SERVER)  # it may have become known only now
            listener.join(0.01)
        self._kill(SERVER)
        adopt_orphans(False)

    def _kill(self, who: str) -> None:
        if process := self._processes.get(who):
            process.send_signal(signal.SIGKILL)
            process.wait()

    def _listen(self, who: str, reading: int) -> None:
        with os.fdopen(reading) as lines:
            for line in lines:
                message = ChildMessage.read(who, line)
                if message.event == ChildEvent.STARTED:
                    self._adopt(who, message.value)
                else:
                    self.occurrences.put(message)
        if who == SERVER and SERVER not in self._processes:
            self._report_unknown_end()

    def _report_unknown_end(self) -> None:
        """Reports that the server has ended before its number was known, unless it is because the engine core ends."""
        try:
            self._processes[CORE].wait(LAST_WORDS)
        except subprocess.TimeoutExpired:
            self.occurrences.put(ChildMessage(SERVER, ChildEvent.GIVES_UP, "its process ended before it was known"))

    def _adopt(self, who: str, pid: str) -> None:
        try:
            self._processes[who] = Adopted(int(pid))
        except (ValueError, OSError) as error:
            self.occurrences.put(ChildMessage(who, ChildEvent.GIVES_UP, f"its process {pid} is unknown: {error}"))
        else:
            self._watch(who)

    def _watch(self, who: str) -> None:
        _in_thread(f"{who}-end", self._wait, who)

    def _wait(self, who: str) -> None:
        """Reports the end after the last message, which may say why it ends."""
        exit_code = self._processes[who].wait()
        if listener := self._listeners.get(who):
            listener.join(LAST_WORDS)
        self.occurrences.put(ChildEnded(who, exit_code))

    def terminate(self, who: str, patience: float) -> int:
        """Lets a child end on its own for a while, then kills it."""
        process = self._processes[who]
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(patience)
        process.send_signal(signal.SIGKILL)
        return process.wait()

    def send_signal(self, who: str, number: int) -> None:
        self._processes[who].send_signal(number)


def _in_thread(name: str, body: Callable[..., object], *arguments: object) -> threading.Thread:
    thread = threading.Thread(target=body, args=arguments, name=name, daemon=True)
    thread.start()
    return thread
