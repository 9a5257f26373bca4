"""What pods hold is read of each pod once, however many there are."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from slipway.objects.kinds import Object
from slipway.observing.ledger import Ledger
from slipway.observing.snapshot import Snapshot
from slipway.operator.reconciling.accounting import accounted, with_cost

NOON, MINUTE = datetime(2026, 11, 30, 12, tzinfo=UTC), timedelta(minutes=1)
CREATED = "2026-11-30T11:59:00Z"


def pod(uid: str, *, phase: str = "Running", ended: str = "") -> Object:
    status: Object = {"phase": phase}
    if ended:
        status["containerStatuses"] = [{"name": "kserve-container", "state": {"terminated": {"finishedAt": ended}}}]
    metadata = {"name": uid, "uid": uid, "creationTimestamp": CREATED}
    return {"metadata": metadata, "spec": {"nodeName": "node"}, "status": status}


def snapshot(*pods: Object, now: datetime = NOON) -> Snapshot:
    deployment = {"metadata": {"name": "llama", "namespace": "chat", "creationTimestamp": CREATED}, "spec": {}}
    return Snapshot(now=now, llm_deployment=deployment, pods=pods)


def ledger_of(seen: Snapshot, before: Ledger | None = None) -> Ledger:
    ledger = accounted(seen, before).ledger
    assert ledger
    return ledger


def test_what_a_pod_holds_stays_the_same_object_while_nothing_has_changed() -> None:
    first = ledger_of(snapshot(pod("a")))
    assert ledger_of(snapshot(pod("a"), now=NOON + MINUTE), first).held["a"] is first.held["a"]


@pytest.mark.parametrize("ended", ["", "2026-11-30T12:00:30Z"])
def test_a_pod_that_has_ended_counts_until_then_and_is_not_read_again(ended: str) -> None:
    running = ledger_of(snapshot(pod("a")))
    failed = ledger_of(snapshot(pod("a", phase="Failed", ended=ended), now=NOON + MINUTE), running)
    assert failed.day.sums.held == 60.0 + (30.0 if ended else 60.0)
    later = ledger_of(snapshot(pod("a", phase="Failed", ended="2026-11-30T12:05:00Z"), now=NOON + 9 * MINUTE), failed)
    assert later.day.sums == failed.day.sums
    assert later.held["a"] is failed.held["a"]


@pytest.mark.parametrize(("phase", "ended"), [("Running", ""), ("Failed", ""), ("Failed", CREATED)])
def test_what_a_thousand_pods_hold_is_not_made_again(phase: str, ended: str) -> None:
    """As many as a namespace may have, of which all may have failed."""
    seen = snapshot(*(pod(str(number), phase=phase, ended=ended) for number in range(1000)))
    ledger = ledger_of(seen)
    later = ledger_of(replace(seen, now=NOON + MINUTE), ledger)
    assert all(later.held[uid] is held for uid, held in ledger.held.items())
    assert len(later.held) == 1000


@pytest.mark.parametrize(
    ("pods", "words"),
    [
        ("a", "because pod a doesn't report it. An older version of Slipway made it. Restart the model when"),
        ("ab", "because 2 pods don't report it. An older version of Slipway made them. Restart the model when"),
    ],
)
def test_only_where_an_update_is_available_an_older_version_has_made_silent_pods(pods: str, words: str) -> None:
    seen = snapshot(*map(pod, pods))
    seen = replace(seen, llm_deployment={**seen.llm_deployment, "spec": {"engine": {"name": "llamacpp"}}})
    ledger = ledger_of(seen)
    silent = replace(ledger, held={uid: replace(held, pod=uid, is_silent=True) for uid, held in ledger.held.items()})
    seen = replace(seen, ledger=silent)
    assert words in with_cost({"update": {"version": "2"}}, seen)["cost"]["message"]
    assert "An older version" not in with_cost({}, seen)["cost"]["message"]
