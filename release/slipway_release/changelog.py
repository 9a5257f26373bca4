"""What CHANGELOG.md says of a version. Its form is that of keepachangelog.com."""

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
        f"CHANGELOG.md says nothing of {version}; write what it brings under `## [{version}] - DATE`, "
        "or put the version that it has into VERSION."
    )
