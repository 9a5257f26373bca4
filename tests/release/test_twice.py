"""An image of a release that is made again is the same image: whoever has the source can tell what is in it.

Each test builds one image twice from nothing. With vLLM that takes half an hour, and downloads 4 GB.
"""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from slipway_devcluster.oci_archive import find_file, read_image, read_labels
from slipway_devcluster.paths import default_cache
from slipway_devcluster.progress import Steps
from slipway_release import archives, sbom
from slipway_release.bases import DEBIAN
from slipway_release.images import RELEASED, chosen
from slipway_release.source import look

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(os.geteuid() != 0, reason="images of a release are built by root"),
]


@pytest.fixture(params=RELEASED)
def twice(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[list[Path]]:
    """Two archives of one image."""
    [image] = chosen((request.param,))
    cache = default_cache()
    made = [tmp_path / "one.tar", tmp_path / "two.tar"]
    for target in made:
        name = f"localhost/release-test/{image.repository}:1"
        archives.write(image, target, name=name, source=look(), base=DEBIAN, cache=cache, steps=Steps(cache))
    yield made
    for target in made:
        target.unlink()


def test_an_image_that_is_made_again_is_the_same(twice: list[Path]) -> None:
    one, two = twice
    assert read_image(one) == read_image(two), difference(one, two)

    labels = read_labels(one)
    assert {f"org.opencontainers.image.{name}" for name in ("revision", "created", "version", "title")} <= labels.keys()
    bill = json.loads(find_file(one, sbom.PLACE) or b"{}")
    assert {"pkg:pypi", "pkg:deb"} <= {each["purl"].partition("/")[0] for each in bill["components"]}


# --- what to look at when it isn't -----------------------------------------------------------------------------------


def difference(one: Path, two: Path) -> str:
    """The first layer that differs, and the files of it that do; else what differs of the configuration."""
    first, second = configuration(one), configuration(two)
    pairs = zip(first["rootfs"]["diff_ids"], second["rootfs"]["diff_ids"], strict=True)
    for number, (here, there) in enumerate(pairs):
        if here != there:
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
    told = (member.mode, member.uid, member.gid, member.mtime, member.linkname, sorted(member.pax_headers.items()))
    return told, hash(content.read()) if content else None


def manifest(archive: Path, tar: tarfile.TarFile) -> Any:
    return json.load(blob(tar, read_image(archive).digest))


def blob(tar: tarfile.TarFile, digest: str) -> Any:
    return tar.extractfile(f"blobs/sha256/{digest.removeprefix('sha256:')}")
