"""The words of a status, and of alerts, with their meaning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from slipway.api.reasons import ConditionType, Reason, State

from slipway_cli.offline.runbooks import Runbook, names, runbook


@dataclass(frozen=True)
class Word:
    name: str
    kind: str
    meaning: str
    final: str = ""  # yes or no, of reasons

    @property
    def runbook(self) -> Runbook | None:
        return runbook(self.name)

    def as_members(self) -> dict[str, Any]:
        found = self.runbook
        members = {
            "name": self.name,
            "kindOfWord": self.kind,
            "meaning": self.meaning,
            "final": self.final == "yes" if self.final else None,
            "runbook": found.url if found else None,
        }
        return {name: value for name, value in members.items() if value is not None}


def words() -> Mapping[str, Word]:
    """By the word in small letters. A reason wins over a state or condition of its name, since it says more."""
    found = [
        *(Word(str(each), "state", each.meaning) for each in State),
        *(Word(str(each), "condition", each.meaning) for each in ConditionType),
        *(Word(str(each), "reason", each.meaning, "yes" if each.is_final else "no") for each in Reason),
        *(Word(name, "alert", _summary(name)) for name in names() if name.startswith("Slipway")),
    ]
    return {each.name.lower(): each for each in found}


def _summary(name: str) -> str:
    found = runbook(name)
    if found is None:
        return ""
    return " ".join((found.summary or found.section("Meaning")).split("\n\n")[0].split())
