"""The command-line tool in a release: a wheel and an sdist, archives for krew, and krew's manifest.

krew unpacks an archive for each platform and needs an executable file in it. Ours is a small Python program, with the
packages of `uv.lock` next to it: those of Python once, and what is compiled for each version of Python.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import shutil
import sys
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from slipway_devcluster.errors import Refusal
from slipway_devcluster.progress import Step

from slipway_release.source import ROOT, Source

LAUNCHER = ROOT / "cli/krew_launcher.py"
PROGRAM = "kubectl-llm"
DATE_OF_FILES = 1580601600  # 2020-02-02, as in images
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
PLATFORMS = {
    # as krew calls it: as uv does
    ("linux", "amd64"): "x86_64-manylinux_2_28",
    ("linux", "arm64"): "aarch64-manylinux_2_28",
    ("darwin", "amd64"): "x86_64-apple-darwin",
    ("darwin", "arm64"): "aarch64-apple-darwin",
}
"""Not Windows: there krew needs an .exe, and `pipx install slipway-cli` makes one."""

OF_INSTALLERS = ("INSTALLER", "RECORD", "REQUESTED", "direct_url.json", "uv_cache.json")
"""What an installer notes of itself and of this machine."""

DESCRIPTION = """\
Plans which accelerators a language model needs, without a cluster: memory, requests at a time, speed and cost.
On a cluster with Slipway it shows models and why one is as it is, from the object to the line of the log, with the one
command to run next.
"""
CAVEATS = """\
It needs Python 3.11 or later, as `python3` or as `python3.11` to `python3.14`.
Completion of names needs the program kubectl_complete-llm on the PATH: `pipx install slipway-cli` installs both.
"""


def make(source: Source, folder: Path, scratch: Path, step: Step) -> None:
    """Write wheel, sdist and archives into `folder`; and krew's manifest, if it is known where they will be."""
    wheel = packages(source, folder, scratch / "built", step)
    archives = {}
    for (system, machine), platform in PLATFORMS.items():
        target = folder / f"{PROGRAM}-{source.version}-{system}-{machine}.tar.gz"
        library = scratch / f"{system}-{machine}"
        gather(wheel, library, platform, PYTHONS, step)
        pack(library, target)
        archives[system, machine] = target
    if source.url:
        (folder / "llm.yaml").write_text(manifest(source, archives))


def packages(source: Source, folder: Path, scratch: Path, step: Step) -> Path:
    """Build wheel and sdist with the date of the source; returns the wheel."""
    command = [_uv(), "build", "--package", "slipway-cli", "--out-dir", str(scratch), str(ROOT)]
    step.run(command, env={"SOURCE_DATE_EPOCH": str(source.epoch)})
    for file in sorted([*scratch.glob("*.whl"), *scratch.glob("*.tar.gz")]):
        shutil.copyfile(file, folder / file.name)
    [wheel] = folder.glob("slipway_cli-*.whl")
    return wheel


def gather(wheel: Path, library: Path, platform: str, pythons: Sequence[str], step: Step) -> None:
    """Put the tool and its locked packages into a folder, for one platform and several versions of Python."""
    library.mkdir(parents=True)
    locked = library.with_suffix(".txt")
    export = (_uv(), "export", "--quiet", "--frozen", "--package", "slipway-cli", "--no-emit-workspace", "--no-dev")
    step.run([*export, "--project", str(ROOT), "--output-file", str(locked)])
    fixed = ("--python-platform", platform, "--only-binary", ":all:", "--no-deps", "--target")
    install = (_uv(), "pip", "install", "--quiet")
    step.run([*install, *fixed, str(library / "lib"), "--python-version", pythons[0], str(wheel)])
    for python in pythons:
        there = library / "lib" / f"cp{python.replace('.', '')}"
        step.run([*install, *fixed, str(there), "--python-version", python, "--require-hashes", "-r", str(locked)])
        for package in sorted(there.iterdir()):
            if not _is_compiled(package):
                _move_once(package, library / "lib" / package.name)
    locked.unlink()
    shutil.copyfile(LAUNCHER, library / PROGRAM)
    shutil.copyfile(ROOT / "LICENSE", library / "LICENSE")


def _is_compiled(package: Path) -> bool:
    """It, or a package whose licence this is, has machine code."""
    if package.suffix == ".dist-info":
        return False
    return any(file.suffix == ".so" for file in (package.rglob("*") if package.is_dir() else [package])) or (
        package.name == "yaml"  # next to _yaml, which is compiled
    )


def _move_once(package: Path, target: Path) -> None:
    if package.name == "bin" or target.exists():
        shutil.rmtree(package) if package.is_dir() else package.unlink()
    else:
        package.rename(target)


def pack(library: Path, target: Path) -> None:
    """A tar.gz that is the same for the same files."""
    with (
        target.open("wb") as opened,
        gzip.GzipFile(filename="", fileobj=opened, mode="wb", mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for file in _files(library):
            name = file.relative_to(library).as_posix()
            content = file.read_bytes()
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime, entry.mode = len(content), DATE_OF_FILES, 0o755 if name == PROGRAM else 0o644
            tar.addfile(entry, io.BytesIO(content))


def _files(library: Path) -> Iterator[Path]:
    for file in sorted(library.rglob("*")):
        if (
            file.is_file()
            and file.name not in OF_INSTALLERS
            and "__pycache__" not in file.parts
            and file.name != ".lock"
        ):
            yield file


def manifest(source: Source, archives: Mapping[tuple[str, str], Path]) -> str:
    if not source.url:
        raise Refusal(
            "krew's manifest names the URLs of the archives: give that of the repository by SOURCE=https://…."
        )
    document: dict[str, Any] = {
        "apiVersion": "krew.googlecontainertools.github.com/v1alpha2",
        "kind": "Plugin",
        "metadata": {"name": "llm"},
        "spec": {
            "version": f"v{source.version}",
            "homepage": source.url,
            "shortDescription": "Plan and diagnose language models on Kubernetes",
            "description": DESCRIPTION,
            "caveats": CAVEATS,
            "platforms": [
                {
                    "selector": {"matchLabels": {"os": system, "arch": machine}},
                    "uri": f"{source.url}/releases/download/v{source.version}/{archive.name}",
                    "sha256": hashlib.sha256(archive.read_bytes()).hexdigest(),
                    "bin": PROGRAM,
                    "files": [{"from": "*", "to": "."}],
                }
                for (system, machine), archive in archives.items()
            ],
        },
    }
    return str(yaml.safe_dump(document, sort_keys=False, width=120))


def _uv() -> str:
    """That of the checkout's environment, or of make's."""
    here = Path(sys.executable).parent / "uv"
    found = (
        str(here) if here.exists() else shutil.which("uv", path=f"{ROOT / '.uv/bin'}{os.pathsep}{os.environ['PATH']}")
    )
    if found is None:
        raise Refusal("uv is not on the PATH: run this by make, which installs it.")
    return found
