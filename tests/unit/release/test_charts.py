"""Charts of a release: other defaults, edited in place; reproducible archives. With the real helm: tests/charts."""

from __future__ import annotations

import io
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from slipway_devcluster.errors import Refusal
from slipway_release import charts
from slipway_release.charts import with_images

DIGEST = "sha256:" + "1" * 64
VALUES = """images:
  # Where nodes pull from.
  registry: localhost
  operator: {registry: "", repository: slipway-operator, tag: "", digest: ""} # the first

runtimes:
  llamacpp:
    image:
      repository: slipway-llamacpp
      # Wins over the tag.
      digest: ""
"""


def values_with(digests: dict[str, str]) -> Any:
    return yaml.safe_load(with_images(VALUES, "registry.example.com/llm", digests))


def test_images_of_a_release_are_named_by_registry_and_digest() -> None:
    values = values_with({"slipway-operator": DIGEST, "slipway-llamacpp": DIGEST})
    assert values["images"]["registry"] == "registry.example.com/llm"
    assert values["images"]["operator"] == {
        "registry": "",
        "repository": "slipway-operator",
        "tag": "",
        "digest": DIGEST,
    }
    assert values["runtimes"]["llamacpp"]["image"]["digest"] == DIGEST


def test_images_outside_of_the_release_are_named_by_tag() -> None:
    assert values_with({"slipway-operator": DIGEST})["runtimes"]["llamacpp"]["image"]["digest"] == ""


def test_nothing_else_of_the_values_changes() -> None:
    after = with_images(VALUES, "registry.example.com", {"slipway-operator": DIGEST})
    assert after.replace(f'"{DIGEST}"', '""').replace('"registry.example.com"', "localhost") == VALUES


def test_values_without_images_stay_as_they_are() -> None:
    assert with_images("keep: true # types\n", "registry.example.com", {}) == "keep: true # types\n"


def test_a_digest_without_a_field_in_any_chart_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=r"`repository: slipway-other` with a `digest`"):
        charts.copies(tmp_path, "registry.example.com", {"slipway-other": DIGEST})


def test_a_chart_of_a_release_differs_from_the_repository_only_in_its_values(tmp_path: Path) -> None:
    made = charts.copies(tmp_path, "registry.example.com", {"slipway-operator": DIGEST})
    assert {chart.name for chart in made} == {each.parent.name for each in charts.CHARTS.glob("*/Chart.yaml")}
    for chart in made:
        origin = charts.CHARTS / chart.name
        files = {each.relative_to(origin) for each in origin.rglob("*") if each.is_file()}
        assert {each.relative_to(chart.folder) for each in chart.folder.rglob("*") if each.is_file()} == files
        changed = {str(each) for each in files if (origin / each).read_bytes() != (chart.folder / each).read_bytes()}
        assert changed <= {"values.yaml"}


def packed_at(folder: Path, moment: int) -> Path:
    """An archive as helm packs it, with the current time."""
    archive = folder / f"chart-{moment}.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        member = tarfile.TarInfo("slipway/Chart.yaml")
        member.size, member.mtime, member.uname = 2, moment, "somebody"
        tar.addfile(member, io.BytesIO(b"{}"))
    return archive


def test_an_archive_contains_no_time(tmp_path: Path) -> None:
    archives = [packed_at(tmp_path, moment) for moment in (1, 2)]
    for archive in archives:
        charts.pack_timeless(archive, epoch=1795953600)
    assert archives[0].read_bytes() == archives[1].read_bytes()
    shutil.unpack_archive(archives[0], tmp_path / "unpacked", "gztar", filter="data")
    assert (tmp_path / "unpacked/slipway/Chart.yaml").read_bytes() == b"{}"
