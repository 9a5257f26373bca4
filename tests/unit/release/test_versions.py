"""The version in VERSION is copied to all files that contain it by `make generate`."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import generate_versions
import pytest
import yaml
from generate_versions import Misplaced

ROOT = Path(__file__).parents[3]
VERSION = (ROOT / "VERSION").read_text().strip()
BIN = Path(sys.executable).parent

PROJECT = """[project]
name = "slipway"
version = "0.1.0"
requires-python = ">=3.11"

[tool.mypy]
python_version = "3.11"
"""
LOCK = """version = 1

[[package]]
name = "slip"
version = "0.1.0"
source = { registry = "https://pypi.org/simple" }

[[package]]
name = "slipway"
version = "0.1.0"
source = { editable = "operator" }

[[package]]
name = "slipway-of-somebody"
version = "0.1.0"
source = { registry = "https://pypi.org/simple" }

[[package]]
name = "slipway-workspace"
version = "0.1.0"
source = { virtual = "." }
"""
CHART = """apiVersion: v2
name: slipway
version: 0.1.0
appVersion: 0.1.0
dependencies:
  - name: other
    version: 0.1.0
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for folder in ("operator", "charts/slipway"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    (tmp_path / "operator/pyproject.toml").write_text(PROJECT)
    (tmp_path / "uv.lock").write_text(LOCK)
    (tmp_path / "charts/slipway/Chart.yaml").write_text(CHART)
    (tmp_path / "VERSION").write_text("0.2.0\n")
    return tmp_path


def test_one_file_sets_the_version_in_all_places(checkout: Path) -> None:
    generate_versions.write(checkout)

    for file in ("pyproject.toml", "operator/pyproject.toml"):
        assert (checkout / file).read_text() == PROJECT.replace('\nversion = "0.1.0"', '\nversion = "0.2.0"')
    chart = yaml.safe_load((checkout / "charts/slipway/Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == ("0.2.0", "0.2.0")


def test_versions_of_other_projects_stay(checkout: Path) -> None:
    generate_versions.write(checkout)

    versions = dict(re.findall(r'name = "(.+)"\nversion = "(.+)"', (checkout / "uv.lock").read_text()))
    assert versions == {
        "slip": "0.1.0",
        "slipway": "0.2.0",
        "slipway-of-somebody": "0.1.0",
        "slipway-workspace": "0.2.0",
    }
    chart = yaml.safe_load((checkout / "charts/slipway/Chart.yaml").read_text())
    assert chart["dependencies"] == [{"name": "other", "version": "0.1.0"}]


def test_a_release_candidate_is_written_in_the_form_of_each_tool(checkout: Path) -> None:
    (checkout / "VERSION").write_text("0.2.0-rc.1")

    generate_versions.write(checkout)

    assert 'version = "0.2.0rc1"' in (checkout / "pyproject.toml").read_text()
    assert 'version = "0.2.0rc1"' in (checkout / "uv.lock").read_text()
    assert "version: 0.2.0-rc.1" in (checkout / "charts/slipway/Chart.yaml").read_text()


def test_correct_files_are_not_written_again(checkout: Path) -> None:
    generate_versions.write(checkout)
    before = {file: file.stat().st_mtime_ns for file in checkout.rglob("*") if file.is_file()}

    generate_versions.write(checkout)

    assert {file: file.stat().st_mtime_ns for file in before} == before


@pytest.mark.parametrize("text", ["", "v1.2.3", "1.2", "1.2.3-beta", "1.2.3+dirty"])
def test_an_invalid_version_is_refused_with_the_valid_form(checkout: Path, text: str) -> None:
    (checkout / "VERSION").write_text(text)
    with pytest.raises(Misplaced, match=r"VERSION has .*: write it as 1\.2\.3 or 1\.2\.3-rc\.1"):
        generate_versions.write(checkout)


def test_a_missing_place_is_an_error(checkout: Path) -> None:
    (checkout / "operator/pyproject.toml").write_text("[project]\n")
    with pytest.raises(Misplaced, match=r"operator/pyproject\.toml has no line for the version"):
        generate_versions.write(checkout)


# --- this checkout ---------------------------------------------------------------------------------------------------


def test_all_places_of_this_checkout_have_the_version() -> None:
    for file, place, version in generate_versions.places(ROOT, VERSION):
        found = [match[0] for match in place.finditer(file.read_text())]
        assert found, file
        assert all(re.search(rf"\b{re.escape(version)}$", each) for each in found), file


@pytest.mark.parametrize("program", ["slipway-operator", "slipway-activator", "slipway-release"])
def test_a_program_prints_the_version(program: str) -> None:
    output = subprocess.run([BIN / program, "--version"], check=True, capture_output=True, text=True).stdout
    assert generate_versions.for_python(VERSION) in output.split()
