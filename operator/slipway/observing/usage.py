"""What a pod reports as usage: which pods to read, and what of it is believed. Pure.

All of it is the tenant's, who may run anything in a pod: numbers are bounded here, and compared with the time that has
passed in the ledger; and only the LLMDeployment that the pod belongs to ever gets them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from slipway.api.engine import engine_name
from slipway.contract import pod as contract
from slipway.contract.engines import BUILT_IN
from slipway.objects.metadata import uid_of
from slipway.observing.ledger import Use
from slipway.observing.measured import address_of, started_at
from slipway.observing.snapshot import Snapshot
from slipway.observing.speculation import Drafts

MOST_SECONDS, MOST_TOKENS = 1e10, 1 << 53


class RunningPod(NamedTuple):
    """A pod whose engine runs. It is another one when it starts to drain, so that it is read once more then."""

    uid: str
    address: str
    is_leaving: bool


class Usage(NamedTuple):
    use: Use
    drafts: Drafts | None  # None: it doesn't speculate


def running_pods(snapshot: Snapshot) -> Iterator[RunningPod]:
    """Those of Slipway's own engines, whose runtime reports usage."""
    if engine_name(snapshot.llm_deployment.get("spec")) not in {each.name for each in BUILT_IN}:
        return
    for raw in snapshot.pods:
        if (address := address_of(raw)) and started_at(raw.get("status", {})):
            yield RunningPod(uid_of(raw), address, "deletionTimestamp" in raw["metadata"])


def usage_in(info: bytes) -> Usage | None:
    """None: this isn't the response of a runtime that reports usage."""
    try:
        said = json.loads(info)
    except (ValueError, RecursionError):
        return None
    found = said.get(contract.USAGE) if isinstance(said, dict) else None
    if not isinstance(found, dict) or "busySeconds" not in found:
        return None
    use = Use(_seconds(found["busySeconds"]), _count(found.get("promptTokens")), _count(found.get("outputTokens")))
    return Usage(use, _drafts(found.get("speculative")))


def _drafts(found: Any) -> Drafts | None:
    if not isinstance(found, dict):
        return None
    drafts, drafted, accepted = (_count(found.get(name)) for name in ("drafts", "draftTokens", "acceptedTokens"))
    return Drafts(drafts, drafted, accepted) if drafts <= drafted and accepted <= drafted else None


def _seconds(value: object) -> float:
    if isinstance(value, float):
        return min(max(value, 0.0), MOST_SECONDS) if math.isfinite(value) else 0.0
    return float(min(_count(value), MOST_SECONDS))


def _count(value: object) -> int:
    return min(max(value, 0), MOST_TOKENS) if isinstance(value, int) and not isinstance(value, bool) else 0
