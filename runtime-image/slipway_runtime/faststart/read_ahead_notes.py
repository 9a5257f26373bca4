"""Notes of the files that a start reads: written by the two processes when they are ready, and read ahead by the next
start.

Where no file of the image is in memory yet, Python requests one file after the other, and the disk is idle in between.
Of shared libraries only the pages that were used are noted: the unused ones are most of CUDA's libraries.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import sys
from array import array
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType

from slipway_runtime.faststart.page_cache import Piece

ENVIRONMENT = "SLIPWAY_READ_AHEAD_NOTES"  # the prefix of the notes' paths, without the name of the process
PRESENT = 1 << 63  # a bit of an entry in pagemap
GAP = 64  # pages that are cheaper to read than to skip


def note(who: str, environment: Mapping[str, str] = os.environ) -> None:
    """Writes the notes once per cache, because an image doesn't change. A read-only cache has none."""
    if not (prefix := environment.get(ENVIRONMENT)):
        return
    file = Path(f"{prefix}-{who}")
    with contextlib.suppress(OSError):
        if not file.exists():
            pieces = dict.fromkeys((*_mapped(), *_imported(sys.modules)))
            file.write_text("".join(f"{piece.start} {piece.size} {piece.path}\n" for piece in pieces))


def noted(environment: Mapping[str, str]) -> list[Piece]:
    """Returns the notes of both processes, each piece once."""
    if not (prefix := environment.get(ENVIRONMENT)):
        return []
    notes = sorted(Path(prefix).parent.glob(f"{Path(prefix).name}-*"))
    return list(dict.fromkeys(Piece.read(line) for file in notes for line in file.read_text().splitlines()))


def _mapped() -> Iterator[Piece]:
    """Yields the mapped pages of files, which are mostly shared libraries."""
    with Path("/proc/self/pagemap").open("rb", buffering=0) as pagemap:
        for line in Path("/proc/self/maps").read_text().splitlines():
            addresses, _, file_offset, _, _, *named = line.split(maxsplit=5)
            name = named[0] if named else ""
            if not name.startswith("/") or name.startswith(("/dev/", "/memfd:")) or name.endswith(" (deleted)"):
                continue
            first, end = (int(address, 16) // mmap.PAGESIZE for address in addresses.split("-"))
            offset = int(file_offset, 16)
            pagemap.seek(first * 8)
            entries = array("Q", pagemap.read((end - first) * 8))
            for start, stop in runs(number for number, entry in enumerate(entries) if entry & PRESENT):
                yield Piece(offset + start * mmap.PAGESIZE, (stop - start) * mmap.PAGESIZE, name)


def runs(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Yields ascending numbers as ranges, each with the number after its last; a small gap doesn't end a range."""
    start = stop = None
    for number in numbers:
        if stop is None or number > stop + GAP:
            if start is not None and stop is not None:
                yield start, stop
            start = number
        stop = number + 1
    if start is not None and stop is not None:
        yield start, stop


def _imported(modules: Mapping[str, ModuleType]) -> Iterator[Piece]:
    """Yields imported modules in order; of a compiled one only its .pyc file. Shared libraries are noted already."""
    for module in list(modules.values()):
        spec = getattr(module, "__spec__", None)
        for name in (getattr(spec, "cached", None), getattr(spec, "origin", None)):
            if isinstance(name, str) and name.endswith((".py", ".pyc")) and Path(name).is_file():
                yield Piece.whole(name)
                break
