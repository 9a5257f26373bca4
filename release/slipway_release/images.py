"""The images of this repository: one for each Containerfile, with the name that the charts use."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from slipway_devcluster import containerfiles
from slipway_devcluster.errors import Refusal

from slipway_release import source
from slipway_release.source import ROOT

RELEASED = ("operator", "fetcher", "llamacpp", "vllm-cpu")
"""The images of a release by default. Those for GPUs are large, and are only made on demand."""


@dataclass(frozen=True)
class ReleaseImage:
    """An image that can be released."""

    containerfile: Path

    @property
    def repository(self) -> str:
        return containerfiles.repository(self.containerfile)

    @property
    def name(self) -> str:
        """Its short name on command lines."""
        return self.repository.removeprefix("slipway-")

    @property
    def usual_base(self) -> str:
        found = re.search(r"^ARG BASE=(\S+)$", self.containerfile.read_text(), re.MULTILINE)
        if not found:
            raise Refusal(f"{self.containerfile} has no line `ARG BASE=…`; restore it from the repository.")
        return found[1]

    @property
    def builds_on_debian(self) -> bool:
        """Whether any Debian with a Python can be its base."""
        return "/library/python:" in self.usual_base


def every() -> dict[str, ReleaseImage]:
    programs = [ROOT / folder / "Containerfile" for folder in ("operator", "fetcher")]
    files = [*programs, *sorted((ROOT / "runtime-image").glob("*.Containerfile"))]
    return {image.name: image for image in map(ReleaseImage, files)}


def chosen(names: Sequence[str]) -> list[ReleaseImage]:
    known = every()
    if unknown := [name for name in names if name not in known]:
        raise Refusal(
            f"{unknown[0]!r} is not an image of this repository; IMAGES can be one or more of: {' '.join(known)}"
        )
    return [known[name] for name in names or RELEASED]


def stage(image: ReleaseImage, folder: Path, *, epoch: int) -> Path:
    """Copy the build context of an image to `folder`, and return the Containerfile there.

    It has the files that git tracks or does not ignore, with normalised modes and times. So the image does not depend
    on who checked the repository out, and when, nor on other files in the checkout.
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
