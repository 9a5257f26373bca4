"""One log line for each request: who, what, how it ended, how long it took. Never a prompt or a response.

And one for each exception that the engine does not turn into a response itself.
"""

import json
import logging
import sys
import traceback
from datetime import UTC, datetime

from slipway_runtime.guard.visit import Visit

LONGEST_TRACEBACK = 16_000  # characters, from its end

logger = logging.getLogger(__name__)


def write(visit: Visit) -> None:
    sys.stdout.write(line(visit, datetime.now(UTC)) + "\n")
    sys.stdout.flush()


def write_failure(visit: Visit, error: Exception) -> None:
    """Logs an exception of the engine's app as JSON, so that the diagnosis doesn't take a client's words in it for a
    cause."""
    told = "".join(traceback.format_exception(error))[-LONGEST_TRACEBACK:]
    words = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "event": "failure",
        "path": visit.path,
        "request_id": visit.request_id,
        "trace_id": visit.trace.trace_id,
        "traceback": told,
    }
    logger.error(json.dumps(words, separators=(",", ":")))


def line(visit: Visit, now: datetime) -> str:
    words = {
        "time": now.isoformat(timespec="milliseconds"),
        "event": "request",
        "method": visit.method,
        "path": visit.path,
        "status": visit.status,
        "key": visit.owner,
        "request_id": visit.request_id,
        "trace_id": visit.trace.trace_id,
        "ms": round(1e3 * (visit.ended - visit.started), 1),
    }
    if visit.reason:
        words["reason"] = visit.reason
    if visit.stream and visit.first:
        words["first_token_ms"] = round(1e3 * (visit.first - visit.started), 1)
    if visit.prompt_tokens or visit.completion_tokens:
        words["prompt_tokens"] = visit.prompt_tokens
        words["completion_tokens"] = visit.completion_tokens
    return json.dumps(words, separators=(",", ":"))
