"""A module is imported without the rest of its package, which can be imported later as if nothing had happened."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from slipway_runtime.faststart.hollow_package import import_alone


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Returns the name of a package that imports one of its modules, and takes a name out of another."""
    inner = tmp_path / "outermost/heavy/common"
    inner.mkdir(parents=True)
    (tmp_path / "outermost/__init__.py").touch()
    heavy = "from .common import light\nfrom .common.other import OTHER\n"
    (tmp_path / "outermost/heavy/__init__.py").write_text(heavy)
    (inner / "__init__.py").touch()
    (inner / "light.py").write_text("LIGHT = object()\n")
    (inner / "other.py").write_text("from .light import LIGHT\nOTHER = LIGHT\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield "outermost.heavy"
    for name in [name for name in sys.modules if name.partition(".")[0] == "outermost"]:
        del sys.modules[name]


def test_a_module_is_imported_without_its_package(package: str) -> None:
    import_alone(package, "common.light")
    assert {name for name in sys.modules if name.startswith("outermost")} == {"outermost", f"{package}.common.light"}
    assert not hasattr(sys.modules["outermost"], "heavy")


def test_the_package_can_be_imported_later_and_has_the_same_module(package: str) -> None:
    import_alone(package, "common.light")
    light = importlib.import_module(f"{package}.common.light")
    heavy = importlib.import_module(package)
    assert (heavy.light, heavy.OTHER) == (light, light.LIGHT)
    assert importlib.import_module(f"{package}.common.other").OTHER is light.LIGHT


def test_a_package_that_is_there_is_left_alone(package: str) -> None:
    heavy = importlib.import_module(package)
    import_alone(package, "common.light")
    assert sys.modules[package] is heavy


def test_after_a_failure_the_package_can_still_be_imported(package: str) -> None:
    with pytest.raises(ImportError):
        import_alone(package, "common.missing")
    assert importlib.import_module(package).OTHER
