"""What devcluster requires of the machine, each requirement with a sentence that names the remedy.

`probe` reads the facts of this machine, and `judge` decides about them, so that tests can judge machines of every kind.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from slipway_devcluster.errors import Refusal, StepFailed
from slipway_devcluster.paths import Cache
from slipway_devcluster.progress import Steps

GB = 10**9
DISK_TO_BUILD = 15 * GB
DISK_TO_RUN = 5 * GB
MEMORY = 6 * GB
CONTROLLERS = frozenset({"cpu", "cpuset", "memory", "pids"})
CNI_FOLDERS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))
SYSTEM_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin")  # not on the PATH of every user, nor of every sudo

# Debian's packages, each with the programs that are used. A package is installed only if one of them is missing.
PACKAGES: Mapping[str, tuple[str, ...]] = {
    "containerd": ("containerd", "containerd-shim-runc-v2", "ctr"),
    "runc": ("runc",),
    "containernetworking-plugins": ("CNI plugins",),
    "iptables": ("iptables",),
    "conntrack": ("conntrack",),
    "iproute2": ("ip",),
    "util-linux": ("unshare", "nsenter"),
    "buildah": ("buildah",),
    "debootstrap": ("debootstrap",),
    "ca-certificates": ("CA certificates",),
}
CA_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


@dataclass(frozen=True)
class Machine:
    """The facts about the machine that requirements are about."""

    system: str
    is_root: bool
    missing_packages: tuple[str, ...]
    namespaces: bool
    overlay: bool
    controllers: frozenset[str]
    free_disk: int
    available_memory: int
    cache: Path


@dataclass(frozen=True)
class Finding:
    """One requirement, whether it is met, and a sentence for the person."""

    requirement: str
    met: bool
    sentence: str


# --- judging ---------------------------------------------------------------------------------------------------------


def judge(machine: Machine, *, everything_built: bool) -> list[Finding]:
    """Every requirement, in the order in which to meet them."""
    if machine.system != "Linux":
        return [_linux(machine)]
    findings = [_linux(machine), _root(machine), _packages(machine)]
    if machine.is_root and "util-linux" not in machine.missing_packages:  # otherwise these two could not be tried
        findings += [_namespaces(machine), _overlay(machine)]
    return [*findings, _cgroups(machine), _disk(machine, everything_built=everything_built), _memory(machine)]


def refuse_if_unmet(findings: Iterable[Finding]) -> None:
    """Refuse with the first requirement that isn't met, because later ones may fail only as its consequence."""
    for finding in findings:
        if not finding.met:
            raise Refusal(finding.sentence)


def _finding(requirement: str, *, met: bool, seen: str, remedy: str) -> Finding:
    return Finding(requirement, met, seen if met else remedy)


def _linux(machine: Machine) -> Finding:
    return _finding(
        "Linux",
        met=machine.system == "Linux",
        seen="this is Linux",
        remedy=f"devcluster needs Linux, and this is {machine.system}; "
        "run it in a Linux machine, or run the tests on kind with `make cluster CLUSTER=kind`.",
    )


def _root(machine: Machine) -> Finding:
    return _finding(
        "root",
        met=machine.is_root,
        seen="this is root",
        remedy="devcluster needs root to make namespaces and mounts; "
        "run the same command with `sudo -E`, or run the tests on kind with `make cluster CLUSTER=kind`.",
    )


def _packages(machine: Machine) -> Finding:
    return _finding(
        "packages",
        met=not machine.missing_packages,
        seen="all programs of Debian packages are there",
        remedy=missing_sentence(machine.missing_packages),
    )


def missing_sentence(packages: Collection[str]) -> str:
    return (
        f"programs of these packages are missing: {', '.join(packages)}; on Debian or Ubuntu install them with "
        f"`{' '.join(install_command(packages))}`, elsewhere with the machine's own package manager."
    )


def _namespaces(machine: Machine) -> Finding:
    return _finding(
        "namespaces",
        met=machine.namespaces,
        seen="namespaces can be made",
        remedy="this machine does not let root make network, mount and PID namespaces (`unshare --net --mount --pid` "
        "fails); in a container, run it with `--privileged`, or use a machine of its own.",
    )


def _overlay(machine: Machine) -> Finding:
    return _finding(
        "overlayfs",
        met=machine.overlay,
        seen="overlayfs can be mounted",
        remedy=f"overlayfs can't be mounted on {machine.cache}; set SLIPWAY_CACHE to a folder on an ordinary disk "
        "(ext4 or xfs, not a network or container file system), and load the kernel's module with `modprobe overlay`.",
    )


def _cgroups(machine: Machine) -> Finding:
    missing = sorted(CONTROLLERS - machine.controllers)
    return _finding(
        "cgroups",
        met=not missing,
        seen="the cgroup controllers are mounted",
        remedy=f"the cgroup controllers {', '.join(missing)} are not mounted under /sys/fs/cgroup; "
        "mount them there (cgroup v1 or v2), or in a container run it with `--privileged --cgroupns=host`.",
    )


def _disk(machine: Machine, *, everything_built: bool) -> Finding:
    needed = DISK_TO_RUN if everything_built else DISK_TO_BUILD
    free = f"{machine.free_disk / GB:.0f} GB are free for {machine.cache}"
    return _finding(
        "disk",
        met=machine.free_disk >= needed,
        seen=free,
        remedy=f"{free}, and {needed // GB} GB are needed; free some space, "
        "or set SLIPWAY_CACHE to a folder on a larger disk.",
    )


def _memory(machine: Machine) -> Finding:
    available = f"{machine.available_memory / GB:.1f} GB of memory are available"
    return _finding(
        "memory",
        met=machine.available_memory >= MEMORY,
        seen=available,
        remedy=f"{available}, and {MEMORY // GB} GB are needed; end other programs, or use a larger machine.",
    )


# --- probing ---------------------------------------------------------------------------------------------------------


def check(cache: Cache, *, everything_built: bool) -> list[Finding]:
    """Judge this machine; if everything is built, less free disk is required."""
    return judge(probe(cache), everything_built=everything_built)


def probe(cache: Cache) -> Machine:
    is_linux, is_root = platform.system() == "Linux", os.geteuid() == 0
    folder = _nearest_existing(cache.root)
    return Machine(
        system=platform.system(),
        is_root=is_root,
        missing_packages=missing_packages(is_there),
        namespaces=is_linux and is_root and _can_unshare(),
        overlay=is_linux and is_root and _can_overlay(folder),
        controllers=mounted_controllers(_text("/proc/mounts"), _text("/sys/fs/cgroup/cgroup.controllers")),
        free_disk=shutil.disk_usage(folder).free,
        available_memory=available_memory(_text("/proc/meminfo")),
        cache=cache.root,
    )


def missing_packages(present: Callable[[str], bool], of: Collection[str] = tuple(PACKAGES)) -> tuple[str, ...]:
    """The packages of which a program is missing. It does not matter which package has provided a program."""
    return tuple(package for package in of if not all(map(present, PACKAGES.get(package, (package,)))))


def is_there(what: str) -> bool:
    if what == "CNI plugins":
        return cni_folder() is not None
    if what == "CA certificates":
        return CA_CERTIFICATES.is_file()
    return find_program(what) is not None


def find_program(name: str) -> Path | None:
    """Like `which`, but also searches the folders of system programs."""
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", os.defpath), *SYSTEM_FOLDERS]))
    return Path(found) if found else None


def cni_folder() -> Path | None:
    """The folder of the CNI plugins that the node uses."""
    plugins = ("bridge", "host-local", "loopback", "portmap")
    return next((folder for folder in CNI_FOLDERS if all((folder / each).is_file() for each in plugins)), None)


def is_debian(os_release: str) -> bool:
    """Whether an os-release file is that of Debian, Ubuntu or a derivative."""
    names = re.findall(r"^ID(?:_LIKE)?=(.*)$", os_release, re.MULTILINE)
    return bool({"debian", "ubuntu"} & set(" ".join(names).replace('"', "").split()))


def mounted_controllers(mounts: str, v2_controllers: str) -> frozenset[str]:
    """The cgroup controllers that are mounted, as v1 hierarchies or together as v2."""
    v1 = [fields[3].split(",") for line in mounts.splitlines() if (fields := line.split())[2] == "cgroup"]
    return frozenset(name for names in v1 for name in names) | frozenset(v2_controllers.split())


def available_memory(meminfo: str) -> int:
    found = re.search(r"^MemAvailable:\s+(\d+) kB$", meminfo, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def _text(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def _nearest_existing(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.exists())


def _can_unshare(*command: str) -> bool:
    unshare = find_program("unshare")
    flags = ["--net", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child"]
    return unshare is not None and _succeeds([str(unshare), *flags, *(command or ("true",))])


def _can_overlay(folder: Path) -> bool:
    """Try to mount an overlay, in a mount namespace of its own, so that nothing stays mounted."""
    if not os.access(folder, os.W_OK):
        return False
    with tempfile.TemporaryDirectory(dir=folder, prefix=".overlay-") as trial:
        for name in ("lower", "upper", "work", "merged"):
            (Path(trial) / name).mkdir()
        options = f"lowerdir={trial}/lower,upperdir={trial}/upper,workdir={trial}/work"
        return _can_unshare("mount", "-t", "overlay", "overlay", "-o", options, f"{trial}/merged")


def _succeeds(command: list[str]) -> bool:
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0


# --- installing ------------------------------------------------------------------------------------------------------


def ensure_fit(cache: Cache, *, everything_built: bool, steps: Steps) -> None:
    """Refuse a machine that can't run a cluster, and install the packages that are missing."""
    refuse_if_unmet(each for each in check(cache, everything_built=everything_built) if each.requirement != "packages")
    ensure_packages(steps)


def ensure_packages(steps: Steps, packages: Collection[str] = tuple(PACKAGES)) -> None:
    """Install the packages whose programs are missing; where that is not possible, refuse and name them."""
    missing = missing_packages(is_there, packages)
    if not missing:
        return
    if os.geteuid() != 0 or not is_debian(_text("/etc/os-release")) or not find_program("apt-get"):
        raise Refusal(missing_sentence(missing))
    install_packages(missing, steps)


def install_packages(packages: Collection[str], steps: Steps) -> None:
    """Install with apt; update its lists only if it does not find the packages."""
    with steps.step(f"installing {', '.join(packages)}") as step:
        # Their services are not started; they would run next to the node without a purpose.
        install = [
            *install_command(packages),
            "-o",
            "DPkg::Lock::Timeout=120",
        ]  # a new machine may be running its own updates
        environment = {"DEBIAN_FRONTEND": "noninteractive", "SYSTEMD_OFFLINE": "1"}
        try:
            step.run(install, env=environment)
        except StepFailed:
            try:
                step.run(["apt-get", "update"], env=environment)
                step.run(install, env=environment)
            except StepFailed as error:
                raise Refusal(f"{missing_sentence(packages)} (tried; the full log is {step.log})") from error


def install_command(packages: Collection[str]) -> list[str]:
    # Nothing is ever removed, so a machine with Docker's containerd.io keeps it.
    return ["apt-get", "install", "--no-install-recommends", "--no-remove", "-y", *packages]
