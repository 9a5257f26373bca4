"""The messages of the two children to the launcher, one line each, and their lines in the log."""

from __future__ import annotations

import os
import sys
from collections.abc import MutableMapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

PIPE = "SLIPWAY_FASTSTART_MESSAGES"  # the file descriptor of the pipe, in the children's environment
PREFIX = "slipway-runtime: fast start: "


class ChildEvent(StrEnum):
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

    def send(self, event: ChildEvent, value: str = "") -> None:
        os.write(self._pipe, f"{event} {' '.join(value.split())}\n".encode())

    def say(self, sentence: str) -> None:
        """Writes to the log. The supervisor reads the phases of a start from these lines."""
        say(f"{self.who} {sentence}")


def say(sentence: str) -> None:
    sys.stderr.write(f"{PREFIX}{sentence}\n")
    sys.stderr.flush()
