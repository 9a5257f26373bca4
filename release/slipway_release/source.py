"""What a release is made from: its version, its commit, and the moment by which everything in it is dated."""

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
    """The commit; with `-dirty` where the files are not those of the commit."""
    epoch: int
    url: str = ""
    """Where people find the repository; empty where nothing says so."""

    @property
    def created(self) -> str:
        return datetime.datetime.fromtimestamp(self.epoch, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    @property
    def is_dirty(self) -> bool:
        return self.revision.endswith("-dirty")

    def labels(self) -> dict[str, str]:
        """What an image says of where it comes from, beside what its Containerfile says of it."""
        said = {"version": self.version, "revision": self.revision, "created": self.created, "source": self.url}
        return {f"org.opencontainers.image.{name}": value for name, value in said.items() if value}


@dataclass(frozen=True)
class Release:
    """What is made, and for which registry."""

    registry: str
    source: Source
    tag: str = ""
    """Of its images; by default the version."""

    def image_name(self, repository: str) -> str:
        return f"{self.registry}/{repository}:{self.tag or self.source.version}"


def version(root: Path = ROOT) -> str:
    return (root / "VERSION").read_text().strip()


def look(root: Path = ROOT, *, url: str = "", environment: Mapping[str, str] = os.environ) -> Source:
    """Of the checkout as it is, dated by SOURCE_DATE_EPOCH, else by its commit."""
    try:
        revision, committed = git(root, "log", "-1", "--format=%H %ct").split()
        changed = git(root, "status", "--porcelain")
    except (OSError, subprocess.CalledProcessError) as error:
        raise Refusal(
            f"{root} is no checkout with a commit, and what is released names the commit that it comes from; "
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
        raise Refusal(
            f"{MOMENT} is {text!r}, and it has to be a number of seconds since 1970, as `date +%s` prints it."
        )
    return int(text)


def public_url(remote: str) -> str:
    """The address for people of a remote repository; empty for one on this machine. It never tells who fetched it."""
    found = re.fullmatch(r"(?:https://|ssh://|)(?:[^/@]+@)?([\w.-]+\.\w+)(?::\d+)?[:/](.+?)(?:\.git)?/?", remote)
    return f"https://{found[1]}/{found[2]}" if found else ""


def files(folder: Path) -> list[Path]:
    """Those of a folder of the checkout that git keeps, or would keep: relative to the folder, in a fixed order."""
    listed = git(folder, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", ".")
    return sorted(Path(name) for name in set(listed.split("\0")) if name and (folder / name).is_file())


def _origin(root: Path) -> str:
    try:
        return git(root, "remote", "get-url", "origin")
    except subprocess.CalledProcessError:
        return ""


def git(folder: Path, *arguments: str) -> str:
    # With sudo, the checkout is somebody else's: git asks whether that is meant, and leaves nothing of root's in it.
    command = ["git", "--no-optional-locks", "-c", "safe.directory=*", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip("\n")
