"""How many threads the engine gets."""

from pathlib import Path

import pytest
from slipway_runtime.engines.cpus import cpu_quota, usable_cpus


@pytest.mark.parametrize(
    ("allowed", "quota", "threads"),
    [
        pytest.param(2, None, 2, id="no limit: all that the affinity allows"),
        pytest.param(8, 2.0, 2, id="the limit is smaller"),
        pytest.param(2, 8.0, 2, id="the affinity is smaller"),
        pytest.param(8, 2.5, 2, id="half a CPU gets no thread of its own"),
        pytest.param(8, 0.5, 1, id="at least one"),
    ],
)
def test_as_many_threads_as_can_run_in_parallel(allowed: int, quota: float | None, threads: int) -> None:
    assert usable_cpus(allowed, quota) == threads


@pytest.mark.parametrize(("text", "quota"), [("150000 100000\n", 1.5), ("max 100000\n", None)])
def test_the_quota_of_cgroup_v2(tmp_path: Path, text: str, quota: float | None) -> None:
    (tmp_path / "cpu.max").write_text(text)
    assert cpu_quota(tmp_path) == quota


@pytest.mark.parametrize(("text", "quota"), [("200000\n", 2.0), ("-1\n", None)])
def test_the_quota_of_cgroup_v1(tmp_path: Path, text: str, quota: float | None) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu/cpu.cfs_quota_us").write_text(text)
    (tmp_path / "cpu/cpu.cfs_period_us").write_text("100000\n")
    assert cpu_quota(tmp_path) == quota


def test_no_cgroup_is_no_limit(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path) is None
