"""What a source has to say: which files a model has, where their bytes are, and what a refusal means."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from slipway_fetcher.problem import FetchError, Reason
from slipway_fetcher.request import Request
from slipway_fetcher.web.call import Call

RESERVED = ".slipway"


@dataclass(frozen=True)
class Digest:
    """What the bytes of a file have to add up to, in hexadecimal."""

    algorithm: str  # one of download/digests.py
    value: str
    parts: tuple[int, ...] = ()  # sizes, where the digest is one of parts

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.value}"


@dataclass(frozen=True)
class RemoteFile:
    """A file as the source has it."""

    path: str  # in the folder
    key: str  # the source's own name of it
    size: int | None  # None: the server doesn't say
    tag: str  # differs whenever the content differs; what was received under another tag isn't used
    digest: Digest | None = None
    unpack: str = ""  # "archive" or "layer": not itself a file of the model, but contains them


@dataclass(frozen=True)
class Listing:
    """All wanted files of one version, which never changes."""

    version: str
    files: tuple[RemoteFile, ...]

    @property
    def size(self) -> int:
        return sum(file.size or 0 for file in self.files)


class Source(Protocol):
    """A model at a server."""

    def resolve(self) -> Listing:
        """Asks the server which version and which files there are."""
        ...

    def call(self, file: RemoteFile) -> Call:
        """The request for its bytes."""
        ...

    def digests(self, file: RemoteFile) -> Iterator[Digest]:
        """What is known of its content, the cheapest to find out first; one that fits is enough."""
        ...

    def refusal(self, file: RemoteFile, status: int, content: bytes) -> FetchError:
        """What it means that the request for its bytes got this status."""
        ...


def checked(files: Iterable[RemoteFile]) -> tuple[RemoteFile, ...]:
    """The same files, if all their paths can be in one folder: names come from a server, and could lead out of it."""
    found = sorted(files, key=lambda file: file.path)
    paths = {file.path for file in found}
    for file in found:
        check_path(file.path)
    folders = {file.path.rsplit("/", up)[0] for file in found for up in range(1, file.path.count("/") + 1)}
    if clash := folders & paths:
        raise FetchError(
            Reason.CORRUPT,
            f"The source has both a file and a folder named {min(clash)!r}.",
            "Remove one of them from the source, or choose files with `files`.",
        )
    if len(paths) < len(found):
        raise FetchError(Reason.CORRUPT, "The source lists a file twice.", "Check the server.")
    return tuple(found)


def check_path(path: str) -> None:
    parts = path.split("/")
    is_bad = any(part in ("", ".", "..") or len(part.encode()) > 255 for part in parts)
    if is_bad or parts[0] == RESERVED or "\\" in path or any(unicodedata.category(each) == "Cc" for each in path):
        raise FetchError(
            Reason.CORRUPT,
            f"The source has a file named {path[:200]!r}, which can't be a path in a folder.",
            "Rename it in the source, or choose files with `files`.",
        )


def no_files(where: str, patterns: tuple[str, ...], paths: Iterable[str]) -> FetchError:
    """Nothing is left to fetch."""
    has = sorted(paths)
    if patterns and has:
        some = ", ".join(has[:8]) + (", …" if len(has) > 8 else "")
        return FetchError(
            Reason.NOT_FOUND,
            f"No file of {where} matches {' or '.join(map(repr, patterns))}.",
            f"Correct `files`; there are {some}.",
        )
    return FetchError(Reason.NOT_FOUND, f"There are no files at {where}.", "Correct the URI, or store the model there.")


def wanted(found: Sequence[RemoteFile], request: Request, where: str = "") -> tuple[RemoteFile, ...]:
    """Of all files that there are, those that the user wants; never none. `where`: the URI, in the user's words."""
    files = checked(each for each in found if request.wants(each.path))
    if not files:
        raise no_files(where or request.uri, request.files, [each.path for each in found])
    return files


def listing_of_objects(found: Sequence[RemoteFile], request: Request, where: str = "") -> Listing:
    """Of an object store, which has no version of them all: their paths, sizes and tags are it."""
    files = wanted(found, request, where)
    lines = "\n".join(f"{each.path}\t{each.size}\t{each.tag}" for each in files)
    return Listing(hashlib.sha256(lines.encode()).hexdigest(), files)
