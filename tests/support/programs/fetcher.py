"""slipway-fetch and slipway-push: in the test's process, or as one of its own that can be killed."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway_fetcher import push
from slipway_fetcher.__main__ import run

QUICK = ("--progress-every=1", "--termination-log=/nonexistent")


@dataclass(frozen=True)
class Outcome:
    """What a run has printed, and how it has ended."""

    code: int
    lines: list[dict[str, Any]]

    @property
    def last(self) -> dict[str, Any]:
        return self.lines[-1]

    @property
    def sentence(self) -> str:
        return f"{self.last['reason']}: {self.last['message']} {self.last['remedy']}"

    def events(self, name: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["event"] == name]


def fetch(uri: str, folder: Path, *flags: str, environment: Mapping[str, str] | None = None) -> Outcome:
    output = io.StringIO()
    code = run([*QUICK, *flags, uri, str(folder)], environment or {}, output)
    return Outcome(code, [json.loads(line) for line in output.getvalue().splitlines()])


def pushed(image: str, *arguments: Path | str) -> Outcome:
    output = io.StringIO()
    code = push.run([*QUICK, image, *map(str, arguments)], output)
    return Outcome(code, [json.loads(line) for line in output.getvalue().splitlines()])


WITH_STEPS = """
import os, sys
from slipway_fetcher import __main__
from slipway_fetcher.download import downloading, transfer
steps, ends_after = int(sys.argv.pop(1)), int(sys.argv.pop(1))
downloading.RANGE, transfer.NOTED_EVERY = steps, 1 << 16
left = [ends_after]
def counted(name):
    call = getattr(os, name)
    def counting(*args, **kwargs):
        left[0] -= 1
        if left[0] == 0:
            os._exit(137)
        return call(*args, **kwargs)
    setattr(os, name, counting)
for name in ("pwrite", "write", "fsync", "fdatasync", "mkdir", "rename", "rmdir", "unlink", "open", "ftruncate"):
    counted(name)
__main__.main()
"""


def started(uri: str, folder: Path, *flags: str, steps: int = 1 << 20, ends_after: int = 0) -> subprocess.Popen[str]:
    """A process; its output is a pipe. `steps`: bytes of a range, so that a small file has as many as a large one.
    `ends_after`: so many system calls that change files, before the last of which it ends as if it were killed."""
    argv = [sys.executable, "-c", WITH_STEPS, str(steps), str(ends_after), *QUICK, *flags, uri, str(folder)]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)


def kill(process: subprocess.Popen[str]) -> None:
    """As the kernel does it, without a moment to tidy up."""
    process.kill()
    process.communicate()


def content_of(folder: Path) -> dict[str, bytes]:
    """All files of a model."""
    files = [path for path in folder.rglob("*") if path.is_file() and ".slipway" not in path.parts]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
