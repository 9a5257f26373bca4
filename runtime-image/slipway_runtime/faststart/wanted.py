"""The files that a start reads: noted by the two processes when they are ready, and asked for ahead by the next start.

Where nothing of the image is in memory yet, Python asks for one file after the other, and the disk waits in between.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType

ENVIRONMENT = "SLIPWAY_WANTED"  # where the notes are, without the name of the process


def note(who: str, environment: Mapping[str, str] = os.environ) -> None:
    """Once for a cache: an image doesn't change. A cache that can't be written to goes without."""
    if not (begin := environment.get(ENVIRONMENT)):
        return
    file = Path(f"{begin}-{who}")
    with contextlib.suppress(OSError):
        if not file.exists():
            file.write_text("".join(f"{name}\n" for name in dict.fromkeys((*_mapped(), *_imported(sys.modules)))))


def noted(environment: Mapping[str, str]) -> Iterator[str]:
    """Of both processes, each file once; those that are gone are the reader's business."""
    if not (begin := environment.get(ENVIRONMENT)):
        return
    notes = sorted(Path(begin).parent.glob(f"{Path(begin).name}-*"))
    yield from dict.fromkeys(line for file in notes for line in file.read_text().splitlines())


def _mapped() -> Iterator[str]:
    """Libraries, above all."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        name = line[73:].strip()
        if name.startswith("/") and not name.startswith(("/dev/", "/proc/", "/memfd:")) and "(deleted)" not in name:
            yield name


def _imported(modules: Mapping[str, ModuleType]) -> Iterator[str]:
    """In the order in which they were; of a module that has been compiled, only that."""
    for module in list(modules.values()):
        spec = getattr(module, "__spec__", None)
        for name in (getattr(spec, "cached", None), getattr(spec, "origin", None)):
            if isinstance(name, str) and name.startswith("/") and Path(name).is_file():
                yield name
                break
