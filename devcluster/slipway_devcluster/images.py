"""Container images without a registry: those of the platform, and a Debian base for this repository's Containerfiles.

Every image is one OCI archive in the cache. Its name has a hash of its inputs, so it is made again only if they change.
The platform's images are a binary and little else, so they are written directly; buildah is only for Containerfiles.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tarfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from slipway_devcluster.entries import is_whole, note_file, remove_noted
from slipway_devcluster.errors import Refusal
from slipway_devcluster.locks import locked
from slipway_devcluster.oci_archive import (
    Layer,
    add_bytes,
    add_file,
    add_folder,
    file_digest,
    timeless,
    write_archive,
    write_layer,
)
from slipway_devcluster.paths import Cache
from slipway_devcluster.progress import Steps

BASE_IMAGE = "localhost/slipway-base:bookworm"
BASE_STEP = "base image"
BASE_PACKAGES = ("python3", "python3-venv", "ca-certificates", "libgomp1")
DEBIAN_MIRROR = "http://deb.debian.org/debian"
CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
FORMAT = "1"
"""Increase it when archives are written differently, so that those in caches are made again."""

PRIVATELY = [
    *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"),
    *("sh", "-c", """trap 'exit 130' INT TERM; "$@" """, "privately"),
]
"""Put before a command: however it ends, none of its processes and mounts is left."""


# --- the platform's images -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PlatformImage:
    """An image with one program of the platform, under the name and at the path that its upstream manifest uses."""

    name: str
    binary: str
    path: str
    arguments: tuple[str, ...] = ()
    low_ports: bool = False
    """Whether it may listen on ports below 1024 without being root, as in upstream's image."""


KEDA = "ghcr.io/kedacore"
PLATFORM_IMAGES = (
    PlatformImage("localhost/pause:1", "node", "/node", arguments=("pause",)),
    PlatformImage("registry.k8s.io/coredns/coredns:v1.14.7", "coredns", "/coredns", low_ports=True),
    PlatformImage("docker.io/kserve/kserve-controller:v0.20.0", "kserve-manager", "/manager"),
    PlatformImage(f"{KEDA}/keda:2.21.0", "keda-operator", "/keda"),
    PlatformImage(f"{KEDA}/keda-metrics-apiserver:2.21.0", "keda-adapter", "/keda-adapter"),
    PlatformImage(f"{KEDA}/keda-admission-webhooks:2.21.0", "keda-webhooks", "/keda-admission-webhooks"),
)
NON_ROOT = "65532:65532"  # in numbers, since `runAsNonRoot` can't judge a name

# What `setcap cap_net_bind_service=+ep` writes: revision 2, effective; then the set of permitted capabilities, bit 10.
NET_BIND_SERVICE = bytes([1, 0, 0, 2, 0, 4, 0, 0] + [0] * 12).decode()


def ensure_platform_images(
    binaries: Mapping[str, Path], cache: Cache, steps: Steps, *, images: Iterable[PlatformImage] = PLATFORM_IMAGES
) -> list[Path]:
    """The archives of the images; `binaries` names the program of each by `PlatformImage.binary`."""
    surroundings = machine_key()
    return [_platform_image(image, binaries[image.binary], surroundings, cache, steps) for image in images]


def _platform_image(image: PlatformImage, binary: Path, surroundings: str, cache: Cache, steps: Steps) -> Path:
    # A finished build never changes, so path, size and time identify its content, and it need not be read.
    found = binary.stat()
    key = key_of(repr(image), surroundings, str(binary.resolve()), str(found.st_size), str(found.st_mtime_ns))

    def make(partial: Path, scratch: Path) -> None:
        with steps.step(f"image {image.name}"):
            layers = [write_layer(scratch / "machine", add_machine), program_layer(scratch / "program", image, binary)]
            config = {"User": NON_ROOT, "Entrypoint": [image.path, *image.arguments], "WorkingDir": "/"}
            write_archive(partial, image.name, layers, config)

    return ensure_archive(cache, image.name, key, make)


def program_layer(path: Path, image: PlatformImage, binary: Path) -> Layer:
    attributes = {"security.capability": NET_BIND_SERVICE} if image.low_ports else {}
    inside = image.path.lstrip("/")
    return write_layer(path, lambda tar: add_file(tar, inside, binary, mode=0o755, attributes=attributes))


# --- files that every program expects -----------------------------------------------------------------------------

ZONES = Path("/usr/share/zoneinfo")


def ca_bundle() -> Path:
    """The certificates of the authorities that this machine trusts."""
    for name in (os.environ.get("PIP_CERT"), os.environ.get("SSL_CERT_FILE"), CA_BUNDLE):
        if name and Path(name).is_file():
            return Path(name)
    raise Refusal(f"{CA_BUNDLE} is missing; install the package ca-certificates")


def machine_key() -> str:
    zones = ZONES.stat().st_mtime_ns if ZONES.is_dir() else 0
    return key_of(file_digest(ca_bundle()), str(zones))


def add_machine(tar: tarfile.TarFile) -> None:
    """Add certificates, time zones (for KEDA's schedules) and a /tmp: one layer, the same in all platform images."""
    add_folder(tar, "tmp", mode=0o1777)
    add_bytes(tar, CA_BUNDLE.lstrip("/"), ca_bundle().read_bytes())
    if ZONES.is_dir():
        tar.add(ZONES, str(ZONES).lstrip("/"), filter=_only_once)


def _only_once(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    again = re.search(r"zoneinfo/(posix|right)(/|$)", member.name)
    return None if again else timeless(member)


# --- the base image --------------------------------------------------------------------------------------------------

NOT_WORTH_KEEPING = re.compile(
    r"\./(var/(cache/apt|lib/apt/lists|log)|usr/share/(doc|man|info|locale|lintian)|dev|proc|sys)/.+"
)


def ensure_base_image(cache: Cache, steps: Steps) -> Path:
    """The archive of a minimal Debian with Python, for machines that reach no container registry."""
    name, key = base_identity()

    def make(partial: Path, scratch: Path) -> None:
        with steps.step(BASE_STEP) as step:
            root = scratch / "root"
            options = ["--variant=minbase", f"--include={','.join(BASE_PACKAGES)}"]
            step.run([*PRIVATELY, "debootstrap", *options, "bookworm", str(root), debian_mirror(_apt_sources())])
            layer = write_layer(scratch / "layer", lambda tar: tar.add(root, ".", filter=_worth_keeping))
            path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
            write_archive(partial, BASE_IMAGE, [layer], {"Env": [path], "Cmd": ["/bin/bash"]})

    return ensure_archive(cache, name, key, make)


def existing_base_image(cache: Cache) -> list[Path]:
    """The base image if it was made already. New nodes get it because images that are built on it then load faster."""
    archive = archive_path(cache, *base_identity())
    return [archive] if is_whole(archive) else []


def base_identity() -> tuple[str, str]:
    return BASE_IMAGE, key_of(*BASE_PACKAGES)


def debian_mirror(sources: Iterable[str]) -> str:
    """The Debian mirror in apt's source lists, or Debian's own if they have none (as on Ubuntu)."""
    for line in "\n".join(sources).splitlines():
        found = re.match(r"(?:deb\s+(?:\[.*?\]\s+)?|URIs:\s*)(https?://\S+/debian/?)(?:\s|$)", line.strip())
        if found:
            return found[1]
    return DEBIAN_MIRROR


def _apt_sources() -> list[str]:
    lists = Path("/etc/apt/sources.list.d")
    files = [lists.with_suffix(""), *sorted(lists.glob("*.list")), *sorted(lists.glob("*.sources"))]
    return [file.read_text(errors="replace") for file in files if file.is_file()]


def _worth_keeping(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    # Times are preserved: Python's compiled files contain the times of their sources.
    return None if NOT_WORTH_KEEPING.fullmatch(member.name) else member


# --- archives in the cache -------------------------------------------------------------------------------------------


def key_of(*parts: str) -> str:
    return hashlib.sha256("\0".join([FORMAT, *parts]).encode()).hexdigest()[:12]


def archive_path(cache: Cache, name: str, key: str) -> Path:
    return cache.images / f"{slug(name)}@{key}.tar"


def slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "-", name)


def ensure_archive(cache: Cache, name: str, key: str, make: Callable[[Path, Path], None]) -> Path:
    """The archive of an image, made by `make(archive, scratch folder)` unless it is there and undamaged."""
    archive = archive_path(cache, name, key)
    if not is_whole(archive):
        with locked(cache.locks / f"image-{slug(name)}"):
            if not is_whole(archive):
                _make_archive(archive, make, cache.images / f"{slug(name)}.unfinished")
    return archive


def _make_archive(archive: Path, make: Callable[[Path, Path], None], scratch: Path) -> None:
    shutil.rmtree(scratch, ignore_errors=True)  # left by a killed run
    scratch.mkdir(parents=True)
    try:
        make(scratch / "archive", scratch)
        outdated = list(archive.parent.glob(archive.name.split("@")[0] + "@*.tar"))
        (scratch / "archive").rename(archive)
        note_file(archive)
        for other in outdated:
            if other != archive:
                remove_noted(other)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
