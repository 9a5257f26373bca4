"""A folder for the sockets and the shared memory of one run."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def scratch_folder(within: Path | None = None) -> Iterator[Path]:
    """In memory where that can be written to, since the root file system may be read-only; gone at the end.

    Its name is short, as those of sockets have to be. Within another one, it goes with that if its owner is killed.
    """
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - mkdtemp's names are its own
    folder = Path(tempfile.mkdtemp(prefix="slipway-", dir=within or memory))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
