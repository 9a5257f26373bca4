"""Containerfiles are reproducible, as far as that can be checked without building them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from slipway_release.images import ReleaseImage, every

ROOT = Path(__file__).parents[3]
each_image = pytest.mark.parametrize("image", every().values(), ids=every().keys())
on_debian = [image for image in every().values() if image.builds_on_debian]
each_on_debian = pytest.mark.parametrize("image", on_debian, ids=lambda image: image.name)
"""The image for AMD GPUs adds only our own code to an image that has everything else."""


def instructions(image: ReleaseImage) -> list[str]:
    lines = [line for line in image.containerfile.read_text().splitlines() if not line.lstrip().startswith("#")]
    return [line for line in "\n".join(lines).replace("\\\n", "").splitlines() if line]


def runs(image: ReleaseImage, program: str) -> list[str]:
    """Returns the instructions that run a program, each with its entire command."""
    return [line for line in instructions(image) if line.startswith("RUN ") and re.search(rf"\b{program}\b", line)]


@each_on_debian
def test_logs_and_caches_of_apt_are_removed_because_they_contain_times(image: ReleaseImage) -> None:
    for run in runs(image, "apt-get"):
        assert "rm -rf /var/lib/apt/lists/* && find /var/log /var/cache -type f -delete" in run


@each_on_debian
def test_no_compiled_file_contains_a_time(image: ReleaseImage) -> None:
    """Compiled files contain the time of their source, which a layer doesn't preserve: Python would compile again."""
    for run in runs(image, "bin/pip"):
        assert run.count("/bin/pip ") == run.count(" install --no-cache-dir --no-compile ")
    for run in runs(image, "compileall"):
        assert run.count("compileall") == run.count("--invalidation-mode unchecked-hash")


@each_on_debian
def test_a_new_version_of_slipway_does_not_change_the_layer_of_the_packages(image: ReleaseImage) -> None:
    """So nodes don't pull gigabytes again."""
    text = image.containerfile.read_text()
    packages, rest = text[text.index("AS packages") :].split("\nFROM ", 1)
    assert "pyproject.toml" not in packages
    assert "COPY --from=packages /opt/slipway/venv /opt/slipway/venv" in rest
    assert "COPY --from=ours /opt/added /opt/slipway" in rest


@each_on_debian
def test_the_standard_library_of_python_is_compiled_in_images(image: ReleaseImage) -> None:
    """The official Python image has nothing compiled, and a pod can't write what it compiles."""
    assert [run for run in runs(image, "compileall") if 'get_path("stdlib")' in run]


@each_image
def test_programs_in_a_build_leave_no_files_of_their_own(image: ReleaseImage) -> None:
    for run in runs(image, "sbom.py"):
        assert re.search(r"python3? -B sbom\.py", run)


@each_image
def test_an_image_has_labels_and_the_path_of_its_sbom(image: ReleaseImage) -> None:
    [label] = [line for line in instructions(image) if line.startswith("LABEL")]
    for name in ("title", "description", "licenses", "base.name"):
        assert f"org.opencontainers.image.{name}=" in label
    assert 'dev.slipway.sbom="/opt/slipway/sbom.cdx.json"' in label
    assert "sbom.py > sbom.cdx.json" in image.containerfile.read_text()


@pytest.mark.parametrize("folder", ["operator", "runtime-image", "devcluster", "release"])
def test_the_build_backend_of_our_packages_is_pinned(folder: str) -> None:
    """hatchling writes its version into the packages that it builds."""
    project = tomllib.loads((ROOT / folder / "pyproject.toml").read_text())
    assert all("==" in each for each in project["build-system"]["requires"])


def test_the_sbom_is_written_by_the_same_program_in_every_image() -> None:
    assert (ROOT / "operator/sbom.py").read_bytes() == (ROOT / "runtime-image/sbom.py").read_bytes()
