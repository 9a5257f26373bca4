"""Container images without a registry: the platform's own, a Debian base, and this repo's Containerfiles built on it.

Every image ends up as one OCI archive in the cache, named by what it was made of and made again only when that changes.
The platform's images are a binary and little else, so they are written directly; buildah is for Containerfiles alone.
"""

from __future__ import annotations

import configparser
import contextlib
import hashlib
import os
import re
import shutil
import tarfile
from collections.abc import Callable, Iterable, Mapping, Sequence
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
    pack_folder,
    timeless,
    write_archive,
    write_layer,
)
from slipway_devcluster.paths import Cache
from slipway_devcluster.progress import Step, Steps

BASE_IMAGE = "localhost/slipway-base:bookworm"
BASE_PACKAGES = ("python3", "python3-venv", "ca-certificates", "libgomp1")
DEBIAN_MIRROR = "http://deb.debian.org/debian"
CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
FORMAT = "1"
"""Raised when archives are written differently, so that those in caches are made again."""

PRIVATELY = [
    *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"),
    *("sh", "-c", """trap 'exit 130' INT TERM; "$@" """, "privately"),
]
"""Put before a command: whatever ends it, no process and no mount of it is left."""


# --- the platform's images -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PlatformImage:
    """One program of the platform, under the name and at the path that its upstream manifest asks for."""

    name: str
    binary: str
    path: str
    arguments: tuple[str, ...] = ()
    low_ports: bool = False
    """May listen below 1024 without being root, as upstream's image may."""


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
    # A finished build never changes, so its path, size and time stand for its content and nothing need be read.
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


# --- what every program expects around it ----------------------------------------------------------------------------

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
    """Certificates, time zones (KEDA's schedules name them) and a /tmp: one layer, the same in all platform images."""
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
    """A minimal Debian with Python, for machines that reach no container registry. It contains no model."""
    name, key = base_identity()

    def make(partial: Path, scratch: Path) -> None:
        with steps.step("base image") as step:
            root = scratch / "root"
            options = ["--variant=minbase", f"--include={','.join(BASE_PACKAGES)}"]
            step.run([*PRIVATELY, "debootstrap", *options, "bookworm", str(root), debian_mirror(_apt_sources())])
            layer = write_layer(scratch / "layer", lambda tar: tar.add(root, ".", filter=_worth_keeping))
            path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
            write_archive(partial, BASE_IMAGE, [layer], {"Env": [path], "Cmd": ["/bin/bash"]})

    return ensure_archive(cache, name, key, make)


def existing_base_image(cache: Cache) -> list[Path]:
    """The base image if it was made already: worth a place in new nodes, since built images then load faster."""
    archive = archive_path(cache, *base_identity())
    return [archive] if is_whole(archive) else []


def base_identity() -> tuple[str, str]:
    return BASE_IMAGE, key_of(*BASE_PACKAGES)


def debian_mirror(sources: Iterable[str]) -> str:
    """The Debian mirror in apt's source lists, or Debian's own where they name none (as on Ubuntu)."""
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
    # Times stay as they are: Python's compiled files name the times of their sources.
    return None if NOT_WORTH_KEEPING.fullmatch(member.name) else member


# --- this repo's Containerfiles --------------------------------------------------------------------------------------


def build_image(
    containerfile: Path, *, name: str, cache: Cache, steps: Steps, build_args: Mapping[str, str] | None = None
) -> Path:
    """The archive of the image that `containerfile` describes, its folder being the context and our base its BASE."""
    base = ensure_base_image(cache, steps)
    arguments = {"BASE": BASE_IMAGE, **(build_args or {})}
    ignored = ignore_patterns(containerfile.parent)
    key = key_of(base.name, repr(sorted(arguments.items())), context_hash(containerfile, ignored))

    def make(partial: Path, scratch: Path) -> None:
        with steps.step(f"image {name}") as step, locked(cache.locks / "buildah"):
            buildah = Buildah(cache.images / "buildah", scratch, step)
            buildah.run("pull", f"oci-archive:{base}")
            buildah.build(containerfile, name, arguments, ignored)
            # Through a folder, since buildah itself compresses what it puts into an archive.
            buildah.run("push", "--disable-compression", name, f"dir:{scratch / 'image'}")
            pack_folder(partial, name, scratch / "image")
            buildah.run("rmi", "--prune")  # layers that no image needs any more

    return ensure_archive(cache, name, key, make)


def repository(containerfile: Path) -> str:
    """NAME.Containerfile makes slipway-NAME; one that is called nothing else is named by its folder."""
    name = containerfile.absolute().parent.name if containerfile.stem == containerfile.name else containerfile.stem
    return f"slipway-{name.lower()}"


def default_name(containerfile: Path) -> str:
    """What it is called in a devcluster."""
    return f"localhost/{repository(containerfile)}:dev"


# buildah notes what it has seen at a fixed place; these notes are not for the machine to keep.
HIDE_NOTES = 'mkdir -p /var/lib/containers && mount -t tmpfs slipway /var/lib/containers && exec "$@"'


class Buildah:
    """buildah with a store of its own; the user's stays untouched."""

    def __init__(self, store: Path, scratch: Path, step: Step) -> None:
        self._step = step
        self._store = store
        self._scratch = scratch
        self._policy = self._written("policy.json", '{"default": [{"type": "insecureAcceptAnything"}]}')
        self._environment = {
            "STORAGE_DRIVER": "overlay",  # nodes need it anyway; vfs would copy the whole image at every step
            "BUILDAH_ISOLATION": "chroot",
            "CONTAINERS_STORAGE_CONF": str(self._written("storage.conf", "[storage]\n")),
            "TMPDIR": str(scratch),
        }

    def build(self, containerfile: Path, name: str, arguments: Mapping[str, str], ignored: Sequence[str]) -> None:
        ignore_file = self._written("ignore", "".join(f"{line}\n" for line in ignored))
        common = [f"--ignorefile={ignore_file}", *self._common(containerfile, arguments)]
        for stage in stages(containerfile.read_text()):  # with a name it outlives pruning, and so does what it cached
            self.run("bud", f"--tag=localhost/stage-of-{slug(name)}:{stage}", f"--target={stage}", *common)
        self.run("bud", f"--tag={name}", *common)

    def build_anew(
        self, containerfile: Path, name: str, arguments: Mapping[str, str], options: Sequence[str] = ()
    ) -> None:
        """With nothing of what earlier builds left; all of the folder is the context."""
        self.run("bud", f"--tag={name}", "--no-cache", *options, *self._common(containerfile, arguments))

    def _common(self, containerfile: Path, arguments: Mapping[str, str]) -> list[str]:
        return [
            *("--layers", "--pull-never", f"--file={containerfile}"),
            *(f"--build-arg={key}={value}" for key, value in arguments.items()),
            *(f"--volume={mount}" for mount in package_mounts(self._scratch)),
            str(containerfile.parent),
        ]

    def run(self, command: str, *arguments: str) -> None:
        folders = [f"--root={self._store / 'root'}", f"--runroot={self._scratch / 'run'}"]
        policy = [f"--signature-policy={self._policy}"] if command != "rmi" else []
        hiding = ["sh", "-c", HIDE_NOTES, "hiding", "buildah"]
        try:
            self._step.run([*PRIVATELY, *hiding, *folders, command, *policy, *arguments], env=self._environment)
        finally:
            with contextlib.suppress(OSError):  # it is not empty, since it is the user's own
                Path("/var/lib/containers").rmdir()

    def _written(self, name: str, text: str) -> Path:
        path = self._scratch / name
        path.write_text(text)
        return path


def stages(containerfile: str) -> list[str]:
    """The names of those that only others take something from."""
    return re.findall(r"^FROM .+ AS (\S+)", containerfile, re.MULTILINE | re.IGNORECASE)


def ignore_patterns(context: Path) -> list[str]:
    """What of a build context does not matter: what the context says itself, and what Python leaves behind."""
    files = [file for file in (context / ".containerignore", context / ".dockerignore") if file.is_file()]
    lines = [line.strip() for line in (files[0].read_text().splitlines() if files else [])]
    return [line for line in lines if line and not line.startswith("#")] + ["**/__pycache__"]


def context_hash(containerfile: Path, ignored: Sequence[str]) -> str:
    """A hash of the Containerfile and of what its folder brings into the build: names, modes and content."""
    context = containerfile.parent
    digest = hashlib.sha256(containerfile.read_bytes())
    for path in sorted(context.rglob("*")):
        relative = path.relative_to(context)
        if path.is_file() and not is_ignored(relative, ignored):
            digest.update(f"\n{relative} {path.stat().st_mode:o} {file_digest(path)}".encode())
    return digest.hexdigest()


def is_ignored(relative: Path, patterns: Sequence[str]) -> bool:
    """Whether .containerignore's rules leave a file out: the last pattern that matches decides, `!` takes back in."""
    names = [str(relative), *(str(parent) for parent in relative.parents)]
    verdict = False
    for pattern in patterns:
        expression = _ignore_expression(pattern.lstrip("!").strip("/"))
        if any(expression.fullmatch(name) for name in names):
            verdict = not pattern.startswith("!")
    return verdict


def _ignore_expression(pattern: str) -> re.Pattern[str]:
    wildcards = {"**/": "(.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    parts = re.findall(r"\*\*/|\*\*|\*|\?|[^*?]+", pattern)
    return re.compile("".join(wildcards.get(part) or re.escape(part) for part in parts))


# --- how packages are reached from inside a build --------------------------------------------------------------------


def package_mounts(folder: Path) -> list[str]:
    """What a build mounts to reach packages as this machine does; what is written for it lies in `folder`.

    Mounted, neither copied nor passed as variables: the image does not learn how this machine reaches packages.
    """
    pip_config = folder / "pip.conf"
    pip_config.write_text(pip_configuration(_host_pip_files(), os.environ))
    return [f"{ca_bundle()}:{CA_BUNDLE}:ro", f"{pip_config}:/etc/pip.conf:ro"]


PIP_OPTIONS = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout")


def pip_configuration(files: Iterable[str], environment: Mapping[str, str]) -> str:
    """A pip.conf that reaches packages as the host's own pip does, and trusts whom the machine trusts."""
    options = {"cert": CA_BUNDLE}
    for text in files:
        parser = configparser.RawConfigParser(strict=False)
        parser.read_string(text)
        for section in ("global", "install"):
            if parser.has_section(section):
                options.update((key, value) for key, value in parser.items(section) if key in PIP_OPTIONS)
    variables = {option: "PIP_" + option.upper().replace("-", "_") for option in PIP_OPTIONS}
    options.update((option, environment[name]) for option, name in variables.items() if environment.get(name))
    return "[global]\n" + "".join(f"{key} = {' '.join(value.split())}\n" for key, value in options.items())


def _host_pip_files() -> list[str]:
    names = ["/etc/pip.conf", "~/.pip/pip.conf", "~/.config/pip/pip.conf", os.environ.get("PIP_CONFIG_FILE", "")]
    files = [Path(name).expanduser() for name in names]
    return [file.read_text() for file in files if file.is_file()]


# --- archives in the cache -------------------------------------------------------------------------------------------


def key_of(*parts: str) -> str:
    return hashlib.sha256("\0".join([FORMAT, *parts]).encode()).hexdigest()[:12]


def archive_path(cache: Cache, name: str, key: str) -> Path:
    return cache.images / f"{slug(name)}@{key}.tar"


def slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "-", name)


def ensure_archive(cache: Cache, name: str, key: str, make: Callable[[Path, Path], None]) -> Path:
    """The archive of an image, made by `make(archive, scratch folder)` unless it is there and as it was made."""
    archive = archive_path(cache, name, key)
    if not is_whole(archive):
        with locked(cache.locks / f"image-{slug(name)}"):
            if not is_whole(archive):
                _make_archive(archive, make, cache.images / f"{slug(name)}.unfinished")
    return archive


def _make_archive(archive: Path, make: Callable[[Path, Path], None], scratch: Path) -> None:
    shutil.rmtree(scratch, ignore_errors=True)  # what a killed run left
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
