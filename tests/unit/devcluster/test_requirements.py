"""Each requirement of the machine is checked, and refused with one sentence that names the remedy."""

from __future__ import annotations

import dataclasses
import io
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from slipway_devcluster import requirements
from slipway_devcluster.errors import Refusal
from slipway_devcluster.paths import Cache
from slipway_devcluster.progress import Steps
from slipway_devcluster.requirements import CONTROLLERS, GB, PACKAGES, Machine, judge, refuse_if_unmet

FIT = Machine(
    system="Linux",
    is_root=True,
    missing_packages=(),
    namespaces=True,
    overlay=True,
    controllers=CONTROLLERS,
    free_disk=15 * GB,
    available_memory=6 * GB,
    cache=Path("/cache"),
)


def refusal(seen: Mapping[str, object], *, everything_built: bool = False) -> str:
    machine = dataclasses.replace(FIT, **seen)  # type: ignore[arg-type]  # any field
    with pytest.raises(Refusal) as refused:
        refuse_if_unmet(judge(machine, everything_built=everything_built))
    return str(refused.value)


def test_a_suitable_machine_is_not_refused() -> None:
    findings = judge(FIT, everything_built=False)
    refuse_if_unmet(findings)
    assert [finding.requirement for finding in findings] == [
        "Linux",
        "root",
        "packages",
        "namespaces",
        "overlayfs",
        "cgroups",
        "disk",
        "memory",
    ]


@pytest.mark.parametrize(
    ("seen", "problem", "remedy"),
    [
        ({"system": "Darwin"}, "devcluster needs Linux, and this is Darwin", "make cluster CLUSTER=kind"),
        ({"is_root": False}, "devcluster needs root", "`sudo -E`"),
        ({"missing_packages": ("runc",)}, "programs of these packages are missing: runc", "apt-get install "),
        ({"namespaces": False}, "does not let root make network, mount and PID namespaces", "--privileged"),
        ({"overlay": False}, "overlayfs can't be mounted on /cache", "set SLIPWAY_CACHE"),
        ({"controllers": frozenset({"cpu", "cpuset"})}, "controllers memory, pids are not mounted", "mount them"),
        ({"free_disk": 14 * GB}, "14 GB are free for /cache, and 15 GB are needed", "set SLIPWAY_CACHE"),
        ({"available_memory": 5 * GB}, "5.0 GB of memory are available, and 6 GB are needed", "larger machine"),
    ],
)
def test_a_missing_requirement_is_refused_with_its_remedy(
    seen: Mapping[str, object], problem: str, remedy: str
) -> None:
    sentence = refusal(seen)
    assert problem in sentence
    assert remedy in sentence
    assert sentence.endswith(".")


def test_less_disk_is_required_once_everything_is_built() -> None:
    machine = dataclasses.replace(FIT, free_disk=5 * GB)
    refuse_if_unmet(judge(machine, everything_built=True))
    assert "and 5 GB are needed" in refusal({"free_disk": 4 * GB}, everything_built=True)


def test_on_other_systems_than_linux_nothing_else_is_checked() -> None:
    assert len(judge(dataclasses.replace(FIT, system="Darwin"), everything_built=False)) == 1


def test_a_requirement_that_could_not_be_checked_is_not_refused() -> None:
    ordinary = judge(dataclasses.replace(FIT, is_root=False, namespaces=False, overlay=False), everything_built=False)
    assert not {"namespaces", "overlayfs"} & {finding.requirement for finding in ordinary}


def test_the_first_unmet_requirement_is_reported() -> None:
    assert "needs root" in refusal({"is_root": False, "free_disk": 0})


# --- examining

V1 = """\
cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,relatime,cpu,cpuacct 0 0
cgroup /sys/fs/cgroup/cpuset cgroup rw,relatime,cpuset 0 0
cgroup /sys/fs/cgroup/pids cgroup rw,relatime,pids 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0
"""


def test_controllers_of_cgroup_v1_are_found_where_they_are_mounted() -> None:
    found = requirements.mounted_controllers(V1, "")
    assert CONTROLLERS - found == {"memory"}


def test_controllers_of_cgroup_v2_are_found() -> None:
    v2 = "cpuset cpu io memory pids\n"
    assert requirements.mounted_controllers("cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n", v2) >= CONTROLLERS


def test_available_memory_is_read_from_the_kernel() -> None:
    assert requirements.available_memory("MemTotal: 9 kB\nMemAvailable:    1000 kB\n") == 1_024_000
    assert requirements.available_memory("") == 0


@pytest.mark.parametrize(
    ("os_release", "expected"),
    [
        ("ID=debian\n", True),
        ('NAME="Linux Mint"\nID=linuxmint\nID_LIKE="ubuntu debian"\n', True),
        ("ID=fedora\n", False),
        ("", False),
    ],
)
def test_debian_and_its_children_are_recognised(os_release: str, expected: bool) -> None:
    assert requirements.is_debian(os_release) is expected


def test_a_machine_with_all_programs_needs_no_package() -> None:
    assert requirements.missing_packages(lambda _: True) == ()


def test_only_packages_with_missing_programs_are_needed() -> None:
    """Docker's containerd.io has these programs; Debian's containerd would replace it."""
    from_docker = {"containerd", "containerd-shim-runc-v2", "ctr", "runc"}
    missed = requirements.missing_packages(lambda name: name in from_docker)
    assert set(missed) == set(PACKAGES) - {"containerd", "runc"}


def test_this_machine_can_be_examined(tmp_path: Path) -> None:
    machine = requirements.probe(Cache(tmp_path / "not" / "there" / "yet"))
    assert machine.free_disk > 0
    assert machine.available_memory > 0
    assert list(tmp_path.iterdir()) == []


# --- installing


# Logs its calls; the first ones exit with the codes in the file `ends`.
APT_GET = """#!/bin/sh
echo "$DEBIAN_FRONTEND $SYSTEMD_OFFLINE: $*" >> "$NOTES/calls"
end=$(head -n 1 "$NOTES/ends")
sed -i 1d "$NOTES/ends"
exit "${end:-0}"
"""
INSTALL = "noninteractive 1: install --no-install-recommends --no-remove -y runc -o DPkg::Lock::Timeout=120"
UPDATE = "noninteractive 1: update"


@pytest.fixture
def steps(tmp_path: Path) -> Steps:
    return Steps(Cache(tmp_path / "cache"), stream=io.StringIO())


@pytest.fixture
def apt_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """A machine whose apt-get exits with the given codes; returns the calls that installing runc made."""
    apt_get = tmp_path / "bin" / "apt-get"
    apt_get.parent.mkdir()
    apt_get.write_text(APT_GET)
    apt_get.chmod(0o755)
    monkeypatch.setenv("PATH", f"{apt_get.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("NOTES", str(tmp_path))

    def install(steps: Steps, *ends: int) -> list[str]:
        (tmp_path / "ends").write_text("".join(f"{end}\n" for end in ends))
        requirements.install_packages(["runc"], steps)
        return (tmp_path / "calls").read_text().splitlines()

    return install


def test_packages_are_installed_without_services_questions_or_removals(
    steps: Steps, apt_calls: Callable[..., list[str]]
) -> None:
    assert apt_calls(steps) == [INSTALL]


def test_the_package_lists_are_fetched_if_packages_are_not_found(
    steps: Steps, apt_calls: Callable[..., list[str]]
) -> None:
    assert apt_calls(steps, 100, 0, 0) == [INSTALL, UPDATE, INSTALL]


def test_packages_that_cannot_be_installed_are_named(steps: Steps, apt_calls: Callable[..., list[str]]) -> None:
    with pytest.raises(Refusal, match=r"programs of these packages are missing: runc; .*`apt-get install .* runc`"):
        apt_calls(steps, 100, 0, 100)


@pytest.mark.parametrize(("user", "os_release"), [(1000, "ID=debian"), (0, "ID=fedora")])
def test_if_the_user_cannot_install_packages_they_are_only_named(
    steps: Steps, monkeypatch: pytest.MonkeyPatch, user: int, os_release: str
) -> None:
    monkeypatch.setattr(requirements, "is_there", lambda name: name != "runc")
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setattr(requirements, "_text", lambda _: os_release)
    with pytest.raises(Refusal, match="programs of these packages are missing: runc; on Debian or Ubuntu"):
        requirements.ensure_packages(steps)


def test_nothing_is_installed_if_nothing_is_missing(steps: Steps, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements, "is_there", lambda _: True)
    monkeypatch.setattr(requirements, "install_packages", None)
    requirements.ensure_packages(steps)
