"""The image of complete folders, in layers that a new version of a model has in common with the one before.

A large file is a layer of its own, so that a corrected tokenizer doesn't send the weights again. The same files are
always the same image, wherever it is made and wherever they came from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from slipway_fetcher import oci
from slipway_fetcher.folder.target import RECORD, Record

ROOT = "models"  # as KServe's images of models have it
LARGE = 64 << 20  # bytes
MOST_LARGE = 100
"""Layers of large files. A node mounts all layers at once, and Linux limits how many: 127 in some snapshotters."""
ARCHITECTURE = "amd64"
"""Written into every image: files of models don't depend on it, and nodes don't check it when they mount a digest."""


class CountedLayer:
    """A layer that reports the bytes that are read of it for sending; those that are sent again count once."""

    def __init__(self, layer: oci.Layer, sent: Callable[[int], None]) -> None:
        self._layer, self._sent = layer, sent
        self._farthest = 0
        self.media_type, self.size = layer.media_type, layer.size

    @property
    def digest(self) -> str:
        return self._layer.digest

    def read(self, start: int = 0, size: int | None = None) -> Iterator[bytes]:
        position = start
        for piece in self._layer.read(start, size):
            yield piece
            position += len(piece)
            self.count_to(position)

    def count_to(self, position: int) -> None:
        if position > self._farthest:
            self._sent(position - self._farthest)
            self._farthest = position


@dataclass(frozen=True)
class Item:
    """A file of an image."""

    name: str  # there
    path: Path
    size: int


def items_of(folder: Path, record: Record) -> list[Item]:
    """Of a model, below /models."""
    return [Item(f"{ROOT}/{file['path']}", folder / file["path"], int(file["size"])) for file in record.files]


def items_of_volume(folder: Path, records: Mapping[str, Record]) -> list[Item]:
    """Of several models by the names of their folders: with their records, so that slipway-fetch finds them complete
    where the image is mounted instead of the volume."""
    items = []
    for name, record in records.items():
        files = {file["path"]: int(file["size"]) for file in record.files}
        files[RECORD] = (folder / name / RECORD).stat().st_size
        items += [Item(f"{name}/{path}", folder / name / path, size) for path, size in files.items()]
    return items


def layers_of(items: Iterable[Item], sent: Callable[[int], None]) -> list[CountedLayer]:
    """The small files first, together; then the large ones by their names."""
    items = sorted(items, key=lambda item: item.name)
    large = [item for item in items if item.size >= LARGE]
    small = [item for item in items if item.size < LARGE]
    together = -(-len(large) // MOST_LARGE)  # files of one layer, of which there are more than one in a huge model
    groups = [small, *(large[start : start + together] for start in range(0, len(large), together or 1))]
    return [CountedLayer(_layer(group), sent) for group in groups if group]


def _layer(items: Iterable[Item]) -> oci.Layer:
    return oci.Layer(oci.File(item.name, item.path) for item in items)
