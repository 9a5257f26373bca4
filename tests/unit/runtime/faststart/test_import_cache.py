from __future__ import annotations

import importlib
import inspect
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from slipway_runtime.faststart import import_cache, source_names
from slipway_runtime.faststart.import_cache import ImportCache

STRUCTURE = {"llama": {frozenset(["torch"]): {"modeling_llama": {"LlamaModel"}}}}


def returning(value: object) -> Any:
    return lambda: value


def unexpected() -> object:
    pytest.fail("it is computed again")


def test_what_one_start_has_found_is_not_searched_for_by_the_next(tmp_path: Path) -> None:
    assert ImportCache(f"{tmp_path}/survey").get("transformers", returning(STRUCTURE)) == STRUCTURE
    assert ImportCache(f"{tmp_path}/survey").get("transformers", unexpected) == STRUCTURE


@pytest.mark.parametrize("damage", [b"", b"{\x03", b"no marshal at all"], ids=["empty", "cut off", "something else"])
def test_a_damaged_entry_is_computed_again(tmp_path: Path, damage: bytes) -> None:
    kept = ImportCache(f"{tmp_path}/survey")
    kept.get("transformers", returning(STRUCTURE))
    (tmp_path / "survey-transformers").write_bytes(damage)
    assert kept.get("transformers", returning({"new": 1})) == {"new": 1}
    assert kept.get("transformers", unexpected) == {"new": 1}


def test_where_nothing_can_be_stored_it_is_computed_each_time(tmp_path: Path) -> None:
    unwritable = ImportCache(f"{tmp_path}/missing/survey")
    assert [unwritable.get("transformers", returning(value)) for value in "ab"] == ["a", "b"]


def test_other_packages_have_another_cache(tmp_path: Path) -> None:
    (tmp_path / "torch-2.13.0.dist-info").mkdir()
    path = [str(tmp_path), "", f"{tmp_path}/python311.zip"]
    before = ImportCache.of(f"{tmp_path}/survey", path).get("distributions", returning("before"))
    (tmp_path / "torch-2.13.0.dist-info").rename(tmp_path / "torch-2.13.1.dist-info")
    after = ImportCache.of(f"{tmp_path}/survey", path).get("distributions", returning("after"))
    assert (before, after) == ("before", "after")


def test_without_a_cache_nothing_is_patched(monkeypatch: pytest.MonkeyPatch) -> None:
    finders, distributions = [*sys.meta_path], metadata.packages_distributions
    import_cache.install({})
    assert sys.meta_path == finders
    assert metadata.packages_distributions is distributions


# --- as transformers makes it ----------------------------------------------------------------------------------------

IMPORT_UTILS = """
import os
def create_import_structure_from_path(module_path):
    folder = os.path.dirname(module_path) if os.path.isfile(module_path) else module_path
    files = sorted(name for name in os.listdir(folder) if name != "__pycache__")
    print("opens", *files)
    return {"files": {frozenset(): set(files)}}
"""
START = """
import os
from importlib import metadata
from pathlib import Path
from slipway_runtime.faststart import import_cache, source_names
import_cache.install(os.environ)
import transformers
from transformers.utils.import_utils import create_import_structure_from_path as survey
models = Path(transformers.__file__).parent / "models"
print(survey(models) == survey(str(models / "__init__.py")), sorted(survey(models)["files"][frozenset()]))
print("pytest" in metadata.packages_distributions()["pytest"])
"""


def start(folder: Path, code: str = START) -> str:
    """In a process of its own, as every start is."""
    environment = {**os.environ, import_cache.ENVIRONMENT: str(folder / "survey"), "PYTHONPATH": str(folder)}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    ).stdout


@pytest.fixture
def transformers(tmp_path: Path) -> Path:
    """The part of transformers that makes the survey."""
    package = tmp_path / "transformers"
    for name in ("__init__.py", "utils/__init__.py", "models/__init__.py", "models/llama.py"):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).touch()
    (package / "utils/import_utils.py").write_text(IMPORT_UTILS)
    return package


def test_transformers_surveys_its_models_once_for_all_starts(tmp_path: Path, transformers: Path) -> None:
    first, later = start(tmp_path), start(tmp_path)
    assert first.count("opens __init__.py llama.py") == 1
    assert "opens" not in later
    assert "True ['__init__.py', 'llama.py']\nTrue\n" in first
    assert later in first


def test_other_folders_are_surveyed_as_before(tmp_path: Path, transformers: Path) -> None:
    code = START + "print(survey(models.parent))"
    start(tmp_path, code)
    assert "opens __init__.py models utils" in start(tmp_path, code)


def test_a_transformers_version_with_other_code_is_left_alone(tmp_path: Path, transformers: Path) -> None:
    import_utils = transformers / "utils/import_utils.py"
    import_utils.write_text(IMPORT_UTILS.replace("(module_path):", "(module_path, deep=True):"))
    start(tmp_path)
    assert "opens __init__.py llama.py" in start(tmp_path)


REGISTERS = """
import inspect, sys
from reg import utils

def register():
    return utils.get_source(1), utils.get_source(2)

def registering():
    return inspect.getmodule(sys._getframe(0)), inspect.getmodule(sys._getframe(1))
"""
ASKS_INSPECT = """
import inspect, sys

def get_source(stacklevel):
    frame = inspect.getframeinfo(sys._getframe(stacklevel))
    source = f"{frame.filename}:{frame.lineno}"
    return source
"""


@pytest.mark.parametrize("replaced", [True, False], ids=["as expected", "another torch"])
def test_a_registration_is_named_by_its_file_and_line_as_torch_does_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replaced: bool
) -> None:
    (tmp_path / "reg").mkdir()
    (tmp_path / "reg/__init__.py").touch()
    (tmp_path / "reg/utils.py").write_text(ASKS_INSPECT if replaced else ASKS_INSPECT.replace("stacklevel", "level"))
    (tmp_path / "reg/library.py").write_text(REGISTERS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(source_names, "REGISTRATIONS", "reg.utils")
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    slowly = inspect.getmodule
    with source_names.found_quickly():
        library = importlib.import_module("reg.library")
        line = inspect.currentframe().f_lineno + 1  # type: ignore[union-attr]
        assert library.register() == (f"{tmp_path}/reg/library.py:6", f"{__file__}:{line}")
        assert library.registering() == (library, sys.modules[__name__])
        assert inspect.getmodule(ImportCache) is slowly(ImportCache) is import_cache
    assert inspect.getmodule is slowly
    assert (library.utils.get_source.__module__ == source_names.__name__) == replaced
    for name in ("reg", "reg.utils", "reg.library"):
        del sys.modules[name]
