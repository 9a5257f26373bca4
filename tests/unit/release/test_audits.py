"""What `make check` says about licences, and `make audit` about vulnerabilities."""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path
from typing import Any

import audit
import licences
import pytest

TOLD: dict[str, Any] = {
    "allowed": ["MIT", "Apache-2.0"],
    "names": {"MIT License": "MIT"},
    "packages": {},
    "only_for_tests": {},
}


@pytest.mark.parametrize(
    ("licence", "is_allowed"),
    [
        ("MIT", True),
        ("MIT License", True),
        ("GPL-3.0 OR MIT", True),
        ("MIT AND Apache-2.0", True),
        ("MIT AND GPL-3.0", False),
    ],
)
def test_of_alternatives_one_licence_suffices_and_of_others_each_is_needed(licence: str, is_allowed: bool) -> None:
    assert licences.is_allowed(licence, TOLD) is is_allowed


@pytest.mark.parametrize(
    ("found", "complaint"),
    [
        ({"a": ["GPL-3.0"]}, "a has the licence 'GPL-3.0'"),
        ({"a": []}, "a: its metadata names no licence"),
        ({"a": ["MIT"]}, ""),
        ({"slipway-runtime": []}, ""),
    ],
)
def test_a_package_whose_licence_is_not_in_the_list_is_named(found: dict[str, list[str]], complaint: str) -> None:
    told = " ".join(licences.complaints_about(found, TOLD, frozenset()))
    assert told.startswith(complaint) if complaint else told == ""


def test_what_only_tests_use_must_not_be_in_an_image() -> None:
    told = {**TOLD, "only_for_tests": {"a": "it makes clusters"}}
    assert not [*licences.complaints_about({"a": ["GPL-3.0"]}, told, frozenset())]
    assert len([*licences.complaints_about({"a": ["GPL-3.0"]}, told, frozenset({"a"}))]) == 2


def test_an_entry_without_a_package_is_outdated() -> None:
    told = {**TOLD, "packages": {"gone": {"licence": "MIT", "by": "its LICENSE"}}}
    assert "isn't installed" in next(licences.complaints_about({}, told, frozenset()))


def test_the_images_have_packages() -> None:
    assert len(licences.shipped()) > 40


# --- vulnerabilities -------------------------------------------------------------------------------------------------

VULNERABLE = {"name": "a", "version": "1.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["1.1"]}]}
CLEAN = {"name": "b", "version": "2.0", "vulns": []}
SKIPPED = {"name": "c", "skip_reason": "Dependency not found on PyPI and could not be audited: c (3.0)"}


def test_a_known_vulnerability_is_reported_until_it_is_judged() -> None:
    found = audit.vulnerabilities_in({"dependencies": [VULNERABLE, CLEAN]}, "r.txt")
    told = audit.result({"r.txt": found}, {}, date(2026, 11, 30))
    [complaint] = audit.complaints_about(told, date(2026, 12, 1))
    assert complaint.startswith("r.txt: a==1.0 has PYSEC-1: update it to 1.1, or say")
    assert not [*audit.complaints_about({**told, "accepted": {"PYSEC-1": "not called"}}, date(2026, 12, 1))]


@pytest.mark.parametrize("dependencies", [[CLEAN, SKIPPED], []])
def test_packages_of_which_nothing_is_known_are_no_result(dependencies: list[dict[str, Any]]) -> None:
    with pytest.raises(audit.AuditError, match="isn't audited"):
        audit.vulnerabilities_in({"dependencies": dependencies}, "r.txt")


def test_a_result_gets_too_old() -> None:
    told = audit.result({}, {}, date(2026, 9, 1))
    assert "run make audit" in next(audit.complaints_about(told, date(2026, 11, 30)))


def test_an_audit_that_does_not_end_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    uvx = tmp_path / "uvx"
    uvx.write_text("#!/bin/sh\nexec sleep 60\n")
    uvx.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(audit, "PATIENCE", 0.1)
    with pytest.raises(audit.AuditError, match=r"r\.txt isn't audited: pip-audit took over"):
        audit.answer_about("r.txt")
