"""The image of a model's folder: which file is in which layer, and what is counted."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from slipway_fetcher import images, oci
from slipway_fetcher.folder.target import Record
from slipway_fetcher.images import CountedLayer, items_of, layers_of


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "LARGE", 100)


def made(folder: Path, **files: int) -> tuple[Path, Record]:
    """Files of these sizes, whose dots are written as underscores."""
    folder.mkdir(exist_ok=True)
    names = {name.replace("_", "."): size for name, size in files.items()}
    for name, size in names.items():
        (folder / name).write_bytes(name[:1].encode() * size)
    return folder, Record({}, "1", tuple({"path": name, "size": size} for name, size in names.items()))


def layers(folder: Path, record: Record) -> list[CountedLayer]:
    return layers_of(items_of(folder, record), lambda _: None)


def content(layer: CountedLayer) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(b"".join(layer.read()))) as archive:
        return [member.name for member in archive if member.isfile()]


def test_small_files_are_one_layer_and_each_large_one_is_its_own(tmp_path: Path) -> None:
    found = layers(*made(tmp_path, config_json=10, b_safetensors=200, tokenizer_json=20, a_safetensors=300))
    assert [content(layer) for layer in found] == [
        ["models/config.json", "models/tokenizer.json"],
        ["models/a.safetensors"],
        ["models/b.safetensors"],
    ]


def test_a_changed_tokenizer_leaves_the_layers_of_the_weights_as_they_are(tmp_path: Path) -> None:
    before = [layer.digest for layer in layers(*made(tmp_path / "a", t_json=10, a_safetensors=300))]
    after = [layer.digest for layer in layers(*made(tmp_path / "b", t_json=11, a_safetensors=300))]
    assert before[0] != after[0]
    assert before[1:] == after[1:]


def test_a_model_of_very_many_files_has_no_more_layers_than_a_node_can_mount(tmp_path: Path) -> None:
    found = layers(*made(tmp_path, **{f"m{number:03d}_safetensors": 100 for number in range(163)}))
    assert len(found) == 82
    assert sum(len(content(layer)) for layer in found) == 163


def test_the_same_files_are_the_same_image_wherever_they_are(tmp_path: Path) -> None:
    folders = [made(tmp_path / name, config_json=10, a_gguf=300) for name in "ab"]
    (tmp_path / "b/config.json").chmod(0o600)
    assert len({oci.image_of(layers(*each), architecture="amd64").digest for each in folders}) == 1


def test_bytes_that_are_sent_again_count_once(tmp_path: Path) -> None:
    sent: list[int] = []
    layer = layers_of(items_of(*made(tmp_path, a_gguf=300)), sent.append)[0]
    assert layer.digest
    assert not sent
    for start in (0, 1000, 500):
        assert b"".join(layer.read(start, 2000))
    assert sum(sent) == 3000
    layer.count_to(layer.size)
    assert sum(sent) == layer.size
