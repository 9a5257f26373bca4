"""Whether a request whose try at a replica failed may be tried again. Pure."""

from __future__ import annotations

from enum import Enum, auto

MOST_TRIES = 3  # of one request, at replicas that may have worked on it


class UpstreamFailure(Enum):
    """How a try at a replica ended without a response that counts."""

    NO_CONNECTION = auto()  # it couldn't be opened
    TURNED_AWAY = auto()  # 503 of the guard: the replica admits no requests now
    UNAVAILABLE = auto()  # any other 503
    EMPTY_ABORT = auto()  # an engine that is shutting down responds with 200, "abort" and no text
    BROKEN = auto()  # the connection broke before the first byte of the response's body
    STALE = auto()  # the same on a connection that was kept open: the replica may have closed it before the request
    SILENT = auto()  # nothing was received for longer than any request takes
    NONSENSE = auto()  # what was received isn't HTTP
    CUT = auto()  # the connection broke within the response


WITHOUT_WORK = frozenset({UpstreamFailure.NO_CONNECTION, UpstreamFailure.TURNED_AWAY})
RETRIED = WITHOUT_WORK | {
    UpstreamFailure.UNAVAILABLE,
    UpstreamFailure.EMPTY_ABORT,
    UpstreamFailure.BROKEN,
    UpstreamFailure.STALE,
}


def may_retry(failure: UpstreamFailure, *, sent: bool, replayable: bool, tries: int) -> bool:
    """`sent`: the client has a byte of the response. `replayable`: the request's entire body is still stored.
    `tries`: how often replicas may have worked on it."""
    return failure in RETRIED and not sent and replayable and (failure in WITHOUT_WORK or tries < MOST_TRIES)
