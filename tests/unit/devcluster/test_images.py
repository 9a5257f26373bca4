"""Images are made once and completely from their inputs alone, and contain nothing of the machine's network."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import slipway_devcluster
from slipway_devcluster import images
from slipway_devcluster.images import PLATFORM_IMAGES, PlatformImage
from slipway_devcluster.oci_archive import (
    Layer,
    add_bytes,
    file_digest,
    find_file,
    pack_folder,
    read_image,
    read_labels,
    write_archive,
    write_layer,
)
from slipway_devcluster.paths import Cache
from slipway_devcluster.progress import Steps

UPSTREAMS = {
    "coredns": "github.com/coredns/coredns",
    "kserve-manager": "github.com/kserve/kserve",
    "keda-operator": "github.com/kedacore/keda/v2",
    "keda-adapter": "github.com/kedacore/keda/v2",
    "keda-webhooks": "github.com/kedacore/keda/v2",
}


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


@pytest.fixture
def steps(cache: Cache) -> Steps:
    return Steps(cache, stream=io.StringIO())


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine that trusts one authority and has no time zones; returns the file of its authorities."""
    bundle = tmp_path / "authorities.crt"
    bundle.write_text("an authority")
    monkeypatch.setenv("PIP_CERT", str(bundle))
    monkeypatch.setattr(images, "ZONES", tmp_path / "no-zones")
    return bundle


def a_layer(folder: Path, **files: bytes) -> Layer:
    def fill(tar: tarfile.TarFile) -> None:
        for name, content in files.items():
            add_bytes(tar, name, content)

    return write_layer(folder / "-".join(files), fill)


def unpacked(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as tar:
        contents = ((member.name, tar.extractfile(member)) for member in tar if member.isfile())
        return {name: content.read() for name, content in contents if content}


def configuration(archive: Path) -> dict[str, object]:
    files = unpacked(archive)
    manifest = json.loads(files["blobs/sha256/" + read_image(archive).digest.removeprefix("sha256:")])
    config: dict[str, object] = json.loads(
        files["blobs/sha256/" + manifest["config"]["digest"].removeprefix("sha256:")]
    )
    return config


# --- archives --------------------------------------------------------------------------------------------------------


def test_the_same_inputs_make_an_identical_archive(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_archive(tmp_path / name, "localhost/it:1", [a_layer(tmp_path, greeting=b"hello")], {"User": "1"})

    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_an_archive_has_the_name_and_the_digest_of_its_image(tmp_path: Path) -> None:
    write_archive(tmp_path / "archive", "localhost/it:1", [a_layer(tmp_path, greeting=b"hello")], {})

    image = read_image(tmp_path / "archive")

    assert image.name == "localhost/it:1"
    assert f"blobs/sha256/{image.digest.removeprefix('sha256:')}" in unpacked(tmp_path / "archive")


def test_every_blob_is_stored_under_its_digest(tmp_path: Path) -> None:
    layers = [a_layer(tmp_path, greeting=b"hello"), a_layer(tmp_path, farewell=b"bye")]
    write_archive(tmp_path / "archive", "localhost/it:1", layers, {})
    blobs = {name: content for name, content in unpacked(tmp_path / "archive").items() if name.startswith("blobs/")}

    assert len(blobs) == 4
    for name, content in blobs.items():
        (tmp_path / "blob").write_bytes(content)
        assert file_digest(tmp_path / "blob") == name.removeprefix("blobs/").replace("/", ":")


def test_an_image_that_buildah_wrote_can_get_another_date(tmp_path: Path) -> None:
    def written(name: str, created: str | None) -> Path:
        pack_folder(tmp_path / name, "localhost/it:1", as_folder(tmp_path / "written"), created=created)
        return tmp_path / name

    before, after = configuration(written("as-it-was", None)), configuration(written("anew", "2026-11-29T12:00:00Z"))
    assert after == {**before, "created": "2026-11-29T12:00:00Z"}


def as_folder(folder: Path) -> Path:
    """Writes an image like buildah's transport `dir:`."""
    folder.mkdir(exist_ok=True)
    write_archive(folder / "archive", "localhost/it:1", [a_layer(folder, greeting=b"hello")], {"User": "1"})
    digest = read_image(folder / "archive").digest.removeprefix("sha256:")
    for name, content in unpacked(folder / "archive").items():
        blob = name.rpartition("/")[2]
        (folder / ("manifest.json" if blob == digest else blob)).write_bytes(content)
    return folder


def test_a_file_of_an_image_comes_from_its_last_layer(tmp_path: Path) -> None:
    layers = [a_layer(tmp_path, greeting=b"hello"), a_layer(tmp_path, greeting=b"good day", other=b"")]
    write_archive(tmp_path / "archive", "localhost/it:1", layers, {"Labels": {"it": "is"}})

    assert find_file(tmp_path / "archive", "greeting") == b"good day"
    assert find_file(tmp_path / "archive", "farewell") is None
    assert read_labels(tmp_path / "archive") == {"it": "is"}


# --- the platform's images -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "image", [image for image in PLATFORM_IMAGES if image.binary in UPSTREAMS], ids=lambda i: i.name
)
def test_a_platform_image_is_tagged_with_the_version_that_is_built(image: PlatformImage) -> None:
    folder = image.binary.split("-")[0]
    pins = (Path(slipway_devcluster.__file__).parent / "upstreams" / folder / "go.mod").read_text()

    version = image.name.rpartition(":")[2].removeprefix("v")

    assert f"{UPSTREAMS[image.binary]} v{version}" in [line.partition("//")[0].strip() for line in pins.splitlines()]


@pytest.mark.parametrize("image", PLATFORM_IMAGES, ids=lambda image: image.name)
def test_a_platform_image_has_the_full_name_that_the_kubelet_uses(image: PlatformImage) -> None:
    registry = image.name.split("/")[0]

    assert "." in registry or registry == "localhost"


def programs(folder: Path) -> dict[str, Path]:
    made = {image.binary: folder / image.binary for image in PLATFORM_IMAGES}
    for path in made.values():
        path.write_text(f"the program {path.name}")
    return made


@pytest.mark.usefixtures("machine")
def test_a_platform_image_runs_its_program_as_a_user_whose_number_is_not_zero(
    tmp_path: Path, cache: Cache, steps: Steps
) -> None:
    archives = images.ensure_platform_images(programs(tmp_path), cache, steps)

    configs = [configuration(archive)["config"] for archive in archives]

    assert [config["User"] for config in configs if isinstance(config, dict)] == ["65532:65532"] * len(PLATFORM_IMAGES)
    assert configs[0] == {"User": "65532:65532", "Entrypoint": ["/node", "pause"], "WorkingDir": "/"}


@pytest.mark.usefixtures("machine")
def test_unchanged_programs_make_no_image_again(tmp_path: Path, cache: Cache, steps: Steps) -> None:
    binaries = programs(tmp_path)
    first = [(path, path.stat().st_ino) for path in images.ensure_platform_images(binaries, cache, steps)]

    second = [(path, path.stat().st_ino) for path in images.ensure_platform_images(binaries, cache, steps)]

    assert first == second


@pytest.mark.usefixtures("machine")
def test_a_changed_program_replaces_only_its_own_image(tmp_path: Path, cache: Cache, steps: Steps) -> None:
    binaries = programs(tmp_path)
    first = images.ensure_platform_images(binaries, cache, steps)
    binaries["coredns"].write_text("a newer program")

    second = images.ensure_platform_images(binaries, cache, steps)

    assert [old == new for old, new in zip(first, second, strict=True)] == [True, False, True, True, True, True]
    assert sorted(cache.images.glob("*.tar")) == sorted(second)


def test_other_certificate_authorities_make_other_images(
    tmp_path: Path, cache: Cache, steps: Steps, machine: Path
) -> None:
    binaries = programs(tmp_path)
    first = images.ensure_platform_images(binaries, cache, steps)
    machine.write_text("another authority")

    assert not set(first) & set(images.ensure_platform_images(binaries, cache, steps))


@pytest.mark.parametrize(("low_ports", "expected"), [(True, images.NET_BIND_SERVICE), (False, None)])
def test_only_a_program_for_low_ports_may_bind_them(tmp_path: Path, low_ports: bool, expected: str | None) -> None:
    (tmp_path / "program").write_text("a program")
    image = PlatformImage("localhost/it:1", "it", "/it", low_ports=low_ports)

    layer = images.program_layer(tmp_path / "layer", image, tmp_path / "program")

    with tarfile.open(layer.path) as tar:
        member = tar.getmember("it")
    assert member.mode == 0o755
    assert member.pax_headers.get("SCHILY.xattr.security.capability") == expected


# --- the base image --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "mirror"),
    [
        ("deb http://mirror.example/debian bookworm main", "http://mirror.example/debian"),
        (
            "deb [signed-by=/k.gpg arch=amd64] https://mirror.example/debian/ trixie main",
            "https://mirror.example/debian/",
        ),
        ("Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm", "http://mirror.example/debian"),
        ("# deb http://mirror.example/debian bookworm main", images.DEBIAN_MIRROR),
        ("deb http://security.example/debian-security bookworm-security main", images.DEBIAN_MIRROR),
        ("deb http://archive.example/ubuntu noble main", images.DEBIAN_MIRROR),
        ("", images.DEBIAN_MIRROR),
    ],
)
def test_the_base_comes_from_the_mirror_that_apt_uses(source: str, mirror: str) -> None:
    assert images.debian_mirror(["deb https://other.example/packages stable main", source]) == mirror


# --- archives in the cache -------------------------------------------------------------------------------------------


def test_an_archive_that_could_not_be_completed_leaves_nothing(cache: Cache) -> None:
    def fail(partial: Path, scratch: Path) -> None:
        partial.write_text("half of it")
        (scratch / "more").write_text("something else")
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        images.ensure_archive(cache, "localhost/it:1", "key", fail)

    assert list(cache.images.iterdir()) == []


def test_a_new_archive_replaces_only_the_one_with_the_same_name(cache: Cache) -> None:
    def make(partial: Path, _: Path) -> None:
        partial.touch()

    images.ensure_archive(cache, "localhost/it:1", "old", make)
    other = images.ensure_archive(cache, "localhost/it:10", "key", make)
    new = images.ensure_archive(cache, "localhost/it:1", "new", make)

    assert sorted(cache.images.glob("*.tar")) == sorted([other, new])
    assert len(list(cache.images.iterdir())) == 4  # and the record of each


@pytest.mark.parametrize("damage", ["truncated", "removed", "note removed", "note broken"])
def test_a_damaged_archive_is_made_again(cache: Cache, damage: str) -> None:
    def make(partial: Path, _: Path) -> None:
        partial.write_text("the whole of it")

    archive = images.ensure_archive(cache, "localhost/it:1", "key", make)
    note = archive.with_name(f"{archive.name}.json")
    damages: dict[str, Callable[[], object]] = {
        "truncated": lambda: archive.write_text("the who"),
        "removed": archive.unlink,
        "note removed": note.unlink,
        "note broken": lambda: note.write_text("{"),
    }
    damages[damage]()

    assert images.ensure_archive(cache, "localhost/it:1", "key", make).read_text() == "the whole of it"


def test_an_unchanged_archive_is_not_made_again(cache: Cache) -> None:
    made: list[Path] = []

    def make(partial: Path, _: Path) -> None:
        partial.touch()
        made.append(partial)

    for _ in range(2):
        images.ensure_archive(cache, "localhost/it:1", "key", make)

    assert len(made) == 1
