"""runbooks/walked.yaml: when each runbook was walked, with which fault, and what was seen.

`commands` has a digest of the commands and output below each heading: after a change of them, the page must be walked
again, for what it shows wasn't seen.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import yaml

from support.pages.console import LANGUAGE, digest_of
from support.pages.markdown import Block, Page
from support.repository import RUNBOOKS

FILE, NOT_WALKED = RUNBOOKS / "walked.yaml", RUNBOOKS / "not-walked.yaml"
RECORD = "RECORD_WALKS"
NOTE = "# Written by walks of tests/runbooks with RECORD_WALKS=1; then `make generate` writes README.md.\n"

OTHER_LANGUAGES = ("sh", "bash", "shell", "promql")
OTHERS = "blocks without output"
"""In the list of reasons: all blocks of a page in these languages, which no walk runs."""

Walks = dict[str, list[dict[str, Any]]]


def place(*headings: str) -> str:
    return " / ".join(headings)


def walks() -> Walks:
    found: Walks = (yaml.safe_load(FILE.read_text()) or {}) if FILE.exists() else {}
    return found


def reasons_not_walked() -> dict[str, str | dict[str, str]]:
    """Returns by page why no test walks it, or by heading why no test runs the commands below that."""
    found: dict[str, str | dict[str, str]] = yaml.safe_load(NOT_WALKED.read_text()) or {}
    return found


def record(page: str, fault: str, seen: Sequence[str], commands: Mapping[str, str]) -> None:
    if not os.environ.get(RECORD):
        return
    found = walks()
    entry = {
        "fault": fault,
        "date": datetime.now(UTC).date().isoformat(),
        "seen": " ".join(seen),
        "commands": dict(sorted(commands.items())),
    }
    others = [each for each in found.get(page, []) if each["fault"] != fault]
    found[page] = sorted([*others, entry], key=lambda each: str(each["fault"]))
    FILE.write_text(NOTE + yaml.safe_dump(dict(sorted(found.items())), sort_keys=False, width=118, allow_unicode=True))


def complaints_about(page: Page, found: Walks, reasons: Mapping[str, str | Mapping[str, str]]) -> list[str]:
    """Returns which commands of the page were neither walked as they are now, nor have a reason why not."""
    why = reasons.get(page.name, {})
    digests = {name: {each["commands"].get(name) for each in found.get(page.name, [])} for name in _places(page)}
    complaints = [_complaint(page, name, digests[name], why) for name in digests]
    if isinstance(why, str) and page.name in found:
        complaints.append(f"{page.path.name} was walked, and is in {NOT_WALKED.name}, too: remove it there.")
    if not isinstance(why, str) and not digests:
        complaints.append(f"{page.path.name} has no commands: add them, or a reason to {NOT_WALKED.name}.")
    return [each for each in (*complaints, *_complaints_about_others(page, why), *_outdated(page, why)) if each]


def _complaints_about_others(page: Page, why: str | Mapping[str, str]) -> Iterator[str]:
    lines = [each.line for each in page.blocks if each.language in OTHER_LANGUAGES]
    if lines and not isinstance(why, str) and OTHERS not in why:
        where = ", ".join(map(str, lines))
        yield (
            f"{page.path.name}: no walk runs the blocks at the lines {where}: make them {LANGUAGE} blocks and walk "
            f"them, or say below {OTHERS!r} in {NOT_WALKED.name} why not."
        )


def _outdated(page: Page, why: str | Mapping[str, str]) -> Iterator[str]:
    there = {*_places(page), *(OTHERS for each in page.blocks if each.language in OTHER_LANGUAGES)}
    for name in () if isinstance(why, str) else why:
        if name not in there:
            yield f"{page.path.name} has no {name!r} with commands: remove it from {NOT_WALKED.name}."


def _places(page: Page) -> dict[str, list[Block]]:
    found: dict[str, list[Block]] = {}
    for block in page.blocks:
        if block.language == LANGUAGE:
            found.setdefault(place(*block.below[1:]), []).append(block)
    return found


def _complaint(page: Page, name: str, digests: set[str | None], why: str | Mapping[str, str]) -> str:
    has_reason = isinstance(why, str) or name in why
    where = f"{page.path.name}: the commands below {name!r}"
    if digests == {None} or not digests:
        return "" if has_reason else f"{where} were never walked: walk them, or say why not in {NOT_WALKED.name}."
    if has_reason:
        return f"{where} were walked, and are in {NOT_WALKED.name}, too: remove them there."
    if digest_of(_places(page)[name]) not in digests:
        return f"{where} have changed since they were walked: walk them again with {RECORD}=1."
    return ""
