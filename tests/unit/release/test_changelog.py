"""Release notes are the section of the version in CHANGELOG.md."""

from __future__ import annotations

from pathlib import Path

import pytest
from slipway_devcluster.errors import Refusal
from slipway_release.changelog import notes

ROOT = Path(__file__).parents[3]
CHANGELOG = """# Changelog

In the form of [Keep a Changelog](https://keepachangelog.com).

## [0.2.0] - 2026-12-01

### Added

- Something.

## [0.1.0] - 2026-11-29

- The first.

## [0.0.1] - 2026-11-01
"""


def test_a_version_has_its_own_section_and_no_other() -> None:
    assert notes(CHANGELOG, "0.2.0") == "### Added\n\n- Something.\n"
    assert notes(CHANGELOG, "0.1.0") == "- The first.\n"


@pytest.mark.parametrize("version", ["0.3.0", "0.0.1"])
def test_a_version_without_a_section_is_not_released(version: str) -> None:
    with pytest.raises(Refusal, match=rf"CHANGELOG\.md has no entry for {version}; .*`## \[{version}\] - DATE`"):
        notes(CHANGELOG, version)


def test_the_version_of_this_checkout_has_a_section() -> None:
    assert notes((ROOT / "CHANGELOG.md").read_text(), (ROOT / "VERSION").read_text().strip())
