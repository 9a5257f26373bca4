"""The command-line tool in a release: what krew gets runs alone, is the same each time, and says what it needs."""

from __future__ import annotations

import ast
import hashlib
import io
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from slipway_devcluster.errors import Refusal
from slipway_devcluster.paths import Cache
from slipway_devcluster.progress import Step, Steps
from slipway_release import command_line
from slipway_release.command_line import LAUNCHER, PLATFORMS, PROGRAM, gather, manifest, pack, packages
from slipway_release.source import ROOT, Source

URL = "https://git.example.com/llm/slipway"
SOURCE = Source("0.2.0", "abc", 1795953600, URL)
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folder of a release with the wheel, and krew's archive for this machine and this Python."""
    folder = tmp_path_factory.mktemp("dist")
    steps = Steps(Cache(folder / "cache"), stream=io.StringIO())
    with steps.step("tool") as step:
        return folder, _archive(folder, step)


def _archive(folder: Path, step: Step) -> Path:
    wheel = packages(SOURCE, folder, folder / "built", step)
    gather(wheel, folder / "library", PLATFORMS["linux", "amd64"], [HERE], step)
    pack(folder / "library", folder / "kubectl-llm.tar.gz")
    return folder / "kubectl-llm.tar.gz"


def unpacked(archive: Path, folder: Path) -> Path:
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder


def run(command: list[str | Path], **env: str) -> subprocess.CompletedProcess[str]:
    clean = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **env}
    return subprocess.run(command, capture_output=True, text=True, env=clean, timeout=60, check=False)


def test_an_unpacked_archive_runs_without_anything_else(built: tuple[Path, Path], tmp_path: Path) -> None:
    folder = unpacked(built[1], tmp_path / "store")
    link = tmp_path / "bin" / PROGRAM  # as krew installs it
    link.parent.mkdir()
    link.symlink_to(folder / PROGRAM)
    path = f"{Path(sys.executable).resolve().parent}:{os.environ['PATH']}"
    found = run([link, "plan", "meta-llama/Llama-3.1-70B-Instruct"], PATH=path)
    assert "the cheapest of" in found.stdout, found.stderr
    assert run([link, "--help"], PATH=path).stdout.startswith("Usage: kubectl llm ")
    code = "import yaml, pydantic_core; print(yaml.__file__, pydantic_core.__file__)"
    path = f"{folder}/lib:{folder}/lib/cp{HERE.replace('.', '')}"
    found = run([sys.executable, "-S", "-c", code], PYTHONPATH=path)  # without the packages of the checkout
    assert [each.startswith(str(folder)) for each in found.stdout.split()] == [True, True], found.stderr


def test_the_same_files_make_the_same_archive_without_traces_of_this_machine(
    built: tuple[Path, Path], tmp_path: Path
) -> None:
    folder, archive = built
    pack(folder / "library", tmp_path / "again.tar.gz")
    assert (tmp_path / "again.tar.gz").read_bytes() == archive.read_bytes()
    with tarfile.open(archive) as tar:
        entries = tar.getmembers()
        names = {each.name for each in entries}
        texts = [tar.extractfile(each) for each in entries if each.name.endswith((".json", ".txt", PROGRAM))]
        assert not [text for text in texts if text and str(folder).encode() in text.read()]
    assert {each.name for each in entries if each.mode & 0o111} == {PROGRAM}
    assert "LICENSE" in names
    assert not [name for name in names if name.endswith((".pyc", "RECORD", "direct_url.json"))]


def test_the_same_source_makes_the_same_wheel_and_sdist(built: tuple[Path, Path], tmp_path: Path) -> None:
    folder, _ = built
    steps = Steps(Cache(tmp_path / "cache"), stream=io.StringIO())
    with steps.step("tool") as step:
        packages(SOURCE, tmp_path, tmp_path / "built", step)
    made = sorted(file.name for file in tmp_path.glob("slipway_cli-*"))
    assert len(made) == 2
    for name in made:
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


# --- the launcher ----------------------------------------------------------------------------------------------------


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """Of a Python that this machine doesn't have."""
    (tmp_path / "lib" / "cp399").mkdir(parents=True)
    (tmp_path / PROGRAM).write_text(LAUNCHER.read_text())
    return tmp_path


def test_a_python_that_is_too_old_is_told_what_is_needed(library: Path) -> None:
    found = run([sys.executable, library / PROGRAM, "plan"])
    assert (found.returncode, found.stdout) == (3, "")
    assert found.stderr == (
        f"Error: kubectl llm needs Python 3.99 to 3.99, and `python3` is {HERE}: install one of them, or run "
        "`pipx install slipway-cli`.\n"
    )


def test_another_python_of_the_machine_is_used(library: Path) -> None:
    other = library / "python3.99"
    other.write_text('#!/bin/sh\necho "$@"\n')
    other.chmod(0o755)
    found = run([sys.executable, library / PROGRAM, "plan", "a b"], PATH=f"{library}:{os.environ['PATH']}")
    assert found.stdout == f"{library / PROGRAM} plan a b\n"


def test_the_launcher_starts_with_every_python_3() -> None:
    """An annotation or an f-string would be an error before the message could be written."""
    ast.parse(LAUNCHER.read_text(), feature_version=(3, 4))
    assert not re.search(r"f\"|:=|->", LAUNCHER.read_text())


# --- krew's manifest -------------------------------------------------------------------------------------------------


@pytest.fixture
def archives(tmp_path: Path) -> dict[tuple[str, str], Path]:
    found = {}
    for system, machine in PLATFORMS:
        found[system, machine] = tmp_path / f"{PROGRAM}-0.2.0-{system}-{machine}.tar.gz"
        found[system, machine].write_text(f"{system} {machine}")
    return found


def test_the_manifest_names_each_archive_with_its_checksum(archives: dict[tuple[str, str], Path]) -> None:
    """krew's own validation of it is in ADR 0062."""
    document: dict[str, Any] = yaml.safe_load(manifest(SOURCE, archives))
    assert (document["metadata"]["name"], document["spec"]["version"]) == ("llm", "v0.2.0")
    assert len(document["spec"]["shortDescription"]) <= 50
    for platform in document["spec"]["platforms"]:
        labels = platform["selector"]["matchLabels"]
        archive = archives[labels["os"], labels["arch"]]
        assert platform["uri"] == f"{URL}/releases/download/v0.2.0/{archive.name}"
        assert platform["sha256"] == hashlib.sha256(archive.read_bytes()).hexdigest()
        assert (platform["bin"], platform["files"]) == (PROGRAM, [{"from": "*", "to": "."}])
    assert len(document["spec"]["platforms"]) == 4


def test_without_a_public_url_there_is_no_manifest(archives: dict[tuple[str, str], Path]) -> None:
    with pytest.raises(Refusal, match="SOURCE=https://"):
        manifest(Source("0.2.0", "abc", 1), archives)


def test_the_pythons_are_those_that_the_tool_supports() -> None:
    oldest = re.search(r'requires-python = ">=(\S+)"', (ROOT / "cli/pyproject.toml").read_text())
    assert oldest
    assert command_line.PYTHONS[0] == oldest[1]
