"""What the documentation points to is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PAGES = sorted({*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md"), *REPOSITORY.glob("*/README.md")})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_within_the_repository_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text())
    here = [link for link in links if "://" not in link and not link.startswith("mailto:")]
    assert not [link for link in here if not (page.parent / link).exists()]


def test_tests_that_the_promises_name_are_there() -> None:
    promises = (REPOSITORY / "README.md").read_text().split("## What it promises")[1].split("\n## ")[0]
    for row in promises.splitlines():
        for name, file in re.findall(r"`…?(\w+)` in \[\w+\.py\]\(([^)]+)\)", row):
            assert name in (REPOSITORY / file).read_text(), name
