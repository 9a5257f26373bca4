"""How many connections the process can have: each is an open file, and so is the one to a replica that it leads to."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import resource
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from slipway.process import guarded_port

logger = logging.getLogger(__name__)

OWN_FILES = Path("/proc/self/fd")
AT_OWN_PORTS = 2 * guarded_port.MOST + guarded_port.MOST_KNOWN  # that of probes, and KEDA's, with known clients
FOR_THE_REST = 256 + guarded_port.FILES * AT_OWN_PORTS  # files: models' ports, watches, and requests to pods, too
FOR_EACH = 2  # a client's connection, and a replica's
MOST_IDLE = 1024  # idle connections to replicas, of all models
OF_IDLE = 4  # at most every fourth file that is left is one


def connections(wanted: int) -> int:
    """As many as are wanted, or as fit into the limit of open files, which is raised as far as possible."""
    limit = raised_limit()
    left = limit - FOR_THE_REST - idle(limit)
    fitting = wanted if limit == resource.RLIM_INFINITY else max(1, left // FOR_EACH)
    if fitting < wanted:
        needed = wanted * FOR_EACH + FOR_THE_REST + MOST_IDLE
        logger.warning(
            "Only %d connections at a time fit into the limit of %d open files: raise it to %d", fitting, limit, needed
        )
    return min(wanted, fitting)


def idle(limit: int) -> int:
    """Idle connections to replicas: fewer where the limit is low, because clients have priority."""
    return MOST_IDLE if limit == resource.RLIM_INFINITY else max(1, min(MOST_IDLE, (limit - FOR_THE_REST) // OF_IDLE))


def raised_limit() -> int:
    """The highest limit that the process may have: each model has a socket of its own, too. The lower one with which it
    starts is meant for programs that call `select`.
    """
    limit, highest = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit != highest:
        with contextlib.suppress(OSError, ValueError):  # the kernel's own limit may be lower by now
            resource.setrlimit(resource.RLIMIT_NOFILE, (highest, highest))
            return highest
    return limit


class OpenFiles:
    """Counts the process's open files, without making its event loop wait.

    The kernel knows their number since Linux 6.2. Before that they are listed, which takes some tens of milliseconds
    for ten thousand: so a thread does it, and what is returned is the number of the last time. A listing is an open
    file itself, so where none can be made for want of one, all are taken.
    """

    def __init__(self) -> None:
        self._listed = _list()
        self._listing: Future[int] | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="open files")

    def used(self) -> float:
        """The share of the limit that is taken; 0 without a limit."""
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return 0.0 if limit == resource.RLIM_INFINITY else self._open() / limit

    def _open(self) -> int:
        if known := OWN_FILES.stat().st_size:
            return known
        if self._listing is None or self._listing.done():
            if self._listing and (listed := _listed_by(self._listing)) is not None:
                self._listed = listed
            self._listing = self._thread.submit(_list)
        return self._listed


def _list() -> int:
    try:
        with os.scandir(OWN_FILES) as files:
            return sum(1 for _ in files)
    except OSError as error:
        if error.errno != errno.EMFILE:
            raise
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return limit


def _listed_by(listing: Future[int]) -> int | None:
    """None: it failed, and the number before it counts until the next."""
    if error := listing.exception():
        logger.warning("Open files can't be counted: %s", error)
        return None
    return listing.result()
