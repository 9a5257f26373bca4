"""Reads the section of a version from CHANGELOG.md, which has the format of keepachangelog.com."""

from __future__ import annotations

import re

from slipway_devcluster.errors import Refusal

HEADING = re.compile(r"(?m)^## \[(?P<version>[^\]]+)\].*\n")


def notes(changelog: str, version: str) -> str:
    """The section of a version, without its heading."""
    sections = list(HEADING.finditer(changelog))
    for found, following in zip(sections, [*sections[1:], None], strict=True):
        if found["version"] == version:
            text = changelog[found.end() : following.start() if following else None].strip()
            if not text:
                break
            return f"{text}\n"
    raise Refusal(
        f"CHANGELOG.md has no entry for {version}; write it under `## [{version}] - DATE`, "
        "or set VERSION to the version that it has."
    )
