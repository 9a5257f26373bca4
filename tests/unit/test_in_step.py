"""Alerts, reasons, error codes and runbooks are in step, and each link between pages leads somewhere."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from slipway.api.reasons import Reason
from slipway.contract.pages import PAGES
from slipway_monitoring.alerts import ALERTS
from slipway_runtime.guard.engine_errors import _CODES
from support.pages import markdown
from support.pages.index import pages
from support.pages.markdown import Page
from support.pages.walked import complaints_about, reasons_not_walked, walks
from support.repository import ROOT, RUNBOOKS

OF_A_FAULT = ["Meaning", "Impact", "Diagnosis", "Mitigation", "Prevention", "Background"]
OF_A_TASK = ["When", "Before", "Steps", "Check", "If it goes wrong", "Background"]
RUNBOOK_PAGES = pages()
NAMES = {page.name for page in RUNBOOK_PAGES}
ALERT_NAMES = {alert.name for alert in ALERTS}
WORDS = {*Reason, *PAGES}
SOURCES = [ROOT / "runtime-image/slipway_runtime", ROOT / "operator/slipway/activator"]
FOLDERS = (
    "*.md",
    "docs/**/*.md",
    "adrs/*.md",
    "runbooks/*.md",
    "*/README.md",
    "charts/*/README.md",
    "manifests/*/README.md",
)
LINKING = sorted({path for folder in FOLDERS for path in ROOT.glob(folder)})

each_runbook = pytest.mark.parametrize("page", RUNBOOK_PAGES, ids=lambda page: page.name)


# --- what there must be a runbook for --------------------------------------------------------------------------------


def test_every_alert_has_a_runbook_and_a_test() -> None:
    assert ALERT_NAMES <= NAMES
    assert {path.stem for path in (ROOT / "monitoring/tests").glob("*.yaml")} == ALERT_NAMES


def test_every_reason_and_error_code_that_links_to_a_runbook_has_it() -> None:
    assert sorted({*PAGES.values()} - NAMES) == []


def test_every_runbook_is_of_an_alert_a_reason_an_error_code_or_a_task() -> None:
    assert [name for name in NAMES - ALERT_NAMES - WORDS if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", name)] == []


def error_codes() -> Iterator[str]:
    """The codes of all errors that activator and guard make, as literals."""
    for folder in SOURCES:
        for path in folder.rglob("*.py"):
            for call in ast.walk(ast.parse(path.read_text())):
                if (
                    isinstance(call, ast.Call)
                    and getattr(call.func, "id", "") == "ErrorResponse"
                    and len(call.args) > 1
                ):
                    code = call.args[1]
                    if isinstance(code, ast.Constant):
                        yield str(code.value)


def test_every_error_code_of_the_activator_and_the_guard_leads_to_a_runbook() -> None:
    codes = {*error_codes(), *_CODES.values()}
    assert len(codes) > 25
    assert sorted(codes - PAGES.keys()) == []


def test_every_code_in_the_list_is_sent_somewhere() -> None:
    text = "".join(path.read_text() for folder in SOURCES for path in folder.rglob("*.py") if path.name != "pages.py")
    assert [code for code in PAGES.keys() - {*Reason} if f'"{code}"' not in text] == []


# --- their form ------------------------------------------------------------------------------------------------------


@each_runbook
def test_a_runbook_has_the_headings_of_its_form(page: Page) -> None:
    titles = [each.text for each in page.headings if each.level == 1]
    is_task = page.name not in ALERT_NAMES | WORDS
    assert page.sections in ([OF_A_TASK, OF_A_FAULT] if is_task else [OF_A_FAULT])
    assert len(titles) == 1
    assert is_task or titles == [page.name]
    assert page.first_sentence.endswith(".")


@each_runbook
def test_the_commands_of_a_runbook_were_walked_or_have_a_reason_why_not(page: Page) -> None:
    assert complaints_about(page, walks(), reasons_not_walked()) == []


def test_what_is_walked_or_not_is_a_runbook() -> None:
    assert sorted({*walks(), *reasons_not_walked()} - NAMES) == []


# --- links -----------------------------------------------------------------------------------------------------------


def anchors_of(path: Path) -> set[str]:
    found: dict[str, int] = {}
    for heading in markdown.read(path).headings:
        found[heading.anchor] = found.get(heading.anchor, -1) + 1
    return {anchor if not at else f"{anchor}-{at}" for anchor, times in found.items() for at in range(times + 1)}


def is_there(page: Path, target: str) -> bool:
    file, _, anchor = target.partition("#")
    path = (page.parent / file).resolve() if file else page
    if not path.exists():
        return False
    if path.is_dir():
        return not anchor
    return not anchor or path.suffix != ".md" or anchor in anchors_of(path)


@pytest.mark.parametrize("path", LINKING, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_of_a_page_leads_to_a_file_and_a_heading(path: Path) -> None:
    links = [each.target for each in markdown.read(path).links]
    here = [link for link in links if "://" not in link and not link.startswith("mailto:")]
    assert [link for link in here if not is_there(path, link)] == []


def test_the_index_of_runbooks_has_each() -> None:
    index = markdown.read(RUNBOOKS / "README.md")
    assert [name for name in sorted(NAMES) if not index.links_to(name)] == []
