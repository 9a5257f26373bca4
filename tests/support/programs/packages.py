"""Servers that PyPI and npm have, installed into the cache once for each version."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from shutil import which

import pytest
from slipway_devcluster.entries import unfinished
from slipway_devcluster.errors import StepFailed
from slipway_devcluster.locks import locked
from slipway_devcluster.paths import default_cache
from slipway_devcluster.progress import Step, Steps

MLFLOW, AZURITE = "3.17.2", "3.37.0"


def mlflow() -> Path:
    """Its command; 0.7 GB."""

    def install(folder: Path, step: Step) -> None:
        uv = Path(sys.executable).with_name("uv")
        step.run([uv, "venv", "--python", sys.executable, "--relocatable", "--allow-existing", folder])
        wanted = [f"mlflow=={MLFLOW}", "boto3"]
        step.run([uv, "pip", "install", "--quiet", "--python", folder / "bin/python", *wanted])

    return _ensure(f"mlflow-{MLFLOW}", install) / "bin/mlflow"


def azurite() -> list[str | Path]:
    """The command of its blob service; 0.4 GB."""
    node, npm = which("node"), which("npm")
    if not node or not npm:
        pytest.skip("needs node and npm")

    def install(folder: Path, step: Step) -> None:
        (folder / "package.json").write_text("{}")
        options = ["--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
        step.run([npm, "install", *options, "--prefix", folder, f"azurite@{AZURITE}"])

    folder = _ensure(f"azurite-{AZURITE}", install)
    return [node, folder / "node_modules/azurite/dist/src/blob/main.js"]


def _ensure(name: str, install: Callable[[Path, Step], None]) -> Path:
    cache = default_cache()
    steps, final = Steps(cache), cache.root / name
    with locked(cache.locks / name, say=steps.say):
        if not final.exists():
            try:
                with unfinished(final) as folder, steps.step(f"installing {name}") as step:
                    install(folder, step)
            except (StepFailed, subprocess.SubprocessError) as error:
                pytest.skip(f"{name} can't be installed: {error}")
    return final
