"""The demo model in the cache: made once, never partially, checked for damage; and as a volume in the cluster."""

from __future__ import annotations

import hashlib
import io
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from slipway_devcluster import model
from slipway_devcluster.errors import Refusal
from slipway_devcluster.model import assemble, ensure, fingerprint, persistent_volume
from slipway_devcluster.paths import Cache
from slipway_devcluster.progress import Steps


class Maker:
    """Fills a folder with one file, and counts its calls."""

    def __init__(self, content: str = "weights") -> None:
        self.content = content
        self.calls = 0

    def __call__(self, folder: Path) -> None:
        self.calls += 1
        (folder / "model.gguf").write_text(self.content)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


@pytest.fixture
def steps(cache: Cache) -> Steps:
    return Steps(cache, stream=io.StringIO())


# --- the cache ---


def test_a_model_is_made_once(cache: Cache, steps: Steps) -> None:
    make = Maker()
    folders = {ensure(cache, "m", make, steps) for _ in range(3)}
    assert folders == {cache.models / "m"}
    assert make.calls == 1


def test_two_runs_at_the_same_time_make_a_model_once(cache: Cache, steps: Steps) -> None:
    make = Maker()
    with ThreadPoolExecutor(4) as pool:
        folders = list(pool.map(lambda _: ensure(cache, "m", make, steps), range(4)))
    assert make.calls == 1
    assert [(folder / "model.gguf").read_text() for folder in folders] == ["weights"] * 4


@pytest.mark.parametrize("damage", ["short", "WEIGHTS"], ids=["shorter", "of the same size"])
def test_a_changed_file_is_noticed_and_made_again(cache: Cache, steps: Steps, damage: str) -> None:
    make = Maker()
    file = ensure(cache, "m", make, steps) / "model.gguf"
    file.write_text(damage)
    ensure(cache, "m", make, steps)
    assert make.calls == 2
    assert file.read_text() == "weights"


def test_a_missing_file_is_noticed_and_made_again(cache: Cache, steps: Steps) -> None:
    make = Maker()
    (ensure(cache, "m", make, steps) / "model.gguf").unlink()
    assert (ensure(cache, "m", make, steps) / "model.gguf").exists()


def test_a_file_with_a_newer_time_and_the_same_content_is_kept(cache: Cache, steps: Steps) -> None:
    make = Maker()
    os.utime(ensure(cache, "m", make, steps) / "model.gguf")
    ensure(cache, "m", make, steps)
    assert make.calls == 1


def test_a_failure_halfway_leaves_nothing_behind(cache: Cache, steps: Steps) -> None:
    def fail(folder: Path) -> None:
        (folder / "model.gguf").write_text("half")
        raise Refusal("no more network")

    with pytest.raises(Refusal, match="no more network"):
        ensure(cache, "m", fail, steps)
    assert list(cache.models.iterdir()) == []


def test_leftovers_of_a_killed_run_do_not_get_in_the_way(cache: Cache, steps: Steps) -> None:
    left = cache.models / ".m.unfinished"
    left.mkdir(parents=True)
    (left / "model.gguf.half").write_text("half")
    folder = ensure(cache, "m", Maker(), steps)
    assert not (folder / "model.gguf.half").exists()
    assert not left.exists()


def test_another_source_makes_another_cache_entry(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("model==1.0.0")
    other.write_text("model==1.0.1")
    assert fingerprint(one) != fingerprint(other)
    assert fingerprint(one, other) != fingerprint(one)


# --- fetching ---


def parts(folder: Path, *contents: bytes) -> Path:
    """Packages with the parts, written in an order that differs from the order of their names."""
    for number, content in reversed(list(enumerate(contents))):
        file = folder / f"package{len(contents) - number}" / "data" / f"model.gguf.part{number:02}"
        file.parent.mkdir(parents=True)
        file.write_bytes(content)
    return folder


def test_the_parts_are_joined_in_the_order_of_their_names(tmp_path: Path) -> None:
    whole = tmp_path / "model.gguf"
    assemble(parts(tmp_path, b"one ", b"two ", b"three"), whole, sha256=hashlib.sha256(b"one two three").hexdigest())
    assert whole.read_bytes() == b"one two three"


def test_parts_that_are_not_the_model_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=r"model\.gguf.*instead of"):
        assemble(parts(tmp_path, b"one "), tmp_path / "model.gguf", sha256=hashlib.sha256(b"one two").hexdigest())


@pytest.mark.parametrize("file", [model.REQUIREMENTS, model.CONVERSION_REQUIREMENTS], ids=lambda file: file.name)
def test_every_package_is_pinned_by_version_and_checksum(file: Path) -> None:
    text = "".join(line for line in file.read_text().splitlines(keepends=True) if not line.startswith("#"))
    packages = text.replace("\\\n", " ").splitlines()
    assert packages
    for package in packages:
        assert "==" in package
        assert "--hash=sha256:" in package


# --- in the cluster ---


def test_the_claim_and_the_volume_name_each_other() -> None:
    volume, claim = persistent_volume("models", Path("/cache/models/m"), "demo")
    assert claim["metadata"] == {"name": "models", "namespace": "demo"}
    assert claim["spec"]["volumeName"] == volume["metadata"]["name"]
    assert volume["spec"]["claimRef"] == {"namespace": "demo", "name": "models"}


def test_the_volume_is_the_folder_of_the_cache_read_only() -> None:
    volume, claim = persistent_volume("models", Path("/cache/models/m"), "demo")
    assert volume["spec"]["hostPath"] == {"path": "/cache/models/m", "type": "Directory"}
    assert volume["spec"]["accessModes"] == claim["spec"]["accessModes"] == ["ReadOnlyMany"]


def test_no_storage_class_is_involved() -> None:
    assert [each["spec"]["storageClassName"] for each in persistent_volume("m", Path("/m"), "n")] == ["", ""]


def test_each_namespace_has_a_volume_of_its_own() -> None:
    one, other = (persistent_volume("models", Path("/m"), namespace)[0] for namespace in ("a", "b"))
    assert one["metadata"]["name"] != other["metadata"]["name"]


def test_deleting_the_claim_keeps_the_folder() -> None:
    volume, _ = persistent_volume("models", Path("/m"), "n")
    assert volume["spec"]["persistentVolumeReclaimPolicy"] == "Retain"
