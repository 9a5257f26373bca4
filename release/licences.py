"""Compares the licences of all locked Python packages with a list: a part of `make check`, which needs no network.

It reads the metadata of what is installed in the environment, which is what uv.lock says: the packages of operator,
activator and llama.cpp's image, and what tests and the site need. The images with vLLM have packages of their own, in
runtime-image/requirements; those are not installed here, and so not compared. No image of ours contains Go programs.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
LIST = HERE / "licences.yaml"
IMAGES = ("operator/requirements.txt", "runtime-image/requirements/llamacpp.txt")
OURS = re.compile(r"slipway(-.*)?")


def main() -> int:
    argparse.ArgumentParser(description=__doc__).parse_args()
    told = yaml.safe_load(LIST.read_text())
    found = {normalised(each.name): licences_in(each.metadata.json) for each in metadata.distributions()}
    complaints = list(complaints_about(found, told, shipped()))
    for each in complaints:
        print(each, file=sys.stderr)
    return 1 if complaints else 0


def shipped() -> frozenset[str]:
    """The packages that an image contains, of those that are installed here."""
    lines = [line for file in IMAGES for line in (HERE.parent / file).read_text().splitlines()]
    return frozenset(
        normalised(line.partition("==")[0]) for line in lines if "==" in line and not line.startswith((" ", "#"))
    )


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.partition("[")[0].strip()).lower()


def licences_in(told: Mapping[str, Any]) -> list[str]:
    """The licences that a package's metadata names: by an expression, else by classifiers, else in a short text."""
    if expression := told.get("license_expression"):
        return [str(expression)]
    classifiers = [each.rpartition(" :: ")[2] for each in told.get("classifier", []) if each.startswith("License :: ")]
    if named := [each for each in classifiers if each not in ("OSI Approved", "DFSG approved")]:
        return named
    text = str(told.get("license", "")).strip()
    return [text] if text and len(text) < 60 and "\n" not in text else []


def complaints_about(
    found: Mapping[str, Iterable[str]], told: Mapping[str, Any], images: frozenset[str]
) -> Iterator[str]:
    """One sentence for each package whose licence isn't allowed, and for each entry of the list without a package."""
    packages, excused = told["packages"], told["only_for_tests"]
    for name, licences in sorted(found.items()):
        if OURS.fullmatch(name) or (name in excused and name not in images):
            continue
        named = [str(packages[name]["licence"])] if name in packages else list(licences)
        if not named:
            yield f"{name}: its metadata names no licence: look it up, and add it to packages in release/licences.yaml"
        for each in named:
            if not is_allowed(each, told):
                yield f"{name} has the licence {each!r}: release/licences.yaml doesn't allow it; replace it, or add it"
    for name in sorted({*packages, *excused} - found.keys()):
        yield f"{name} is in release/licences.yaml and isn't installed: remove it there"
    for name in sorted(images & excused.keys()):
        yield f"{name} is for tests only by release/licences.yaml, and an image contains it"


def is_allowed(expression: str, told: Mapping[str, Any]) -> bool:
    """Of alternatives one suffices; of others, each must be allowed."""
    named = told["names"].get(expression, expression)
    parts = [re.split(r"\s+AND\s+", each.strip("() ")) for each in re.split(r"\s+OR\s+", named)]
    return any(all(licence.strip("() ") in told["allowed"] for licence in part) for part in parts)


if __name__ == "__main__":
    sys.exit(main())
