"""Control groups are found on kernels with either version, and removed with all groups below them."""

from pathlib import Path

import pytest
from slipway_devcluster import cgroups

V1 = """\
25 20 0:22 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755
26 25 0:23 / /sys/fs/cgroup/memory rw,nosuid shared:9 - cgroup cgroup rw,memory
27 25 0:24 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:10 - cgroup cgroup rw,cpu,cpuacct
"""
V2 = "30 20 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"


def test_version_1_has_a_hierarchy_for_each_controller() -> None:
    assert cgroups.hierarchies(V1) == [Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup/cpu,cpuacct")]


def test_version_2_has_one_hierarchy() -> None:
    assert cgroups.hierarchies(V2) == [Path("/sys/fs/cgroup")]


def test_removing_a_group_removes_all_groups_below_it_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroups, "_mounted", lambda: [tmp_path])
    (tmp_path / "slipway-a/kubepods/pod1").mkdir(parents=True)
    (tmp_path / "slipway-b").mkdir()

    cgroups.remove("slipway-a")
    cgroups.remove("slipway-a")

    assert [path.name for path in tmp_path.iterdir()] == ["slipway-b"]
