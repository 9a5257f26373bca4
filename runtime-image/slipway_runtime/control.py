"""What the supervisor and the guards inside the engine's processes tell each other: a few words of shared memory.

The supervisor creates the file and writes into it whether requests are welcome; each guard counts what it does in a
slot of its own. No one sends requests to anyone: both sides read memory, so a hung engine cannot hide what it was
doing. A slot belongs to one process; when the process is gone, its counts no longer matter. Every word has 8 bytes, is
aligned, and has one writer.
"""

import fcntl
import mmap
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Self

ENVIRONMENT = "SLIPWAY_CONTROL"

MAGIC = 0x32_59_41_57_50_49_4C_53  # the bytes "SLIPWAY2" in memory
SLOTS = 64
WORDS = 16  # in a slot, and in the header

# The header's words; the supervisor writes them.
_MAGIC, _MODE, _RETRY_AFTER, _SECRET = 0, 1, 2, 4
# A slot's words; its guard writes them.
_PID, _BORN, _IN_FLIGHT, _WAITING, _DONE, _TOKENS, _BEAT, _ARRIVING, *_FURTHER = range(WORDS)
_BUSY, _ENDED, _FAILED = _FURTHER[:3]


def folder() -> Path | None:
    """Returns the folder that the supervisor shares with this engine alone; None where there is no supervisor."""
    shared = os.environ.get(ENVIRONMENT)
    return Path(shared).parent if shared else None


class GuardMode(IntEnum):
    SERVING = 0
    DRAINING = 1
    """New requests, and requests whose bodies are incomplete, are refused; requests in flight continue."""
    ENDING = 2
    """Requests in flight are ended with an error."""


@dataclass(frozen=True, kw_only=True)
class Counts:
    """The sums over all guards."""

    guards: int = 0
    """The number of processes that have a guard."""
    arriving: int = 0
    """Requests whose bodies are incomplete: they take no place of others, and are refused when a drain starts."""
    in_flight: int = 0
    """Requests that were accepted and are not answered yet."""
    waiting: int = 0
    """Those of them for which no part of the response was sent."""
    done: int = 0
    """Requests that the engine has answered. A request that its client gave up, or that was refused or cut, says
    nothing about the engine and is not counted."""
    tokens: int = 0
    """Tokens sent, as far as they can be counted while they pass."""
    beat: float = 0.0
    """When the slowest guard last ran, on the monotonic clock; 0 without guards."""
    busy: float = 0.0
    """Seconds in which at least one request was in flight. Of several guards, those of the busiest."""
    ended: int = 0
    """Requests that were in flight and are over, however they ended."""
    failed: int = 0
    """Those of them that failed through no fault of their client."""


class ControlError(Exception):
    """The control file does not fit this version of slipway-runtime; the message says why."""


class Control:
    """The supervisor's side. It lives as long as the pod."""

    def __init__(self, memory: mmap.mmap) -> None:
        self._memory = memory
        self._words = memoryview(memory).cast("q")

    @classmethod
    def create(cls, path: Path) -> Self:
        """Creates the file, readable by its owner alone, and replaces any that is there."""
        with suppress(FileNotFoundError):
            path.unlink()
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(file, _SIZE)
            control = cls(mmap.mmap(file, _SIZE))
        finally:
            os.close(file)
        control._memory[_SECRET * 8 : _SECRET * 8 + 32] = os.urandom(32)
        control._words[_RETRY_AFTER] = 5
        control._words[_MAGIC] = MAGIC
        return control

    @property
    def secret(self) -> str:
        """The secret by which a guard recognises the supervisor, for the engine's metrics and the warm-up."""
        return self._memory[_SECRET * 8 : _SECRET * 8 + 32].hex()

    @property
    def mode(self) -> GuardMode:
        return GuardMode(self._words[_MODE])

    @mode.setter
    def mode(self, mode: GuardMode) -> None:
        self._words[_MODE] = mode

    @property
    def retry_after(self) -> int:
        """The seconds after which refused clients may try again."""
        return self._words[_RETRY_AFTER]

    @retry_after.setter
    def retry_after(self, seconds: int) -> None:
        self._words[_RETRY_AFTER] = seconds

    def counts(self) -> Counts:
        slots = list(self._living())
        beat = min((slot[_BEAT] for slot in slots), default=0) / 1e9
        busy = max((_busy_ns(slot[_BUSY], time.monotonic_ns()) for slot in slots), default=0) / 1e9
        sums = {name: sum(slot[word] for slot in slots) for name, word in _SUMS.items()}
        return Counts(guards=len(slots), beat=beat, busy=busy, **sums)

    def _living(self) -> Iterator[list[int]]:
        for start in _SLOT_STARTS:
            slot = self._words[start : start + WORDS].tolist()
            if slot[_PID] and born(slot[_PID]) == slot[_BORN]:
                yield slot

    def close(self) -> None:
        self._words.release()
        self._memory.close()


class Slot:
    """A guard's side: what the supervisor wants, and the counts of the guard's own process."""

    def __init__(self, memory: mmap.mmap, number: int) -> None:
        words = memoryview(memory).cast("q")
        self._header = words[:WORDS]
        self._own = words[WORDS * (number + 1) : WORDS * (number + 2)]
        self.secret = bytes(memory[_SECRET * 8 : _SECRET * 8 + 32]).hex()

    @classmethod
    def claim(cls, path: Path) -> Self:
        """Takes a slot of the supervisor's file for this process: a free one, or one whose process is gone."""
        try:
            file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise ControlError(f"{path} cannot be opened: {error.strerror}.") from error
        try:
            return cls._claim_in(file)
        finally:
            os.close(file)

    @classmethod
    def alone(cls) -> Self:
        """Returns a slot in private memory, for a guard that no supervisor started."""
        memory = mmap.mmap(-1, _SIZE)
        memory[_SECRET * 8 : _SECRET * 8 + 32] = os.urandom(32)
        slot = cls(memory, 0)
        slot._header[_RETRY_AFTER] = 5
        return slot

    @classmethod
    def _claim_in(cls, file: int) -> Self:
        if os.fstat(file).st_size != _SIZE:
            raise ControlError("The control file has the wrong size: supervisor and guard are of different versions.")
        memory = mmap.mmap(file, _SIZE)
        with _only_one(file):
            number = _free_slot(memory)
            slot = cls(memory, number)
            for word in range(WORDS):
                slot._own[word] = 0
            slot.beat()
            slot._own[_BORN] = born(os.getpid()) or 0
            slot._own[_PID] = os.getpid()
        return slot

    @property
    def mode(self) -> int:
        return self._header[_MODE]

    @property
    def retry_after(self) -> int:
        return self._header[_RETRY_AFTER]

    def arrives(self) -> None:
        self._own[_ARRIVING] += 1

    def arrived(self) -> None:
        """The body is complete, or the request is refused. If it is accepted, `begin` comes first, so that it is
        counted at any time."""
        self._own[_ARRIVING] -= 1

    def begin(self) -> None:
        if not self._own[_IN_FLIGHT]:
            self._own[_BUSY] = _toggled(self._own[_BUSY], time.monotonic_ns())
        self._own[_IN_FLIGHT] += 1
        self._own[_WAITING] += 1

    def answering(self) -> None:
        self._own[_WAITING] -= 1

    def end(self, *, waiting: bool, done: bool, failed: bool = False) -> None:
        """The request is over. `waiting`: nothing was ever sent for it; `done`: the engine has answered it; `failed`:
        it was not answered, through no fault of its client."""
        self._own[_IN_FLIGHT] -= 1
        self._own[_DONE] += done
        self._own[_ENDED] += 1
        self._own[_FAILED] += failed
        if waiting:
            self._own[_WAITING] -= 1
        if not self._own[_IN_FLIGHT]:
            self._own[_BUSY] = _toggled(self._own[_BUSY], time.monotonic_ns())

    def tokens(self, count: int) -> None:
        self._own[_TOKENS] += count

    def beat(self) -> None:
        self._own[_BEAT] = time.monotonic_ns()


def born(pid: int) -> int | None:
    """Returns when the process started, in ticks since boot; None if it is over. With the pid, that identifies a
    process."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if after_name[0] in (b"Z", b"X") else int(after_name[19])


_SIZE = 8 * WORDS * (1 + SLOTS)
_SLOT_STARTS = range(WORDS, WORDS * (1 + SLOTS), WORDS)
_SUMS = {
    "arriving": _ARRIVING,
    "in_flight": _IN_FLIGHT,
    "waiting": _WAITING,
    "done": _DONE,
    "tokens": _TOKENS,
    "ended": _ENDED,
    "failed": _FAILED,
}


def _toggled(busy: int, now: int) -> int:
    """Starts or ends a busy time. The word has twice the nanoseconds so far, less the start of one that goes on, plus 1
    if one goes on: as one word is written, no reader sees half of a change, and the seconds never go back."""
    return ((busy >> 1) + now) << 1 if busy & 1 else ((busy >> 1) - now) << 1 | 1


def _busy_ns(busy: int, now: int) -> int:
    return (busy >> 1) + (now if busy & 1 else 0)


@contextmanager
def _only_one(file: int) -> Iterator[None]:
    """Lets guards that start at the same time take turns; the lock ends with its process."""
    fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)


def _free_slot(memory: mmap.mmap) -> int:
    with memoryview(memory).cast("q") as words:
        if words[_MAGIC] != MAGIC:
            raise ControlError("The control file was made by another version of slipway-runtime.")
        for number, start in enumerate(_SLOT_STARTS):
            if not words[start + _PID] or born(words[start + _PID]) != words[start + _BORN]:
                return number
    raise ControlError(f"All {SLOTS} slots of the control file are taken; start fewer API server processes.")
