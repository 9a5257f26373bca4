"""The programs of Prometheus and Alertmanager, from Debian's packages: fetched on demand, pinned, and not installed.

    programs = ensure(default_cache(), steps)
    subprocess.run([programs.promtool, "check", "rules", file])

Debian removes a package from its mirrors when it publishes a newer one; it then comes from Debian's archive of all that
it ever published, until `PACKAGES` has the new version and the checksum that `apt-cache show NAME` prints.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from slipway_devcluster.entries import find_damage, unfinished, write_manifest
from slipway_devcluster.errors import Refusal
from slipway_devcluster.locks import locked
from slipway_devcluster.paths import Cache
from slipway_devcluster.progress import Steps

MIRROR = "http://deb.debian.org/debian"  # the checksum protects, not the connection
ARCHIVE = "https://snapshot.debian.org/archive/debian/20251001T000000Z"
"""Debian's mirror as it was on a day on which it had `PACKAGES`."""

PATIENCE = 60.0
ARCHITECTURE = "x86_64"


@dataclass(frozen=True)
class Package:
    """A package of Debian 12, for amd64. Its programs need libc only."""

    source: str
    name: str
    version: str
    sha256: str

    @property
    def urls(self) -> tuple[str, ...]:
        path = f"pool/main/p/{self.source}/{self.name}_{self.version}_amd64.deb"
        return (f"{MIRROR}/{path}", f"{ARCHIVE}/{path}")


PROMETHEUS = Package(
    "prometheus",
    "prometheus",
    "2.42.0+ds-5+deb12u1",
    "81d59a24fce84f7fbe97a45a4f2914b6a5881b5cd1db2a6a0e129e515e1a5f55",
)
ALERTMANAGER = Package(
    "prometheus-alertmanager",
    "prometheus-alertmanager",
    "0.25.0-1+b4",
    "4fb9aed15cfe8e0c32408e643ab32a1e41ee87d2cc26f18aeba928b1b0b98ae7",
)
PACKAGES = (PROMETHEUS, ALERTMANAGER)


@dataclass(frozen=True)
class Programs:
    """The folder into which the packages were unpacked."""

    folder: Path

    @property
    def prometheus(self) -> Path:
        return self.folder / "usr/bin/prometheus"

    @property
    def promtool(self) -> Path:
        return self.folder / "usr/bin/promtool"

    @property
    def alertmanager(self) -> Path:
        return self.folder / "usr/bin/prometheus-alertmanager"

    @property
    def share(self) -> Path:
        """Files of the programs, which Alertmanager looks for in /usr/share."""
        return self.folder / "usr/share"


def ensure(cache: Cache, steps: Steps) -> Programs:
    """Returns the programs; fetches and unpacks them first, if they aren't in the cache."""
    versions = hashlib.sha256("".join(package.sha256 for package in PACKAGES).encode()).hexdigest()[:12]
    folder = cache.root / f"prometheus-{versions}"
    with locked(cache.locks / "prometheus", say=steps.say):
        if folder.exists() and (damage := find_damage(folder)):
            steps.say(f"{folder} is unpacked again, since {damage}")
            shutil.rmtree(folder)
        if not folder.exists():
            _unpack(folder, steps)
    return Programs(folder)


def _unpack(final: Path, steps: Steps) -> None:
    if platform.machine() != ARCHITECTURE:
        raise Refusal(
            "Prometheus is unpacked from Debian's packages for amd64, and this machine is "
            f"{platform.machine()}: run `make rules` and `make alerts` on an amd64 machine; `make unit` does without."
        )
    if not shutil.which("dpkg"):
        raise Refusal("Prometheus is unpacked from Debian's packages by the program `dpkg`: install dpkg.")
    with steps.step("fetching Prometheus and Alertmanager") as step, unfinished(final) as folder:
        for package in PACKAGES:
            archive = folder / f"{package.name}.deb"
            archive.write_bytes(fetched(package))
            step.run(["dpkg", "--extract", archive, folder])
            archive.unlink()
        write_manifest(folder)


def fetched(package: Package) -> bytes:
    """Returns the package's file from the first address that has it, or a refusal that says what to do."""
    reasons = []
    for url in package.urls:
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
                content: bytes = answer.read()
        except OSError as error:
            reasons.append(f"{url}: {error}")
            continue
        found = hashlib.sha256(content).hexdigest()
        if found == package.sha256:
            return content
        reasons.append(f"{url}: its checksum is {found} instead of {package.sha256}")
    raise Refusal(
        f"{package.name} {package.version} can't be fetched ({'; '.join(reasons)}): let this machine reach Debian's "
        f"mirror or its archive; if Debian has a newer version, name that in {__file__}."
    )
