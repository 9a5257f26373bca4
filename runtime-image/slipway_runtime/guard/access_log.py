"""One line for each request: who, what, how it ended, how long it took. Never what was asked or answered."""

import json
import sys
from datetime import UTC, datetime

from slipway_runtime.guard.visit import Visit


def write(visit: Visit) -> None:
    sys.stdout.write(line(visit, datetime.now(UTC)) + "\n")
    sys.stdout.flush()


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
