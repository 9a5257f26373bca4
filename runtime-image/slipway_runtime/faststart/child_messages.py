"""The messages of the two children to the launcher, one line each, and their lines in the log."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import MutableMapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

PIPE = "SLIPWAY_FASTSTART_MESSAGES"  # the file descriptor of the engine core's pipe, in its environment
SERVER_PIPE = "SLIPWAY_FASTSTART_SERVER_MESSAGES"  # that of the server's, which is forked off the engine core
PREFIX = "slipway-runtime: fast start: "


class ChildEvent(StrEnum):
    STARTED = "started"  # the process exists; the value is its number
    FLAGS = "flags"  # the flags were understood; the value is a digest of the resulting arguments
    GIVES_UP = "gives-up"  # something is not as expected; the value says what
    READY = "ready"  # the engine core can take requests, or the server is about to


@dataclass(frozen=True)
class ChildMessage:
    who: str
    event: ChildEvent
    value: str = ""

    @classmethod
    def read(cls, who: str, line: str) -> Self:
        event, _, value = line.rstrip("\n").partition(" ")
        try:
            return cls(who, ChildEvent(event), value)
        except ValueError:
            return cls(who, ChildEvent.GIVES_UP, f"its message {line!r} has no known form")


class MessageSender:
    """A child's end of the pipe to the launcher."""

    def __init__(self, who: str, pipe: int) -> None:
        self.who, self._pipe = who, pipe

    @classmethod
    def of(cls, who: str, environment: MutableMapping[str, str]) -> Self:
        """Takes the pipe out of the environment, so that processes which the child starts can't send messages in its
        name."""
        pipe = int(environment.pop(PIPE))
        os.set_inheritable(pipe, False)
        return cls(who, pipe)

    def close(self) -> None:
        os.close(self._pipe)

    def send(self, event: ChildEvent, value: str = "") -> None:
        os.write(self._pipe, f"{event} {' '.join(value.split())}\n".encode())

    def say(self, sentence: str) -> None:
        """Writes to the log. The supervisor reads the phases of a start from these lines."""
        say(f"{self.who} {sentence}")


def say(sentence: str) -> None:
    with _saying:
        sys.stderr.write(f"{PREFIX}{sentence}\n")
        sys.stderr.flush()


_saying = threading.Lock()
os.register_at_fork(before=_saying.acquire, after_in_parent=_saying.release, after_in_child=_saying.release)
"""Otherwise a forked process could never write, if another thread held the stream's lock at that moment."""
