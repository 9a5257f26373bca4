"""Alerts, reasons, error codes and runbooks are in step, and each link between pages leads somewhere."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Sequence
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


COMPUTED = {
    "_code(status, message)": {*_CODES.values(), "context_length_exceeded", "model_not_found"},
    "_code(400, '')": {"invalid_request"},
    "cause.reason": {*Reason} & PAGES.keys(),  # runtime-image/contract/reasons.yaml says which reasons are faults
}
"""The possible codes of an expression that isn't a constant."""


def constants(modules: Iterable[ast.Module]) -> dict[str, str]:
    """By name, the strings that modules have at their top."""
    return {
        target.id: str(each.value.value)
        for module in modules
        for each in module.body
        if isinstance(each, ast.Assign) and isinstance(each.value, ast.Constant)
        for target in each.targets
        if isinstance(target, ast.Name)
    }


def codes_in(modules: Sequence[ast.Module]) -> Iterator[str]:
    """The codes of all errors that these modules make; one that can't be found out is an error."""
    known = constants(modules)
    for call in (each for module in modules for each in ast.walk(module) if isinstance(each, ast.Call)):
        if ast.unparse(call.func).split(".")[-1] != "ErrorResponse":
            continue
        [code] = [*call.args[1:2], *(each.value for each in call.keywords if each.arg in ("code", "reason"))]
        if isinstance(code, ast.Constant):
            yield str(code.value)
        elif (name := ast.unparse(code)) in COMPUTED:
            yield from COMPUTED[name]
        elif name.startswith("Reason."):
            yield Reason[name.removeprefix("Reason.")]
        else:
            assert name in known, f"line {call.lineno}: add the possible codes of {name!r} to COMPUTED"
            yield known[name]


def error_codes() -> set[str]:
    return {*codes_in([ast.parse(path.read_text()) for folder in SOURCES for path in folder.rglob("*.py")])}


@pytest.mark.parametrize(
    "text",
    [
        "ErrorResponse(1, 'a', '')",
        "ErrorResponse(1, code='a')",
        "errors.ErrorResponse(1, 'a')",
        "A = 'a'\nErrorResponse(1, A)",
    ],
)
def test_an_error_code_is_found_however_it_is_written(text: str) -> None:
    assert [*codes_in([ast.parse(text)])] == ["a"]


def test_a_code_that_cannot_be_found_out_is_an_error() -> None:
    with pytest.raises(AssertionError, match="add the possible codes of 'f\\(1\\)' to COMPUTED"):
        [*codes_in([ast.parse("ErrorResponse(1, f(1), '')")])]


def test_every_error_code_of_the_activator_and_the_guard_leads_to_a_runbook() -> None:
    codes = error_codes()
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
