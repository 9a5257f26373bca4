"""Images as OCI archives, written and read directly: a tar file of an index, a manifest, a configuration and layers.

The same input makes the same bytes, because an archive contains no time of its creation. Layers are not compressed: for
images that never leave the machine, fast reading matters more than size.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from slipway_devcluster.errors import Refusal

_LAYER = "application/vnd.oci.image.layer.v1.tar"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_NAME = "org.opencontainers.image.ref.name"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class Layer:
    path: Path
    digest: str
    size: int


@dataclass(frozen=True)
class Image:
    """The image in an archive: its name, and the digest of its manifest."""

    name: str
    digest: str


def write_layer(path: Path, fill: Callable[[tarfile.TarFile], None]) -> Layer:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        fill(tar)
    return Layer(path, file_digest(path), path.stat().st_size)


def write_archive(target: Path, name: str, layers: Sequence[Layer], config: Mapping[str, Any]) -> None:
    """Write an image for this machine's architecture. `config` says how its containers are run."""
    image = _json(
        {
            "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
            "os": "linux",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in layers]},
            "history": [{"created_by": "slipway-devcluster"} for _ in layers],  # buildah requires one for each layer
        }
    )
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": _descriptor(_CONFIG, image),
            "layers": [{"mediaType": _LAYER, "digest": layer.digest, "size": layer.size} for layer in layers],
        }
    )
    _pack(target, name, manifest, image, layers)


def pack_folder(target: Path, name: str, folder: Path, *, created: str | None = None) -> None:
    """Write an image as an archive, from a folder of buildah's `dir:` transport; `created` replaces its date."""
    manifest = (folder / "manifest.json").read_bytes()
    parts = json.loads(manifest)
    image = (folder / _hex(parts["config"]["digest"])).read_bytes()
    layers = [Layer(folder / _hex(part["digest"]), part["digest"], part["size"]) for part in parts["layers"]]
    if created:
        image = _json({**json.loads(image), "created": created})
        manifest = _json({**parts, "config": {**parts["config"], "digest": _digest(image), "size": len(image)}})
    _pack(target, name, manifest, image, layers)


def _pack(target: Path, name: str, manifest: bytes, image: bytes, layers: Sequence[Layer]) -> None:
    named = {**_descriptor(_MANIFEST, manifest), "annotations": {_NAME: name}}
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as tar:
        add_bytes(tar, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
        add_bytes(tar, "index.json", _json({"schemaVersion": 2, "manifests": [named]}))
        for blob in (manifest, image):
            add_bytes(tar, f"blobs/sha256/{_hex(_digest(blob))}", blob)
        for layer in layers:
            add_file(tar, f"blobs/sha256/{_hex(layer.digest)}", layer.path)


def read_image(archive: Path) -> Image:
    """The name and digest of the image in `archive`; its layers are not read."""
    with tarfile.open(archive) as tar:
        index = json.load(_file(tar, "index.json"))
    (manifest,) = index["manifests"]
    return Image(name=manifest["annotations"][_NAME], digest=manifest["digest"])


def find_file(archive: Path, path: str) -> bytes | None:
    """The content of a file of the image, from the last layer that has it; `path` has no leading slash."""
    with tarfile.open(archive) as tar:
        for layer in reversed(_manifest(archive, tar)["layers"]):
            with tarfile.open(fileobj=_blob(tar, layer["digest"]), mode="r|*") as files:
                for member in files:
                    if member.name.removeprefix("./") == path and (content := files.extractfile(member)):
                        return content.read()
    return None


def read_labels(archive: Path) -> dict[str, str]:
    with tarfile.open(archive) as tar:
        config = json.load(_blob(tar, _manifest(archive, tar)["config"]["digest"]))
    return dict(config["config"].get("Labels") or {})


def _manifest(archive: Path, tar: tarfile.TarFile) -> Any:
    return json.load(_blob(tar, read_image(archive).digest))


def _blob(tar: tarfile.TarFile, digest: str) -> IO[bytes]:
    return _file(tar, f"blobs/sha256/{_hex(digest)}")


def _file(tar: tarfile.TarFile, name: str) -> IO[bytes]:
    if content := tar.extractfile(name):
        return content
    raise Refusal(f"{name} in {tar.name!r} is not a file; make the archive again.")


def add_file(
    tar: tarfile.TarFile, name: str, source: Path, *, mode: int = 0o644, attributes: Mapping[str, str] | None = None
) -> None:
    """Add a file that is owned by root and has no time, with the given mode and extended attributes."""
    member = tarfile.TarInfo(name)
    member.size = source.stat().st_size
    member.mode = mode
    member.pax_headers = {f"SCHILY.xattr.{key}": value for key, value in (attributes or {}).items()}
    with source.open("rb") as content:
        tar.addfile(member, content)


def add_bytes(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def add_folder(tar: tarfile.TarFile, name: str, *, mode: int) -> None:
    member = tarfile.TarInfo(name)
    member.type = tarfile.DIRTYPE
    member.mode = mode
    tar.addfile(member)


def timeless(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """A filter for `TarFile.add`: files are owned by root and have no time."""
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    return member


def file_digest(path: Path) -> str:
    with path.open("rb") as content:
        return "sha256:" + hashlib.file_digest(content, "sha256").hexdigest()


def _descriptor(media_type: str, blob: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": _digest(blob), "size": len(blob)}


def _hex(digest: str) -> str:
    return digest.removeprefix("sha256:")


def _digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
