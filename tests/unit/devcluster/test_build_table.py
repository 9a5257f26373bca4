"""`devcluster builds` lists every program with the measured or expected duration of its build, and builds nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from slipway_devcluster import build_table, builds, go_toolchain
from slipway_devcluster.build_table import Row
from slipway_devcluster.cli import main
from slipway_devcluster.forecast import BUILD_CPU_SECONDS
from slipway_devcluster.go_toolchain import Go
from slipway_devcluster.paths import Cache
from slipway_devcluster.programs import UPSTREAMS

GO = Go(Path("go"), "go1.26.8", "amd64")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    """An empty cache, on a machine with Go."""
    monkeypatch.setattr(builds, "find_go", lambda _: GO)
    monkeypatch.setenv("SLIPWAY_CACHE", str(tmp_path))
    return Cache(tmp_path)


def finish(name: str, cache: Cache, *, cost: str) -> None:
    folder = builds.expected_build(UPSTREAMS[name], GO, cache).folder
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / name).write_bytes(b"x" * 2_000_000)
    (folder / "cost.json").write_text(cost)


def row(name: str, cache: Cache) -> Row:
    return next(each for each in build_table.rows(cache) if each.program == name)


@pytest.mark.parametrize("name", UPSTREAMS)
def test_every_program_has_an_estimate(name: str) -> None:
    assert BUILD_CPU_SECONDS[name] > 0


def test_a_finished_build_shows_how_long_it_took(cache: Cache) -> None:
    finish("etcd", cache, cost='{"elapsed_seconds": 40.0, "cpu_seconds": 61.5}')
    assert row("etcd", cache) == Row(
        "etcd", UPSTREAMS["etcd"].version, "every cluster", True, 40.0, 61.5, size=2_000_000
    )


@pytest.mark.parametrize("cost", ["", "{", "[]", '{"elapsed_seconds": 1}'])
def test_a_build_without_a_readable_record_has_unknown_times(cache: Cache, cost: str) -> None:
    finish("etcd", cache, cost=cost)
    assert build_table.lines([row("etcd", cache)])[1].split()[-4:] == ["unknown", "unknown", "2", "MB"]


def test_a_missing_build_shows_estimates(cache: Cache) -> None:
    found = row("kwok", cache)
    assert (found.cached, found.needed_by, found.cpu_seconds) == (False, "on demand", BUILD_CPU_SECONDS["kwok"])


def test_the_command_prints_a_table_and_its_sum(cache: Cache) -> None:
    printed = CliRunner().invoke(main, ["builds"]).output.splitlines()
    assert printed[0].split("  ")[0] == "program"
    assert [line.split()[0] for line in printed[1:-2]] == list(UPSTREAMS)
    assert printed[-1].startswith("The programs of every cluster take ")


def test_the_command_prints_json_for_programs(cache: Cache) -> None:
    finish("etcd", cache, cost='{"elapsed_seconds": 40.0, "cpu_seconds": 61.5}')
    found = json.loads(CliRunner().invoke(main, ["builds", "--json"]).output)
    assert {each["program"]: each["cached"] for each in found} == {name: name == "etcd" for name in UPSTREAMS}


def test_without_a_go_everything_is_missing(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(go_toolchain, "find_go", lambda _: None)
    monkeypatch.setattr(builds, "find_go", lambda _: None)
    assert not any(each.cached for each in build_table.rows(cache))
