"""What has happened to requests since the activator started, as plain numbers; `metrics` exports them. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum


class CloseReason(StrEnum):
    """Why a connection was closed without a response, or without the rest of one. An idle one isn't counted, nor one
    whose client has gone."""

    SILENT = "Silent"  # nothing was received in the time for a head, or nothing that was authorized
    HEAD_TOO_SLOW = "HeadTooSlow"  # a head was received in part only
    MADE_ROOM = "MadeRoom"  # it was silent or idle, and another one needed its place
    ANSWER_NOT_TAKEN = "AnswerNotTaken"  # the client read nothing for too long, or there was no place for the rest


@dataclass
class ProxyCounters:
    connections: int = 0  # that are open
    wakes: int = 0  # requests that found no replica and no wake in progress
    forwarded: int = 0  # requests that were sent to a replica, each once
    retries: int = 0  # of them, sent again after a try that failed
    refused: Counter[str] = field(default_factory=Counter)  # by the reason that the client was sent, or `CloseReason`
