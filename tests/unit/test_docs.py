"""What the documentation points to is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
FOLDERS = ("docs/**/*.md", "adrs/**/*.md", "*/README.md")
PAGES = sorted({*REPOSITORY.glob("*.md"), *(page for folder in FOLDERS for page in REPOSITORY.glob(folder))})
FILES = [*(REPOSITORY / "tests").rglob("*.py")]
TESTS = {name for file in FILES for name in re.findall(r"\bdef (test_\w+)\(", file.read_text())}
MODULES = {file.stem for file in FILES}

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))


@each_page
def test_links_within_the_repository_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text())
    here = [link for link in links if "://" not in link and not link.startswith("mailto:")]
    assert not [link for link in here if not (page.parent / link).exists()]


@each_page
def test_tests_that_a_page_names_are_there(page: Path) -> None:
    named = re.findall(r"\b(test_\w+)(\.py)?", page.read_text())
    assert not [name for name, is_file in named if name not in (MODULES if is_file else TESTS | MODULES)]


def test_tests_that_the_promises_name_are_there() -> None:
    promises = (REPOSITORY / "README.md").read_text().split("## What it promises")[1].split("\n## ")[0]
    for row in promises.splitlines():
        for name, file in re.findall(r"`…?(\w+)` in \[\w+\.py\]\(([^)]+)\)", row):
            assert name in (REPOSITORY / file).read_text(), name
