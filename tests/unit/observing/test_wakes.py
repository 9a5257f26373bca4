"""Ends of starts from zero, found in two statuses."""

from typing import Any

import pytest
from slipway.observing.wakes import wakes_between


def status(state: str, *, desired: int = 0, ready: int = 0, pod: str = "") -> dict[str, Any]:
    replicas = {"desired": desired, "ready": ready}
    return {"state": state, "replicas": replicas, **({"lastColdStart": {"ready": "1s", "pod": pod}} if pod else {})}


IDLE, WAKING = status("Idle"), status("Waking", desired=1)
FAILED = status("Failed", desired=1)
SERVING = status("Serving", desired=1, ready=1, pod="a")


@pytest.mark.parametrize(
    ("before", "after", "ends"),
    [
        (None, IDLE, []),
        (IDLE, WAKING, []),
        (WAKING, SERVING, ["ready"]),
        (None, SERVING, ["ready"]),
        (SERVING, status("Serving", desired=2, ready=2, pod="a"), []),
        (SERVING, status("Idle", pod="a"), []),
        (status("Waking", desired=1, pod="a"), status("Serving", desired=1, ready=1, pod="b"), ["ready"]),
        (WAKING, FAILED, ["failed"]),
        (WAKING, status("Failed"), ["failed"]),
        (IDLE, FAILED, ["failed"]),
        (FAILED, FAILED, []),
        (FAILED, status("Failed"), []),
        (FAILED, WAKING, []),
        (IDLE, status("Failed"), []),
        (SERVING, status("Failed", desired=1, pod="a"), []),
    ],
    ids=[
        "created",
        "started",
        "ready",
        "of an object that had no status",
        "a second replica is no start from zero",
        "asleep",
        "ready again",
        "failed",
        "failed, and at zero again when that is noticed",
        "failed before anything was written of it",
        "still failed",
        "sent to zero after a failure",
        "tried again",
        "failed without a start",
        "failed while it served",
    ],
)
def test_each_end_is_found_once(before: Any, after: Any, ends: list[str]) -> None:
    assert list(wakes_between(before, after)) == ends
