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
"""The one for AMD GPUs adds our own code alone to an image that has all else."""


def instructions(image: ReleaseImage) -> list[str]:
    lines = [line for line in image.containerfile.read_text().splitlines() if not line.lstrip().startswith("#")]
    return [line for line in "\n".join(lines).replace("\\\n", "").splitlines() if line]


def runs(image: ReleaseImage, program: str) -> list[str]:
    """The instructions that run a program, each with its entire command."""
    return [line for line in instructions(image) if line.startswith("RUN ") and re.search(rf"\b{program}\b", line)]


@each_on_debian
def test_no_log_and_no_cache_of_apt_tells_when_it_was_built(image: ReleaseImage) -> None:
    for run in runs(image, "apt-get"):
        assert "rm -rf /var/lib/apt/lists/* && find /var/log /var/cache -type f -delete" in run


@each_on_debian
def test_nothing_compiled_has_a_time_in_it(image: ReleaseImage) -> None:
    """Compiled files contain the time of their source, which a layer doesn't preserve: Python would compile again."""
    for run in runs(image, "bin/pip"):
        assert run.count("/bin/pip ") == run.count(" install --no-cache-dir --no-compile ")
    for run in runs(image, "compileall"):
        assert run.count("compileall") == run.count("--invalidation-mode unchecked-hash")


@each_on_debian
def test_another_version_of_ours_leaves_the_layer_of_the_packages_as_it_is(image: ReleaseImage) -> None:
    """So nodes don't pull gigabytes again."""
    text = image.containerfile.read_text()
    packages, rest = text[text.index("AS packages") :].split("\nFROM ", 1)
    assert "pyproject.toml" not in packages
    assert "COPY --from=packages /opt/slipway/venv /opt/slipway/venv" in rest
    assert "COPY --from=ours /opt/added /opt/slipway" in rest


@each_on_debian
def test_what_starts_in_a_pod_finds_python_itself_compiled(image: ReleaseImage) -> None:
    """The official Python image has nothing compiled, and a pod can't write what it compiles."""
    assert [run for run in runs(image, "compileall") if 'get_path("stdlib")' in run]


@each_image
def test_what_runs_in_a_build_leaves_nothing_of_its_own(image: ReleaseImage) -> None:
    for run in runs(image, "sbom.py"):
        assert re.search(r"python3? -B sbom\.py", run)


@each_image
def test_an_image_says_what_it_is_and_where_its_bill_of_materials_is(image: ReleaseImage) -> None:
    [label] = [line for line in instructions(image) if line.startswith("LABEL")]
    for name in ("title", "description", "licenses", "base.name"):
        assert f"org.opencontainers.image.{name}=" in label
    assert 'dev.slipway.sbom="/opt/slipway/sbom.cdx.json"' in label
    assert "sbom.py > sbom.cdx.json" in image.containerfile.read_text()


@pytest.mark.parametrize("folder", ["operator", "runtime-image", "devcluster", "release"])
def test_what_builds_our_packages_is_pinned(folder: str) -> None:
    """hatchling writes its version into what it builds."""
    project = tomllib.loads((ROOT / folder / "pyproject.toml").read_text())
    assert all("==" in each for each in project["build-system"]["requires"])


def test_the_bill_of_materials_is_written_by_the_same_program_everywhere() -> None:
    assert (ROOT / "operator/sbom.py").read_bytes() == (ROOT / "runtime-image/sbom.py").read_bytes()
