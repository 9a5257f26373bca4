"""What a pod reports of itself: which pods to read, and what of it is believed. Pure.

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
from slipway.contract.buckets import OF_TIMES, Boundaries
from slipway.contract.engines import BUILT_IN
from slipway.objects.metadata import name_of, uid_of
from slipway.observing.ledger import Use
from slipway.observing.measured import address_of, started_at
from slipway.observing.snapshot import Snapshot
from slipway.observing.speculation import Drafts

MOST_SECONDS, MOST_TOKENS = 1e10, 1 << 53
MOST_BOUNDARIES = 64  # of a histogram


class RunningPod(NamedTuple):
    """A pod whose engine runs. It is another one when it starts to drain, so that it is read once more then."""

    uid: str
    address: str
    is_leaving: bool
    name: str = ""
    started_at: str = ""  # as the kubelet writes it


class Usage(NamedTuple):
    use: Use
    drafts: Drafts | None  # None: it doesn't speculate


class Report(NamedTuple):
    """An older runtime has neither."""

    usage: Usage | None
    boundaries: Boundaries  # of histograms of times


def reports_use(snapshot: Snapshot) -> bool:
    """Whether its engine has Slipway's runtime."""
    return engine_name(snapshot.llm_deployment.get("spec")) in {each.name for each in BUILT_IN}


def running_pods(snapshot: Snapshot) -> Iterator[RunningPod]:
    """Those that can report something."""
    if not reports_use(snapshot):
        return
    for raw in snapshot.pods:
        if (address := address_of(raw)) and (started := started_at(raw.get("status", {}))):
            is_leaving = "deletionTimestamp" in raw["metadata"]
            yield RunningPod(uid_of(raw), address, is_leaving, name_of(raw), started)


def report_in(info: bytes) -> Report | None:
    """None: this isn't the response of a runtime."""
    try:
        said = json.loads(info)
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict):
        return None
    return Report(_usage(said.get(contract.USAGE)), _boundaries(said.get(contract.BOUNDARIES)))


def _usage(found: Any) -> Usage | None:
    if not isinstance(found, dict) or "busySeconds" not in found:
        return None
    use = Use(_seconds(found["busySeconds"]), _count(found.get("promptTokens")), _count(found.get("outputTokens")))
    return Usage(use, _drafts(found.get("speculative")))


def _boundaries(found: Any) -> Boundaries:
    """Those of this version are one object for all pods."""
    given = {name: found.get(name) for name in OF_TIMES} if isinstance(found, dict) else {}
    numbers = {name: each[:MOST_BOUNDARIES] for name, each in given.items() if isinstance(each, list)}
    read = {name: tuple(float(each) for each in them if _is_number(each)) for name, them in numbers.items()}
    return OF_TIMES if read == OF_TIMES else read


def _drafts(found: Any) -> Drafts | None:
    if not isinstance(found, dict):
        return None
    drafts, drafted, accepted = (_count(found.get(name)) for name in ("drafts", "draftTokens", "acceptedTokens"))
    return Drafts(drafts, drafted, accepted) if drafts <= drafted and accepted <= drafted else None


def _seconds(value: object) -> float:
    if isinstance(value, float):
        return min(max(value, 0.0), MOST_SECONDS) if math.isfinite(value) else 0.0
    return float(min(_count(value), MOST_SECONDS))


def _is_number(value: object) -> bool:
    """One that a boundary may be."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < MOST_SECONDS


def _count(value: object) -> int:
    return min(max(value, 0), MOST_TOKENS) if isinstance(value, int) and not isinstance(value, bool) else 0
