"""One alert that a test provokes: its notification is checked, and can be kept as proof.

    firing = alerts.expects("SlipwayModelFailed", cause="…", remedy="…", namespace=…, llmdeployment=…)
    …                          # the cause
    await firing.fires()
    …                          # the remedy
    await firing.resolves()

With RECORD_FIRED=1, both notifications are stored in monitoring/fired/, from which the reference takes the dates.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from support.monitoring.prometheus import Monitoring
from support.monitoring.receiver import Notification
from support.repository import ROOT

FIRED = ROOT / "monitoring/fired"
RUNBOOKS = ROOT / "runbooks"
SEVERITIES = ("critical", "warning", "info")
NOT_RENDERED = ("{{", "}}", "<no value>", "<error", "%!", "NaN", "${")
KEPT = ("status", "labels", "annotations", "startsAt")
WITHIN = 90.0


@dataclass
class Firing:
    """`cause` and `remedy` say in words what the test does; `labels` are those that the alert must have."""

    own: Monitoring
    alert: str
    cause: str
    remedy: str
    labels: dict[str, str]
    seen_before: int
    began: float = field(default_factory=time.monotonic)
    fired: Notification | None = None
    proof: dict[str, Any] = field(default_factory=dict)

    async def fires(self, *, within: float = WITHIN) -> Notification:
        """Waits for the notification; it must be complete and lead to a runbook."""
        self.fired = await self._until("firing", within)
        complaints = [*complaints_about(self.fired)]
        assert not complaints, f"{self.alert}: {'; '.join(complaints)}"
        self.proof = {
            "alert": self.alert,
            "cause": self.cause,
            "remedy": self.remedy,
            "date": datetime.now(UTC).date().isoformat(),
            "seconds": {"from cause to notification": round(time.monotonic() - self.began)},
            "firing": {each: self.fired.content[each] for each in KEPT},
        }
        self.began = time.monotonic()
        return self.fired

    async def resolves(self, *, within: float = WITHIN) -> Notification:
        """To be called after the remedy: an alert may end and fire again while its cause lasts."""
        assert self.fired, "an alert that didn't fire can't resolve"
        resolved = await asyncio.to_thread(
            self.own.receiver.until_ended, self.alert, within=within, after=self.seen_before, **self.labels
        )
        self.proof["seconds"]["from remedy to notification"] = round(time.monotonic() - self.began)
        self.proof["resolved"] = {each: resolved.content[each] for each in ("startsAt", "endsAt")}
        if os.environ.get("RECORD_FIRED"):
            FIRED.mkdir(exist_ok=True)
            (FIRED / f"{self.alert}.json").write_text(json.dumps(self.proof, indent=2) + "\n")
        return resolved

    async def _until(self, status: str, within: float) -> Notification:
        return await asyncio.to_thread(
            self.own.receiver.until, self.alert, status, within=within, after=self.seen_before, **self.labels
        )


def complaints_about(notification: Notification) -> list[str]:
    """Returns what a person on call would miss in it."""
    annotations, labels = notification.annotations, notification.labels
    found = [f"its annotation {name} is missing" for name in ("summary", "description") if not annotations.get(name)]
    for name, text in annotations.items():
        found += [f"its {name} has {words!r}: {text}" for words in NOT_RENDERED if words in text]
    if labels.get("severity") not in SEVERITIES:
        found.append(f"its severity is {labels.get('severity')!r}")
    runbook = annotations.get("runbook_url", "").rpartition("/")[2].partition(".")[0]
    if runbook != notification.name or not (RUNBOOKS / f"{runbook}.md").is_file():
        found.append(f"its runbook_url {annotations.get('runbook_url')!r} doesn't lead to a file of runbooks/")
    return found
