"""A cache is used only for what it was filled for, and only if it is unchanged since it was sealed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from slipway_runtime.faststart.caches import Cache, key_of
from slipway_runtime.faststart.settings import FastStartSettings

Opening = Callable[..., Cache]


@pytest.fixture
def log() -> list[str]:
    return []


@pytest.fixture
def settings(tmp_path: Path) -> FastStartSettings:
    return FastStartSettings(version="0.24.0", ordinary=(), cache=str(tmp_path), device="NVIDIA H200", model="abc")


@pytest.fixture
def opening(settings: FastStartSettings, log: list[str]) -> Opening:
    def open_(*flags: str, **changed: str) -> Cache:
        return Cache.open(replace(settings, **changed), flags, say=log.append)  # type: ignore[arg-type]

    return open_


def filled(cache: Cache) -> Path:
    """Filled as an engine does it and then sealed, by a process that has ended."""
    file = compiled(cache)
    file.parent.mkdir(parents=True)
    file.write_text("compiled")
    cache.seal()
    cache.close()
    return file


def compiled(cache: Cache) -> Path:
    return Path(cache.environment["VLLM_CACHE_ROOT"]) / "artifact"


def test_a_sealed_cache_is_used(opening: Opening, log: list[str]) -> None:
    filled(opening())
    assert compiled(opening()).read_text() == "compiled"
    assert "uses the cache" in log[-1]


def test_a_cache_that_was_never_sealed_is_filled_again(opening: Opening, log: list[str]) -> None:
    first = opening()
    compiled(first).parent.mkdir(parents=True)
    compiled(first).write_text("half of it")
    first.close()
    assert not compiled(opening()).exists()
    assert "was never finished: it is filled again" in log[-1]


@pytest.mark.parametrize("damage", [lambda file: file.write_text("Compiled"), lambda file: file.unlink()])
def test_a_damaged_cache_is_filled_again(opening: Opening, log: list[str], damage: Callable[[Path], object]) -> None:
    damage(filled(opening()))
    assert not compiled(opening()).exists()
    assert "is damaged: vllm/artifact has changed" in log[-1]


def test_an_invalid_manifest_is_ignored(opening: Opening, log: list[str], tmp_path: Path) -> None:
    filled(opening())
    next(tmp_path.glob("*/manifest.json")).write_text('{"format": 1')
    assert not compiled(opening()).exists()
    assert "was never finished" in log[-1]


def test_a_cache_that_was_moved_to_another_caches_place_is_not_used(
    opening: Opening, log: list[str], tmp_path: Path
) -> None:
    filled(opening(device="NVIDIA L4"))
    moved = next(tmp_path.glob("*/manifest.json")).parent
    right = opening()
    assert right.folder
    right.close()
    (right.folder / "files").rmdir()
    right.folder.rmdir()
    moved.rename(right.folder)
    assert not compiled(opening()).exists()
    assert "is for something else: device is NVIDIA H200, and was NVIDIA L4" in log[-1]


@pytest.mark.parametrize(
    ("changed", "difference"),
    [
        ({"version": "0.24.1"}, "engine is vLLM 0.24.1, and was vLLM 0.24.0"),
        ({"device": "NVIDIA L4"}, "device is NVIDIA L4, and was NVIDIA H200"),
        ({"model": "def"}, "model is def, and was abc"),
    ],
)
def test_a_cache_that_does_not_fit_is_reported_with_the_differences(
    opening: Opening, log: list[str], changed: dict[str, str], difference: str
) -> None:
    filled(opening())
    assert not compiled(opening(**changed)).exists()
    assert "fits this start, so a new one is filled" in log[-1]
    assert difference in log[-1]


def test_other_flags_use_another_cache(opening: Opening, log: list[str]) -> None:
    filled(opening("--max-model-len=8192"))
    opening("--max-model-len=4096")
    assert "flags is --max-model-len=4096, and was --max-model-len=8192" in log[-1]


@pytest.mark.parametrize("flag", ["--port=1", "--host=::", "--served-model-name=a", "--middleware=x.Guard"])
def test_flags_that_do_not_affect_compilation_are_not_part_of_the_key(settings: FastStartSettings, flag: str) -> None:
    assert key_of(settings, (flag,)) == key_of(settings, ())


def test_files_added_after_the_seal_are_not_trusted_until_it_is_sealed_again(opening: Opening) -> None:
    late = filled(opening()).with_name("late")
    late.write_text("half of it")
    second = opening()
    assert not late.exists()
    late.write_text("all of it")
    second.seal()
    second.close()
    opening()
    assert late.read_text() == "all of it"


def test_a_second_start_does_without_the_cache_while_another_fills_it(opening: Opening, log: list[str]) -> None:
    opening()
    assert opening().environment == {}
    assert "another start fills it" in log[-1]


def test_without_a_folder_nothing_is_cached(opening: Opening) -> None:
    cache = opening(cache="")
    cache.seal()
    assert cache.environment == {}


def test_a_folder_that_cannot_be_created_does_not_prevent_the_start(
    opening: Opening, log: list[str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    assert opening(cache=str(tmp_path / "file/cache")).environment == {}
    assert "can't be used: Not a directory" in log[-1]
