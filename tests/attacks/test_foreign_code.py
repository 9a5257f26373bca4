"""Code in the engine's working directory, where volumes of the spec may be mounted, is never run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from slipway_runtime.engines import engine, llamacpp
from slipway_runtime.engines.engine import ISOLATED, Wish
from slipway_runtime.faststart.pair import Pair
from support.builders.model_files import write_gguf
from support.ports import free_port

CONTAINERFILES = sorted((Path(__file__).parents[2] / "runtime-image").glob("*.Containerfile"))
PYTHON = f"lib/python{sys.version_info[0]}.{sys.version_info[1]}"
MODULES = ("uvloop", "uvicorn", "torch", "vllm", "xllamacpp", "slipway_runtime", "sitecustomize", "usercustomize")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A container's root folder with volumes that have the names of packages, each as a folder and as a file."""
    root = tmp_path / "root"
    for module in MODULES:
        (root / module).mkdir(parents=True)
        (root / module / "__init__.py").write_text(f"open({str(root / 'RAN')!r}, 'a').write('{module} ')")
    for module in ("json", "signal", "ctypes"):
        (root / f"{module}.py").write_text(f"open({str(root / 'RAN')!r}, 'a').write('{module}.py ')")
    return root


def ran(root: Path) -> str:
    return (root / "RAN").read_text() if (root / "RAN").exists() else ""


def test_a_volume_with_the_name_of_a_package_is_not_run_by_the_engine(root: Path, tmp_path: Path) -> None:
    model = write_gguf(tmp_path / "tiny.gguf")
    ports = [f"--port={free_port()}", f"--management-port={free_port()}", f"--termination-log={tmp_path / 'log'}"]
    command = [str(Path(sys.executable).with_name("slipway-runtime")), "warm", "llamacpp", f"--model={model}", *ports]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=200, check=False)
    assert ran(root) == ""
    assert done.returncode == 0, done.stderr


def test_a_volume_with_the_name_of_a_package_is_not_run_by_a_fast_start(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root)
    with Pair([], os.environ, {}) as pair:
        pair.occurrences.get(timeout=60)
    assert ran(root) == ""


def test_all_engine_commands_import_code_only_from_where_it_is_installed() -> None:
    wish = Wish(model=Path("/mnt/models/tiny.gguf"), host="127.0.0.1", port=8080)
    assert llamacpp.launch(wish).command[1:3] == ("-P", "-s")
    assert engine.module("any")[1:] == ("-P", "-s", "-m", "any")


PRINT_PATHS = "import json, sys; print(json.dumps([sys.flags.safe_path, sys.flags.no_user_site, sys.path]))"
SPAWNS = f"""
import multiprocessing, sys
def show():
    {PRINT_PATHS}
if __name__ == "__main__":
    child = multiprocessing.get_context("spawn").Process(target=show)
    child.start()
    child.join()
    sys.exit(child.exitcode)
"""


@pytest.mark.parametrize("words", [["-c", PRINT_PATHS], ["-m", "shows"], ["-m", "spawns"]], ids=["-c", "-m", "spawn"])
def test_child_processes_of_engines_import_no_code_from_volumes_either(root: Path, words: list[str]) -> None:
    installed = root.parent / "installed"
    installed.mkdir()
    (installed / "shows.py").write_text(PRINT_PATHS)
    (installed / "spawns.py").write_text(SPAWNS)
    environment = {**os.environ, "PYTHONPATH": str(installed), **ISOLATED}
    printed = subprocess.check_output([sys.executable, *words], cwd=root, env=environment, text=True)
    safe, no_user_site, path = json.loads(printed)
    assert (safe, no_user_site) == (True, 1)
    assert not {"", str(root)} & {*path}
    assert ran(root) == ""


def test_code_in_the_home_folder_is_not_run(root: Path, tmp_path: Path) -> None:
    """The home folder is on a volume, and Python outside a virtual environment imports from there."""
    packages = tmp_path / "home/.local" / PYTHON / "site-packages"
    packages.mkdir(parents=True)
    (packages / "usercustomize.py").write_text((root / "usercustomize/__init__.py").read_text())
    (packages / "evil.pth").write_text("import usercustomize\n")
    environment = {"HOME": str(tmp_path / "home")}
    python = str(Path(sys.base_prefix) / "bin/python3")
    subprocess.run([python, "-c", ""], env=environment, check=True)
    assert ran(root) == "usercustomize ", "this Python has no user site folder, so it proves nothing"
    (root / "RAN").unlink()
    subprocess.run([python, "-c", ""], env={**environment, **ISOLATED}, check=True)
    subprocess.run([python, *engine.module("this")[1:]], env=environment, check=True, capture_output=True)
    assert ran(root) == ""


@pytest.mark.parametrize("file", CONTAINERFILES, ids=lambda file: file.stem)
def test_process_1_imports_no_code_from_volumes_either(file: Path) -> None:
    text = file.read_text()
    for name, value in ISOLATED.items():
        assert re.search(rf"^ENV .*\b{name}={value}\b", text.replace("\\\n", ""), re.MULTILINE)
    found = re.search(r"^ENTRYPOINT (\[.*\])$", text, re.MULTILINE)
    assert found
    command: list[str] = json.loads(found[1])
    assert command[-1] == "/opt/slipway/venv/bin/slipway-runtime" or command[-4:-1] == ["-P", "-s", "-m"]
