"""How many connections the process can have: each is an open file, and so is the one to a replica that it leads to."""

from __future__ import annotations

import logging
import resource

log = logging.getLogger(__name__)

FOR_THE_REST = 256  # files: ports, watches, KEDA, and questions to pods
FOR_EACH = 2  # a client's connection, and a replica's


def connections(wanted: int) -> int:
    """As many as are wanted, or as fit into the limit of open files, which is raised if it may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted * FOR_EACH + FOR_THE_REST
    raised = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if soft != resource.RLIM_INFINITY and soft < raised:
        resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
        soft = raised
    fitting = wanted if soft == resource.RLIM_INFINITY else max(1, (soft - FOR_THE_REST) // FOR_EACH)
    if fitting < wanted:
        log.warning(
            "Only %d connections at a time fit into the limit of %d open files: raise it to %d", fitting, soft, needed
        )
    return min(wanted, fitting)
