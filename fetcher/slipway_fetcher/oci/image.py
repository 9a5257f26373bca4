# Generated from runtime-image/slipway_runtime/oci/image.py by `make generate`; do not edit.
"""An image of layers, as containerd and CRI-O pull it: they refuse artifacts whose config doesn't list the layers."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


class Blob(Protocol):
    """Something that a registry stores by its digest."""

    @property
    def media_type(self) -> str: ...

    @property
    def size(self) -> int: ...

    @property
    def digest(self) -> str: ...

    def read(self, start: int = 0, size: int | None = None) -> Iterator[bytes]: ...


@dataclass(frozen=True)
class Text:
    """A blob in memory."""

    media_type: str
    content: bytes

    @property
    def size(self) -> int:
        return len(self.content)

    @property
    def digest(self) -> str:
        return f"sha256:{hashlib.sha256(self.content).hexdigest()}"

    def read(self, start: int = 0, size: int | None = None) -> Iterator[bytes]:
        yield self.content[start : None if size is None else start + size]


@dataclass(frozen=True)
class Image:
    """`digest`, by which it is mounted, follows from the content alone."""

    layers: tuple[Blob, ...]
    config: Text
    manifest: Text

    @property
    def digest(self) -> str:
        return self.manifest.digest

    @property
    def blobs(self) -> tuple[Blob, ...]:
        """What the manifest names."""
        return (*self.layers, self.config)

    @property
    def size(self) -> int:
        """Bytes of all that a registry stores of it."""
        return self.manifest.size + sum(blob.size for blob in self.blobs)


def image_of(
    layers: Sequence[Blob], *, labels: Mapping[str, str] | None = None, architecture: str | None = None
) -> Image:
    """`architecture`: of the nodes that can use it, by Go's name; by default this machine's."""
    config = {
        "architecture": architecture or this_architecture(),
        "os": "linux",
        "config": {"Labels": dict(labels)} if labels else {},
        "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in layers]},
    }
    described = Text(CONFIG, _json(config))
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": _descriptor(described),
        "layers": [_descriptor(layer) for layer in layers],
    }
    return Image(tuple(layers), described, Text(MANIFEST, _json(manifest)))


def this_architecture() -> str:
    machine = platform.machine()
    return ARCHITECTURES.get(machine, machine)


def _descriptor(blob: Blob) -> dict[str, object]:
    return {"mediaType": blob.media_type, "digest": blob.digest, "size": blob.size}


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
