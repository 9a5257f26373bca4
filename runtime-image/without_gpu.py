"""Deletes what only GPUs need from the environment in which it runs: PyPI's torch is the one for CUDA.

Of NVIDIA's libraries, those stay that torch has loaded here, without a GPU: it can't be imported without them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

ALWAYS_NEEDLESS = ("**/*.a", "libomptarget*", "libsycl*", "**/torch/lib/libtorch_cuda_linalg.so")
"""In `lib` of the environment: for linking, for Intel's GPUs, and what torch loads for the first linear algebra on a
GPU."""


def needless(libraries: Path, nvidia: Path, loaded: set[str]) -> Iterator[Path]:
    for pattern in ALWAYS_NEEDLESS:
        yield from libraries.glob(pattern)
    yield from (file for file in nvidia.rglob("*") if file.is_file() and str(file.resolve()) not in loaded)


def loaded_files() -> set[str]:
    """Returns the files that this process has mapped."""
    return {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines()}


def main() -> None:
    import torch  # noqa: PLC0415 - only the image has it

    for file in set(needless(Path(sys.prefix) / "lib", Path(torch.__file__).parents[1] / "nvidia", loaded_files())):
        file.unlink()


if __name__ == "__main__":
    main()
