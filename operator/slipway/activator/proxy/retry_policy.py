"""When a request whose try at a replica failed may be tried again. Pure."""

from __future__ import annotations

from enum import Enum, auto

MOST_TRIES = 3  # of one request, at replicas that may have worked on it


class UpstreamFailure(Enum):
    """How a try at a replica ended without an answer that counts."""

    NO_CONNECTION = auto()  # it couldn't be made
    TURNED_AWAY = auto()  # 503 of the guard: the replica takes no requests now
    UNAVAILABLE = auto()  # 503 otherwise
    EMPTY_ABORT = auto()  # an engine that is ending says 200, "abort", and not a word
    BROKEN = auto()  # the connection broke before one byte of the answer's body came
    STALE = auto()  # the same on one that was kept open: it may have ended before the request came
    SILENT = auto()  # nothing came for longer than any request takes
    NONSENSE = auto()  # what came isn't HTTP
    CUT = auto()  # the connection broke within the answer


WITHOUT_WORK = frozenset({UpstreamFailure.NO_CONNECTION, UpstreamFailure.TURNED_AWAY})
RETRIED = WITHOUT_WORK | {
    UpstreamFailure.UNAVAILABLE,
    UpstreamFailure.EMPTY_ABORT,
    UpstreamFailure.BROKEN,
    UpstreamFailure.STALE,
}


def may_retry(failure: UpstreamFailure, *, sent: bool, replayable: bool, tries: int) -> bool:
    """`sent`: the client has a byte of the answer. `replayable`: all of the request's body is still there. `tries`: how
    often replicas may have worked on it."""
    return failure in RETRIED and not sent and replayable and (failure in WITHOUT_WORK or tries < MOST_TRIES)
