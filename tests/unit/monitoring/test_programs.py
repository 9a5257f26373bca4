"""The programs of Prometheus are fetched by checksum, and where that isn't possible, one sentence says what to do."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from slipway_devcluster.errors import Refusal
from slipway_devcluster.paths import Cache
from slipway_devcluster.progress import Steps
from support.monitoring import programs
from support.monitoring.programs import PROMETHEUS, fetched

CONTENT = b"a package"


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an empty mirror. The archive is empty, too."""
    monkeypatch.setattr(programs, "MIRROR", (tmp_path / "mirror").as_uri())
    monkeypatch.setattr(programs, "ARCHIVE", (tmp_path / "archive").as_uri())
    return tmp_path / "mirror"


@pytest.fixture
def archive(mirror: Path) -> Path:
    return mirror.parent / "archive"


def has(place: Path, content: bytes) -> None:
    """Lets a place have this as the package of Prometheus."""
    path = PROMETHEUS.urls[0].removeprefix(f"{programs.MIRROR}/")
    (place / path).parent.mkdir(parents=True)
    (place / path).write_bytes(content)


PINNED = replace(PROMETHEUS, sha256=hashlib.sha256(CONTENT).hexdigest())


def test_a_package_with_the_pinned_checksum_is_used(mirror: Path) -> None:
    has(mirror, CONTENT)
    assert fetched(PINNED) == CONTENT


def test_a_package_that_the_mirror_no_longer_has_comes_from_the_archive(archive: Path) -> None:
    has(archive, CONTENT)
    assert fetched(PINNED) == CONTENT


def test_a_package_that_the_mirror_changed_comes_from_the_archive(mirror: Path, archive: Path) -> None:
    has(mirror, b"another package")
    has(archive, CONTENT)
    assert fetched(PINNED) == CONTENT


def test_a_package_with_another_checksum_is_not_used(mirror: Path) -> None:
    has(mirror, b"another package")
    with pytest.raises(Refusal, match=r"its checksum is \w+ instead of"):
        fetched(PINNED)


def test_a_version_that_no_address_has_is_named_with_the_remedy(mirror: Path) -> None:
    with pytest.raises(Refusal, match=r"^prometheus 9\.9 can.t be fetched .* newer version, name that in"):
        fetched(replace(PROMETHEUS, version="9.9"))


def test_another_architecture_is_refused_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    cache = Cache(tmp_path)
    with pytest.raises(Refusal, match=r"for amd64, and this machine is aarch64: run `make rules`"):
        programs.ensure(cache, Steps(cache))
