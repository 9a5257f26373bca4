"""A folder for the sockets and the shared memory of one run."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def scratch_folder(within: Path | None = None) -> Iterator[Path]:
    """Makes a folder, in memory where that is writable, since the root file system may be read-only; removes it at the
    end.

    Its name is short, because paths of sockets have to be. A folder within another one is removed with that if its
    owner is killed.
    """
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - mkdtemp's names are its own
    folder = Path(tempfile.mkdtemp(prefix="slipway-", dir=within or memory))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
