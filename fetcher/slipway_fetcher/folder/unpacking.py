"""Files out of archives and image layers.

Only files and folders, only below the model's folder, only as far as there is room. An archive with anything else is
refused: links could lead out of the folder, and no model needs devices.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO

from slipway_fetcher.folder.space import check_room, unwritable
from slipway_fetcher.problem import FetchError, Reason
from slipway_fetcher.sources.base import check_path

PIECE = 1 << 20
MOST_FILES = 100_000
HIDES, HIDES_ALL = ".wh.", ".wh..wh..opq"  # what an entry of a layer deletes: the rest of its name, or its folder
Wants = Callable[[str], bool]


def unpack(archive: Path, into: Path, wants: Wants) -> None:
    """A tar, compressed or not, or a zip; recognized by its content."""
    with _explained(archive):
        _write_all(_zipped(archive) if zipfile.is_zipfile(archive) else _tarred(archive, ""), into, wants)


def unpack_layer(layer: Path, into: Path, wants: Wants, prefix: str) -> None:
    """What an image layer has below a folder; `.wh.` entries delete what earlier layers had."""
    with _explained(layer):
        _write_all(_tarred(layer, prefix), into, wants, is_layer=True)


Entry = tuple[str, int, Callable[[], IO[bytes]]]


def _write_all(entries: Iterator[Entry], into: Path, wants: Wants, *, is_layer: bool = False) -> None:
    number = 0
    for path, size, opened in entries:
        number += 1
        if number > MOST_FILES:
            raise _refused(into, f"has more than {MOST_FILES:,} files")
        if is_layer and path.rpartition("/")[2].startswith(HIDES):
            _delete(into, path)
            continue
        check_path(path)
        if wants(path):
            check_room(into, size)
            _write(into / path, opened)


def _write(file: Path, opened: Callable[[], IO[bytes]]) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with opened() as content, file.open("wb") as output:
            while piece := content.read(PIECE):
                output.write(piece)
            output.flush()
            os.fsync(output.fileno())
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError):
        raise
    except OSError as error:
        raise unwritable(file, error) from error


def _delete(into: Path, path: str) -> None:
    """What an entry of a layer hides. Where that is gets checked first: it may lead out of the folder, too."""
    name = path.rpartition("/")[2]
    if name == HIDES_ALL:
        check_path(path)
        shutil.rmtree((into / path).parent, ignore_errors=True)
        return
    hidden_path = path.removesuffix(name) + name.removeprefix(HIDES)
    check_path(hidden_path)
    hidden = into / hidden_path
    shutil.rmtree(hidden, ignore_errors=True)
    with contextlib.suppress(OSError):
        hidden.unlink()


def _tarred(archive: Path, prefix: str) -> Iterator[Entry]:
    with tarfile.open(archive, "r|*") as opened:
        for member in opened:
            path = member.name.lstrip("/").removeprefix("./").rstrip("/")
            if not path.startswith(prefix) or member.isdir():
                continue
            if not member.isreg():
                raise _refused(archive, f"contains {path[:200]!r}, which is neither a file nor a folder")
            yield path.removeprefix(prefix), member.size, partial(_content, opened, member)


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    found = archive.extractfile(member)
    if found is None:
        raise tarfile.ReadError(member.name)
    return found


def _zipped(archive: Path) -> Iterator[Entry]:
    with zipfile.ZipFile(archive) as opened:
        for member in opened.infolist():
            kind = member.external_attr >> 28
            if member.is_dir():
                continue
            if kind not in (0, 8) or member.flag_bits & 1:  # 8: a regular file; the flag: encrypted
                raise _refused(archive, f"contains {member.filename[:200]!r}, which is a link, a device or encrypted")
            yield member.filename.removeprefix("./"), member.file_size, partial(opened.open, member)


@contextlib.contextmanager
def _explained(archive: Path) -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise _refused(archive, f"can't be unpacked: {error}") from error


def _refused(archive: Path, why: str) -> FetchError:
    return FetchError(
        Reason.CORRUPT,
        f"The archive {archive.name} {why}.",
        "Make it again as a tar, tar.gz or zip that contains only files and folders.",
    )
