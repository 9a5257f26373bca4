"""The source of a release: its version, its commit, and the date of everything in it."""

from __future__ import annotations

import datetime
import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from slipway_devcluster.errors import Refusal

ROOT = Path(__file__).parents[2]
MOMENT = "SOURCE_DATE_EPOCH"


@dataclass(frozen=True)
class Source:
    version: str
    revision: str
    """The commit, with the suffix `-dirty` if the checkout has uncommitted changes."""
    epoch: int
    url: str = ""
    """The public URL of the repository; empty if it is unknown."""

    @property
    def created(self) -> str:
        return datetime.datetime.fromtimestamp(self.epoch, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    @property
    def is_dirty(self) -> bool:
        return self.revision.endswith("-dirty")

    def labels(self) -> dict[str, str]:
        """The labels about its source that an image gets in addition to those in its Containerfile."""
        said = {"version": self.version, "revision": self.revision, "created": self.created, "source": self.url}
        return {f"org.opencontainers.image.{name}": value for name, value in said.items() if value}


@dataclass(frozen=True)
class Release:
    """A source, and the registry that its images and charts are made for."""

    registry: str
    source: Source
    tag: str = ""
    """The tag of its images; by default the version."""

    def image_name(self, repository: str) -> str:
        return f"{self.registry}/{repository}:{self.tag or self.source.version}"


def version(root: Path = ROOT) -> str:
    return (root / "VERSION").read_text().strip()


def look(root: Path = ROOT, *, url: str = "", environment: Mapping[str, str] = os.environ) -> Source:
    """The source in a checkout as it is now, with the date of SOURCE_DATE_EPOCH, or by default of its commit."""
    try:
        revision, committed = git(root, "log", "-1", "--format=%H %ct").split()
        changed = git(root, "status", "--porcelain")
    except (OSError, subprocess.CalledProcessError) as error:
        raise Refusal(
            f"{root} is not a Git checkout with a commit, and a release refers to its commit; "
            "clone the repository, or commit first."
        ) from error
    return Source(
        version=version(root),
        revision=f"{revision}-dirty" if changed else revision,
        epoch=moment(environment.get(MOMENT) or committed),
        url=url or public_url(_origin(root)),
    )


def moment(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise Refusal(f"{MOMENT} is {text!r}, but must be a number of seconds since 1970, as `date +%s` prints it.")
    return int(text)


def public_url(remote: str) -> str:
    """The public URL of a remote repository, without user and password; empty for a repository on this machine."""
    found = re.fullmatch(r"(?:https://|ssh://|)(?:[^/@]+@)?([\w.-]+\.\w+)(?::\d+)?[:/](.+?)(?:\.git)?/?", remote)
    return f"https://{found[1]}/{found[2]}" if found else ""


def files(folder: Path) -> list[Path]:
    """The files of a folder that git tracks or does not ignore, relative to the folder and in a fixed order."""
    listed = git(folder, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", ".")
    return sorted(Path(name) for name in set(listed.split("\0")) if name and (folder / name).is_file())


def _origin(root: Path) -> str:
    try:
        return git(root, "remote", "get-url", "origin")
    except subprocess.CalledProcessError:
        return ""


def git(folder: Path, *arguments: str) -> str:
    # With sudo, the checkout belongs to another user: `safe.directory` allows that, and git writes no files as root.
    command = ["git", "--no-optional-locks", "-c", "safe.directory=*", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip("\n")
