"""Progress of long work: which steps run, for how long, how long they took last time, and where their full log is."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import re
import shlex
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Protocol, TextIO, TypeVar

from slipway_devcluster.commands import Commands
from slipway_devcluster.errors import StepFailed
from slipway_devcluster.locks import locked
from slipway_devcluster.paths import Cache

T = TypeVar("T")

BRIEF = 0.3  # a shorter step gets no line
LONG = 3.0  # a longer step is announced where lines can't be redrawn
REMINDER = 30.0  # seconds between two lines about a running step there
LOGS_KEPT = 50
LAST_LINES = 15


# --- words -----------------------------------------------------------------------------------------------------------


def in_words(seconds: float) -> str:
    """0.42 → "0.4 s", 75 → "1 min 15 s", 3700 → "1 h 1 min"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def running_line(name: str, elapsed: float, last: float | None) -> str:
    return f"{name} … {in_words(elapsed)}" + (f" of about {in_words(last)}" if last else "")


def finished_line(name: str, elapsed: float, last: float | None) -> str:
    return f"{name} took {in_words(elapsed)}" + (f" (last time {in_words(last)})" if last else "")


def failure(name: str, command: Sequence[str], end: str, *, output: bytes, log: Path) -> str:
    """The message of a failed step: the command, how it ended, its last lines, and the file with its full output."""
    lines = output.decode(errors="replace").rstrip().splitlines()[-LAST_LINES:]
    said = "".join(f"\n    {line}" for line in lines)
    return f"{name} failed: `{shlex.join(command)}` {end}; the full log is {log}{said}"


def how_it_ended(returncode: int) -> str:
    if returncode >= 0:
        return f"exited with {returncode}"
    return f"was ended by {signal.Signals(-returncode).name}"


# --- durations and logs ----------------------------------------------------------------------------------------------


class Durations:
    """How long each step took last time. Without a readable file, there are no estimates."""

    def __init__(self, cache: Cache, file: str = "durations.json") -> None:
        self._file = cache.root / file
        self._lock = cache.locks / self._file.stem

    def last(self, name: str) -> float | None:
        return self._read().get(name)

    def remember(self, name: str, seconds: float) -> None:
        with locked(self._lock):
            text = json.dumps({**self._read(), name: round(seconds, 1)}, indent=1, sort_keys=True)
            unfinished = self._file.with_suffix(".unfinished")
            unfinished.write_text(text + "\n")
            unfinished.replace(self._file)

    def _read(self) -> dict[str, float]:
        try:
            found = json.loads(self._file.read_text())
        except (OSError, ValueError):
            return {}
        if not isinstance(found, dict):
            return {}
        return {name: float(value) for name, value in found.items() if isinstance(value, int | float)}


def new_log(folder: Path, name: str) -> Path:
    """The path of a new log; the oldest logs are removed."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in sorted(folder.glob("*.log"))[: -LOGS_KEPT + 1]:
        old.unlink(missing_ok=True)
    moment = datetime.datetime.now().astimezone().strftime("%Y%m%d-%H%M%S.%f")
    slug = re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-")[:60]
    return folder / f"{moment}-{slug}.log"


# --- steps -----------------------------------------------------------------------------------------------------------


class Step:
    """One named piece of work with a log of its own."""

    def __init__(self, name: str, log: Path, *, started: float, last: float | None, commands: Commands) -> None:
        self.name = name
        self.log = log
        self.started = started
        self.last = last
        self.cpu_seconds = 0.0
        """Used so far by the commands of this step and their children."""
        self._commands = commands

    def run(
        self,
        argv: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        input: bytes | None = None,  # noqa: A002 - named as in subprocess.run
    ) -> None:
        """Run a command with its output in the log; `env` is added to this process's environment."""
        command = [str(part) for part in argv]
        with self.log.open("ab") as log:
            log.write(f"$ {shlex.join(command)}\n".encode())
            log.flush()
            start = log.tell()
            try:
                ended = self._commands.run(command, output=log, given=input, env={**os.environ, **(env or {})}, cwd=cwd)
            except OSError as error:
                raise self._failed(command, f"could not be started ({error.strerror})", start) from error
        self.cpu_seconds += ended.cpu_seconds
        if ended.code:
            raise self._failed(command, how_it_ended(ended.code), start)

    def _failed(self, command: Sequence[str], end: str, start: int) -> StepFailed:
        with self.log.open("rb") as log:
            log.seek(start)
            return StepFailed(failure(self.name, command, end, output=log.read(), log=self.log))


class Steps:
    """Shows on stderr which steps are running, in one thread or in several."""

    def __init__(
        self,
        cache: Cache,
        *,
        stream: TextIO | None = None,
        verbose: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        stream = stream or sys.stderr
        self._cache = cache
        self._durations = Durations(cache)
        self._cpu_times = Durations(cache, "cpu-times.json")
        self._display: Display = LiveDisplay(stream) if stream.isatty() else LineDisplay(stream)
        self._verbose = verbose
        self._clock = clock
        self._commands = Commands()
        self._running: list[Step] = []
        self._refreshing = False
        self._lock = threading.RLock()

    def say(self, text: str) -> None:
        """Print one line above the running steps."""
        with self._lock:
            self._display.line(text)

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[Step]:
        step = Step(
            name,
            new_log(self._cache.logs, name),
            started=self._clock(),
            last=self._durations.last(name),
            commands=self._commands,
        )
        self._begin(step)
        try:
            yield step
        except BaseException as error:
            end = "was interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
            self._end(step, f"{name} {end} after {in_words(self._clock() - step.started)}")
            raise
        elapsed = self._clock() - step.started
        brief = elapsed < BRIEF and not self._verbose
        self._end(step, None if brief else finished_line(name, elapsed, step.last))
        self._durations.remember(name, elapsed)
        self._cpu_times.remember(name, step.cpu_seconds)

    def parallel(self, *tasks: Callable[[], T]) -> list[T]:
        """Run the tasks in threads of their own. The first failure, or Ctrl-C, ends the commands of the others."""
        try:
            with ThreadPoolExecutor(max_workers=len(tasks) or 1) as pool, self._commands.ended_on_failure():
                futures = [pool.submit(task) for task in tasks]
                raise_first_failure(wait(futures, return_when=FIRST_EXCEPTION).done)
        finally:
            self._commands.allow_again()
        return [future.result() for future in futures]

    def refresh(self) -> None:
        """Update the display of the running steps; called several times a second while there are any."""
        with self._lock:
            now = self._clock()
            self._display.show([(step, now - step.started) for step in self._running])

    def _begin(self, step: Step) -> None:
        with self._lock:
            self._running.append(step)
            if not self._refreshing:
                self._refreshing = True
                threading.Thread(target=self._refresh_while_running, daemon=True).start()

    def _end(self, step: Step, last_words: str | None) -> None:
        with self._lock:
            self._running.remove(step)
            if last_words:
                self._display.line(last_words)
            self.refresh()

    def _refresh_while_running(self) -> None:
        while True:
            with self._lock:
                if not self._running:
                    self._refreshing = False
                    return
                self.refresh()
            time.sleep(BRIEF)


def raise_first_failure(done: set[Future[T]]) -> None:
    for future in done:
        future.result()


# --- on the screen ---------------------------------------------------------------------------------------------------


class Display(Protocol):
    def line(self, text: str) -> None:
        """Print a line that stays."""

    def show(self, running: Sequence[tuple[Step, float]]) -> None:
        """Show the running steps, each with its elapsed seconds."""


class LineDisplay:
    """For files and CI: only lines that stay, so few of them, and only about long steps."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._next_sign: dict[Step, float] = {}

    def line(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()

    def show(self, running: Sequence[tuple[Step, float]]) -> None:
        self._next_sign = {step: self._next_sign.get(step, LONG) for step, _ in running}
        for step, elapsed in running:
            if elapsed >= self._next_sign[step]:
                self.line(running_line(step.name, elapsed, step.last))
                self._next_sign[step] = (elapsed // REMINDER + 1) * REMINDER


class LiveDisplay:
    """For terminals: the last lines show the running steps, and are redrawn."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._shown: list[str] = []

    def line(self, text: str) -> None:
        shown = self._shown
        self._draw([])
        self._stream.write(text + "\n")
        self._draw(shown)

    def show(self, running: Sequence[tuple[Step, float]]) -> None:
        width = shutil.get_terminal_size().columns - 1  # a wrapped line could not be erased
        lines = [running_line(step.name, elapsed, step.last) for step, elapsed in running if elapsed >= BRIEF]
        self._draw([line[:width] for line in lines])

    def _draw(self, lines: list[str]) -> None:
        take_back = f"\x1b[{len(self._shown)}A\x1b[J" if self._shown else ""
        self._stream.write(take_back + "".join(f"{line}\n" for line in lines))
        self._stream.flush()
        self._shown = lines
