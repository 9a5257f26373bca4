"""Layers: the same content is always the same bytes, and nothing but content is in them."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from pathlib import Path

import pytest
from slipway_runtime.oci import File, Layer, RegistryError, image_of


def layer_of(folder: Path, content: dict[str, bytes]) -> Layer:
    folder.mkdir(exist_ok=True)
    files = []
    for number, (name, data) in enumerate(content.items()):
        path = folder / str(number)
        path.write_bytes(data)
        files.append(File(name, path))
    return Layer(files)


def whole(layer: Layer) -> bytes:
    return b"".join(layer.read())


CONTENT = {"key/manifest.json": b"{}", "key/content.tar": os.urandom(3 << 20), "empty": b""}


def test_a_layer_is_a_tar_archive_of_its_files_and_their_folders(tmp_path: Path) -> None:
    layer = layer_of(tmp_path, CONTENT)
    with tarfile.open(fileobj=io.BytesIO(whole(layer)), mode="r:") as archive:
        found = {each.name: each for each in archive}
        assert list(found) == ["key", "empty", "key/content.tar", "key/manifest.json"]
        for name, data in CONTENT.items():
            opened = archive.extractfile(found[name])
            assert opened is not None
            assert opened.read() == data


def test_the_same_files_give_the_same_digest_whatever_their_order_times_and_modes(tmp_path: Path) -> None:
    one = layer_of(tmp_path / "one", CONTENT)
    two = layer_of(tmp_path / "two", dict(reversed(CONTENT.items())))
    for file in (tmp_path / "two").iterdir():
        os.utime(file, (1, 1))
        file.chmod(0o600)
    assert one.digest == two.digest
    assert image_of([one]).digest == image_of([two]).digest


def test_other_content_gives_another_digest(tmp_path: Path) -> None:
    one, two = layer_of(tmp_path / "one", CONTENT), layer_of(tmp_path / "two", {**CONTENT, "empty": b"not"})
    assert one.digest != two.digest


def test_nothing_of_the_machine_is_in_a_layer(tmp_path: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(whole(layer_of(tmp_path, CONTENT))), mode="r:") as archive:
        for each in archive:
            assert (each.mtime, each.uid, each.gid, each.uname, each.gname) == (0, 0, 0, "", "")
            assert each.mode == (0o555 if each.isdir() else 0o444)


def test_digest_and_size_are_those_of_what_is_read(tmp_path: Path) -> None:
    layer = layer_of(tmp_path, CONTENT)
    data = whole(layer)
    assert layer.size == len(data)
    assert layer.digest == f"sha256:{hashlib.sha256(data).hexdigest()}"


@pytest.mark.parametrize(("start", "size"), [(0, 1), (511, 2), (700, 1 << 20), (3 << 20, None), (1 << 30, None)])
def test_any_part_can_be_read_on_its_own(tmp_path: Path, start: int, size: int | None) -> None:
    layer = layer_of(tmp_path, CONTENT)
    end = None if size is None else start + size
    assert b"".join(layer.read(start, size)) == whole(layer)[start:end]


def test_long_names_and_many_files_fit(tmp_path: Path) -> None:
    content = {f"{'folder/' * 30}{number}": b"x" for number in range(50)}
    layer = layer_of(tmp_path, content)
    with tarfile.open(fileobj=io.BytesIO(whole(layer)), mode="r:") as archive:
        assert {each.name for each in archive if each.isfile()} == set(content)


@pytest.mark.parametrize("name", ["/absolute", "../up", "a/../b", "a//b", ".", "a/"])
def test_a_name_that_leads_out_of_the_image_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="not a path within an image"):
        layer_of(tmp_path, {name: b""})


def test_only_files_are_packed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("/etc/passwd")
    for name in ("fifo", "link", ".", "missing"):
        with pytest.raises(RegistryError, match="can't be put into an image"):
            Layer([File("file", tmp_path / name)])


def test_a_file_that_has_become_shorter_is_noticed(tmp_path: Path) -> None:
    layer = layer_of(tmp_path, {"file": b"12345"})
    (tmp_path / "0").write_bytes(b"12")
    with pytest.raises(RegistryError, match="has become shorter"):
        whole(layer)
