"""The images of this repository: one for each Containerfile, by the name that the charts give it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from slipway_devcluster import containerfiles
from slipway_devcluster.errors import Refusal

from . import source
from .source import ROOT

RELEASED = ("operator", "llamacpp", "vllm-cpu")
"""What a release has by default. Those for GPUs are large; they are made where they are asked for."""


@dataclass(frozen=True)
class Image:
    containerfile: Path

    @property
    def repository(self) -> str:
        return containerfiles.repository(self.containerfile)

    @property
    def name(self) -> str:
        """What people call it here."""
        return self.repository.removeprefix("slipway-")

    @property
    def usual_base(self) -> str:
        found = re.search(r"^ARG BASE=(\S+)$", self.containerfile.read_text(), re.MULTILINE)
        if not found:
            raise Refusal(f"{self.containerfile} has no line `ARG BASE=…`; restore it from the repository.")
        return found[1]

    @property
    def builds_on_debian(self) -> bool:
        """Any Debian with a Python will do as its base."""
        return "/library/python:" in self.usual_base


def every() -> dict[str, Image]:
    files = [ROOT / "operator/Containerfile", *sorted((ROOT / "runtime-image").glob("*.Containerfile"))]
    return {image.name: image for image in map(Image, files)}


def chosen(names: Sequence[str]) -> list[Image]:
    known = every()
    if unknown := [name for name in names if name not in known]:
        raise Refusal(f"there is no image {unknown[0]!r}; IMAGES takes one or more of: {' '.join(known)}")
    return [known[name] for name in names or RELEASED]


def stage(image: Image, folder: Path, *, epoch: int) -> Path:
    """The build context of an image in a folder of its own, and in it the Containerfile.

    It holds what git keeps, with modes and times that don't tell who checked it out, and when: the same image comes of
    it, whatever else lies in the checkout.
    """
    context = image.containerfile.parent
    ignored = containerfiles.ignore_patterns(context)
    for file in source.files(context):
        if not containerfiles.is_ignored(file, ignored):
            copy = folder / file
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(context / file, copy)
            copy.chmod(0o755 if (context / file).stat().st_mode & 0o100 else 0o644)
    for path in [*folder.rglob("*"), folder]:
        if path.is_dir():
            path.chmod(0o755)
        os.utime(path, (epoch, epoch))
    return folder / image.containerfile.name
