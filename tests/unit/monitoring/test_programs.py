"""The programs of Prometheus are fetched by checksum, and where that isn't possible, one sentence says what to do."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from slipway_devcluster.errors import Refusal
from support.monitoring import programs
from support.monitoring.programs import PROMETHEUS, fetched

CONTENT = b"a package"


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a mirror, which has Prometheus."""
    monkeypatch.setattr(programs, "MIRROR", tmp_path.as_uri())
    file = tmp_path / PROMETHEUS.url.removeprefix(f"{tmp_path.as_uri()}/")
    file.parent.mkdir(parents=True)
    file.write_bytes(CONTENT)
    return tmp_path


def test_a_package_with_the_pinned_checksum_is_used(mirror: Path) -> None:
    assert fetched(replace(PROMETHEUS, sha256=hashlib.sha256(CONTENT).hexdigest())) == CONTENT


def test_a_package_with_another_checksum_is_not_used(mirror: Path) -> None:
    with pytest.raises(Refusal, match=r"has the checksum .* and is not used: try again"):
        fetched(PROMETHEUS)


def test_a_version_that_the_mirror_no_longer_has_is_named_with_the_remedy(mirror: Path) -> None:
    with pytest.raises(Refusal, match=r"_9\.9_amd64\.deb can.t be fetched .* newer version, name that in"):
        fetched(replace(PROMETHEUS, version="9.9"))
