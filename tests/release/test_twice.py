"""An image of a release that is built again is the same image, so its content can be verified from the source.

Each test builds one image twice from nothing. With vLLM that takes half an hour, and downloads 4 GB.
"""

from __future__ import annotations

import json
import os
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from slipway_devcluster.oci_archive import find_file, read_image, read_labels
from slipway_devcluster.paths import default_cache
from slipway_devcluster.progress import Steps
from slipway_release import archives, sbom
from slipway_release.bases import DEBIAN
from slipway_release.images import RELEASED, chosen
from slipway_release.source import Source, look

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(os.geteuid() != 0, reason="images of a release are built by root"),
]


def built(image: str, source: Source, target: Path) -> Path:
    [it] = chosen((image,))
    cache = default_cache()
    name = f"localhost/release-test/{it.repository}:1"
    archives.write(it, target, name=name, source=source, base=DEBIAN, cache=cache, steps=Steps(cache))
    return target


@pytest.mark.parametrize("image", RELEASED)
def test_an_image_that_is_built_again_is_the_same(image: str, tmp_path: Path) -> None:
    source = look()
    one, two = (built(image, source, tmp_path / f"{name}.tar") for name in ("one", "two"))
    assert read_image(one) == read_image(two), difference(one, two)

    labels = read_labels(one)
    assert {f"org.opencontainers.image.{name}" for name in ("revision", "created", "version", "title")} <= labels.keys()
    content = json.loads(find_file(one, sbom.PLACE) or b"{}")
    assert {"pkg:pypi", "pkg:deb"} <= {each["purl"].partition("/")[0] for each in content["components"]}


def test_the_next_release_has_the_same_layers_for_unchanged_parts(tmp_path: Path) -> None:
    """The base images aren't pulled again."""
    source = look()
    later = replace(source, version="9.9.9", revision="another", epoch=source.epoch + 86400)
    one, two = built("operator", source, tmp_path / "one.tar"), built("operator", later, tmp_path / "two.tar")
    assert configuration(one)["rootfs"] == configuration(two)["rootfs"], difference(one, two)
    assert configuration(one)["created"] != configuration(two)["created"]


# --- differences -----------------------------------------------------------------------------------------------------


def difference(one: Path, two: Path) -> str:
    """The first layer that differs with its differing files; otherwise the differences of the configuration."""
    first, second = configuration(one), configuration(two)
    pairs = zip(first["rootfs"]["diff_ids"], second["rootfs"]["diff_ids"], strict=True)
    for number, (one_layer, other_layer) in enumerate(pairs):
        if one_layer != other_layer:
            left, right = contents(one, number), contents(two, number)
            names = sorted(name for name in left.keys() | right.keys() if left.get(name) != right.get(name))
            return f"layer {number} differs in {names[:20] or 'the order of its files'}"
    return f"only the configuration differs: {[key for key in first if first[key] != second.get(key)]}"


def configuration(archive: Path) -> Any:
    with tarfile.open(archive) as tar:
        return json.load(blob(tar, manifest(archive, tar)["config"]["digest"]))


def contents(archive: Path, number: int) -> dict[str, object]:
    with tarfile.open(archive) as tar:
        layer = blob(tar, manifest(archive, tar)["layers"][number]["digest"])
        with tarfile.open(fileobj=layer, mode="r|*") as files:
            return {member.name: described(member, files) for member in files}


def described(member: tarfile.TarInfo, files: tarfile.TarFile) -> object:
    content = files.extractfile(member) if member.isfile() else None
    attributes = (
        member.mode,
        member.uid,
        member.gid,
        member.mtime,
        member.linkname,
        sorted(member.pax_headers.items()),
    )
    return attributes, hash(content.read()) if content else None


def manifest(archive: Path, tar: tarfile.TarFile) -> Any:
    return json.load(blob(tar, read_image(archive).digest))


def blob(tar: tarfile.TarFile, digest: str) -> Any:
    return tar.extractfile(f"blobs/sha256/{digest.removeprefix('sha256:')}")
