"""Archives and image layers write and delete below the model's folder alone."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest
from slipway_fetcher.folder.unpacking import unpack, unpack_layer
from slipway_fetcher.problem import FetchError, Reason

KEY = "0123456789abcdef"  # of another model in the same volume


@pytest.fixture
def into(tmp_path: Path) -> Path:
    """The folder of a model that is being fetched; in its volume is another model."""
    for folder in (tmp_path / "volume" / KEY, made := tmp_path / "volume" / ".partial" / "model"):
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
    return made


def layer_of(folder: Path, *paths: str) -> Path:
    file = folder / "layer.tar"
    with tarfile.open(file, "w") as layer:
        for path in paths:
            layer.addfile(tarfile.TarInfo(path), io.BytesIO())
    return file


def wants_all(_: str) -> bool:
    return True


@pytest.mark.parametrize(
    "path",
    [
        *(f"../../.wh.{KEY}", "../../.wh..wh..opq", "../.wh..wh..opq", "a/../../../.wh..wh..opq", f"/../.wh.{KEY}"),
        *(".wh...", ".wh..", ".wh.", "a/.wh...", "/.wh.config.json", ".wh..slipway", ".slipway/.wh..wh..opq"),
    ],
)
def test_a_layer_deletes_nothing_outside_of_the_models_folder(tmp_path: Path, into: Path, path: str) -> None:
    (into / ".slipway").mkdir()
    with pytest.raises(FetchError) as refused:
        unpack_layer(layer_of(tmp_path, f"models/{path}"), into, wants_all, "models/")
    assert refused.value.reason is Reason.CORRUPT
    assert (tmp_path / "volume" / KEY / "config.json").exists()
    assert (into / "config.json").exists()
    assert (into / ".slipway").exists()


def test_a_layer_deletes_what_earlier_ones_had(tmp_path: Path, into: Path) -> None:
    for name in ("old/a", "old/b", "kept/a", "kept/b"):
        (into / name).parent.mkdir(exist_ok=True)
        (into / name).touch()
    layer = layer_of(tmp_path, "models/.wh.config.json", "models/kept/.wh.a", "models/old/.wh..wh..opq", "models/old/c")
    unpack_layer(layer, into, wants_all, "models/")
    assert sorted(str(each.relative_to(into)) for each in into.rglob("*") if each.is_file()) == ["kept/b", "old/c"]


def test_an_archive_that_is_no_layer_deletes_nothing(tmp_path: Path, into: Path) -> None:
    archive = tmp_path / "model.zip"
    for path in (f"{tmp_path}/volume/.wh.{KEY}", f"../../.wh.{KEY}"):
        with zipfile.ZipFile(archive, "w") as opened:
            opened.writestr(path, "")
        with pytest.raises(FetchError):
            unpack(archive, into, wants_all)
    unpack(layer_of(tmp_path, ".wh.config.json"), into, wants_all)
    assert (tmp_path / "volume" / KEY / "config.json").exists()
    assert (into / "config.json").exists()
