"""Copies the version in VERSION to all other files that contain it: pyproject.toml, uv.lock, Chart.yaml."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parent.parent
VERSION = re.compile(r"(\d+\.\d+\.\d+)(?:-rc\.(\d+))?")
"""A version that Helm, Python and registries read in the same way."""

IN_PROJECT = re.compile(r'(?m)(^version = ").+(?="$)')
IN_LOCK = re.compile(r'(?m)(^name = "slipway[\w-]*"\nversion = ").+(?="\nsource = { (?:editable|virtual) = )')
IN_CHART = re.compile(r"(?m)(^(?:version|appVersion): ).+$")


class Misplaced(Exception):  # noqa: N818 - it is an answer, not a fault
    """One sentence that names the file and the remedy."""


def read(file: Path) -> str:
    text = file.read_text().strip()
    if not VERSION.fullmatch(text):
        raise Misplaced(f"{file.name} has {text!r}, which is not a valid version: write it as 1.2.3 or 1.2.3-rc.1")
    return text


def for_python(version: str) -> str:
    """The version in the form of Python's tools: 1.2.3rc1 for 1.2.3-rc.1."""
    return version.replace("-rc.", "rc")


def places(root: Path, version: str) -> Iterable[tuple[Path, re.Pattern[str], str]]:
    for file in [root / "pyproject.toml", *sorted(root.glob("*/pyproject.toml"))]:
        yield file, IN_PROJECT, for_python(version)
    yield root / "uv.lock", IN_LOCK, for_python(version)
    for file in sorted(root.glob("charts/*/Chart.yaml")):
        yield file, IN_CHART, version


def write(root: Path) -> None:
    for file, place, version in places(root, read(root / "VERSION")):
        before = file.read_text()
        if not place.search(before):
            raise Misplaced(f"{file.relative_to(root)} has no line for the version: restore it from the repository")
        after = place.sub(rf"\g<1>{version}", before)
        if after != before:
            file.write_text(after)


def main() -> int:
    try:
        write(ROOT)
    except Misplaced as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
