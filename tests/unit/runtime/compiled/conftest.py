"""A store, and the scratch folder of a pod that reads and fills it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from slipway_runtime.compiled.scratch import Scratch


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Scratch]:
    scratch = Scratch.within(tmp_path / "pod")
    yield scratch
    scratch.close()
