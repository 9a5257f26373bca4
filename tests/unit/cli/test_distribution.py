"""The wheel of the command-line tool works alone, in an environment without the repository and the operator."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from support.programs.terminal import BIN

REPOSITORY = Path(__file__).parents[3]
LARGEST = 1 << 20  # bytes of the wheel
WITHOUT = ("aiohttp", "grpc", "httptools", "kopf", "kubernetes", "prometheus_client", "uvloop")


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One that is built from the repository, and one from the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    uv("build", "--package", "slipway-cli", "--wheel", "--out-dir", str(folder / "direct"), str(REPOSITORY))
    uv("build", "--package", "slipway-cli", "--out-dir", str(folder / "by-sdist"), str(REPOSITORY))
    return [next((folder / which).glob("*.whl")) for which in ("direct", "by-sdist")]


def uv(*arguments: str) -> None:
    subprocess.run([str(BIN / "uv"), *arguments, "--quiet"], check=True, capture_output=True, timeout=240)


def contents(wheel: Path) -> set[str]:
    return {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}


def test_both_ways_to_build_it_give_the_same_files(wheels: list[Path]) -> None:
    direct, by_sdist = wheels
    assert contents(direct) == contents(by_sdist)
    assert direct.stat().st_size < LARGEST


def test_it_has_no_module_that_needs_what_it_does_not_install(wheels: list[Path]) -> None:
    found = contents(wheels[0])
    assert not [name for name in found if name.startswith(("slipway/kube/", "slipway/activator/", "slipway/process/"))]
    assert not [name for name in found if "__pycache__" in name]
    assert any(name.startswith("slipway_cli/data/runbooks/") for name in found)


def test_every_module_that_the_tool_imports_is_in_the_wheel(wheels: list[Path]) -> None:
    code = (
        "import pkgutil, sys, importlib, slipway_cli\n"
        "for each in pkgutil.walk_packages(slipway_cli.__path__, 'slipway_cli.'):\n"
        "    importlib.import_module(each.name)\n"
        "print(*(name for name in sys.modules if name.split('.')[0] in ('slipway', 'slipway_cli')))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout
    found = contents(wheels[0])
    paths = [name.replace(".", "/") for name in loaded.split()]
    assert not [path for path in paths if f"{path}.py" not in found and f"{path}/__init__.py" not in found]


def test_it_runs_in_an_environment_that_has_nothing_else(wheels: list[Path], tmp_path: Path) -> None:
    python = tmp_path / "venv/bin/python"
    uv("venv", "--python", sys.executable, str(tmp_path / "venv"))
    uv("pip", "install", "--python", str(python), str(wheels[0]))
    for name in WITHOUT:
        assert subprocess.run([python, "-c", f"import {name}"], capture_output=True, check=False).returncode == 1
    for arguments, said in (
        (["plan", "meta-llama/Llama-3.1-70B-Instruct"], "the cheapest of"),
        (["explain", "SlipwayGpuOutOfMemory"], "Mitigation"),
        (["init", "Qwen/Qwen3-8B"], "kind: LLMDeployment"),
        (["--version"], "slipway "),
    ):
        program = tmp_path / "venv/bin/slipway"
        found = subprocess.run(
            [program, *arguments], capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False
        )
        assert found.returncode == 0, found.stderr
        assert said in found.stdout
