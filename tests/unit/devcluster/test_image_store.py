"""A node starts with every image and can't change the images of other nodes; loading an image twice has no effect."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest
from slipway_devcluster.image_store import (
    containerd_config,
    content_sizes,
    import_archive,
    is_listed,
    plant,
    seed_is_whole,
    seed_key,
)
from slipway_devcluster.oci_archive import Image, read_image, write_archive

BLOB = "io.containerd.content.v1.content/blobs/sha256/abc"
UNPACKED = "io.containerd.snapshotter.v1.overlayfs/snapshots/1/fs/usr/bin/tool"
SNAPSHOT_RECORDS = "io.containerd.snapshotter.v1.overlayfs/metadata.db"
RECORDS = "io.containerd.metadata.v1.bolt/meta.db"

LISTING = """\
REF            TYPE                                       DIGEST      SIZE     PLATFORMS   LABELS
localhost/it:1 application/vnd.oci.image.manifest.v1+json sha256:aaaa 76.5 MiB linux/amd64 -
"""


class Containerd:
    """A fake `ctr`, which remembers the imported archives."""

    def __init__(self) -> None:
        self.imported: list[Path] = []

    def __call__(self, argv: Sequence[str]) -> str:
        if argv[-2] == "import":
            self.imported.append(Path(argv[-1]))
        images = [read_image(archive) for archive in self.imported]
        return LISTING.splitlines()[0] + "".join(f"\n{image.name} type {image.digest} 1 MiB" for image in images)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    write_archive(tmp_path / "archive.tar", "localhost/it:1", [], {"User": "1"})
    return tmp_path / "archive.tar"


@pytest.fixture
def seed(tmp_path: Path) -> Path:
    for name in (BLOB, UNPACKED, SNAPSHOT_RECORDS, RECORDS):
        path = tmp_path / "seed" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("of the seed")
    (tmp_path / "seed" / "io.containerd.content.v1.content" / "ingest").mkdir()
    return tmp_path / "seed"


# --- loading ---------------------------------------------------------------------------------------------------------


def test_an_image_that_is_already_loaded_is_not_loaded_again(archive: Path) -> None:
    containerd = Containerd()

    assert [import_archive(archive, run=containerd) for _ in range(2)] == [True, False]
    assert containerd.imported == [archive]


def test_an_image_that_changed_under_the_same_name_is_loaded_again(archive: Path) -> None:
    containerd = Containerd()
    import_archive(archive, run=containerd)
    write_archive(archive.with_name("newer.tar"), "localhost/it:1", [], {"User": "2"})

    assert import_archive(archive.with_name("newer.tar"), run=containerd)


@pytest.mark.parametrize(
    ("name", "digest", "listed"),
    [
        ("localhost/it:1", "sha256:aaaa", True),
        ("localhost/it:1", "sha256:bbbb", False),
        ("localhost/it:2", "sha256:aaaa", False),
    ],
)
def test_an_image_is_loaded_if_both_its_name_and_its_digest_exist(name: str, digest: str, listed: bool) -> None:
    assert is_listed(Image(name, digest), LISTING) is listed


# --- the seed --------------------------------------------------------------------------------------------------------


def test_the_key_of_a_seed_is_made_of_its_archives_in_any_order() -> None:
    one, two = Path("/a/one@1.tar"), Path("/b/two@2.tar")

    assert seed_key([one, two]) == seed_key([two, Path("/elsewhere/one@1.tar")])
    assert seed_key([one, two]) != seed_key([one, Path("/b/two@3.tar")])


def test_a_seed_without_all_of_its_content_is_not_used(seed: Path) -> None:
    seed.with_name(f"{seed.name}.json").write_text(json.dumps(content_sizes(seed)))
    assert seed_is_whole(seed)

    (seed / BLOB).write_bytes(b"")

    assert not seed_is_whole(seed)


def test_a_seed_without_recorded_sizes_is_not_used(seed: Path) -> None:
    assert not seed_is_whole(seed)


def test_the_containerd_that_makes_a_seed_changes_nothing_else_on_the_machine() -> None:
    config = tomllib.loads(containerd_config(Path("/cache/root")))

    assert (config["root"], config["state"]) == ("/cache/root", "/run/containerd")
    assert "io.containerd.internal.v1.opt" in config["disabled_plugins"]  # this plugin would create /opt/containerd


# --- planting --------------------------------------------------------------------------------------------------------


def test_a_planted_root_contains_the_entire_seed(seed: Path, tmp_path: Path) -> None:
    plant(seed, tmp_path / "root")

    def contents(folder: Path) -> set[Path]:
        return {path.relative_to(folder) for path in folder.rglob("*")}

    assert contents(tmp_path / "root") == contents(seed)


@pytest.mark.parametrize(
    ("name", "shared"), [(BLOB, True), (UNPACKED, True), (RECORDS, False), (SNAPSHOT_RECORDS, False)]
)
def test_only_files_that_never_change_are_shared(seed: Path, tmp_path: Path, name: str, shared: bool) -> None:
    plant(seed, tmp_path / "root")

    assert (tmp_path / "root" / name).samefile(seed / name) is shared


def test_a_root_that_exists_is_refused(seed: Path, tmp_path: Path) -> None:
    plant(seed, tmp_path / "root")

    with pytest.raises(FileExistsError):
        plant(seed, tmp_path / "root")
