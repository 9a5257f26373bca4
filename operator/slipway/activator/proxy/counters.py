"""What has happened to requests since the activator began, as plain numbers; `meters` tells Prometheus. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum


class CloseReason(StrEnum):
    """Why a connection was closed without an answer, or without the rest of one. What an idle one is closed for isn't
    counted, nor that a client has gone."""

    SILENT = "Silent"  # nothing has come in the time for a head, or nothing that was let in
    HEAD_TOO_SLOW = "HeadTooSlow"  # not all of one has
    MADE_ROOM = "MadeRoom"  # it was silent or idle, and another one came that found no place
    ANSWER_NOT_TAKEN = "AnswerNotTaken"  # for so long, or with so little place for it, that it was given up


@dataclass
class ProxyCounters:
    connections: int = 0  # that are open
    wakes: int = 0  # requests that found no replica and no wake under way
    forwarded: int = 0  # requests that were sent to a replica, each once
    retries: int = 0  # of them, sent again after a try that failed
    refused: Counter[str] = field(default_factory=Counter)  # by the reason that the client was told, or `Closed`
