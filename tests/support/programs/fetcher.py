"""slipway-fetch: in the test's process, or as one of its own that can be killed."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


def started(uri: str, folder: Path, *flags: str, environment: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """A process; its output is a pipe."""
    argv = [sys.executable, "-m", "slipway_fetcher", *QUICK, *flags, uri, str(folder)]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env={**os.environ, **(environment or {})})


def content_of(folder: Path) -> dict[str, bytes]:
    """All files of a model."""
    files = [path for path in folder.rglob("*") if path.is_file() and ".slipway" not in path.parts]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
