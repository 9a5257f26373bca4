"""Images of this repository's Containerfiles: built by buildah on our base image, and kept as archives in the cache."""

from __future__ import annotations

import configparser
import contextlib
import hashlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from slipway_devcluster.entries import is_whole
from slipway_devcluster.images import (
    BASE_IMAGE,
    CA_BUNDLE,
    PRIVATELY,
    archive_path,
    base_identity,
    ca_bundle,
    ensure_archive,
    ensure_base_image,
    key_of,
    slug,
)
from slipway_devcluster.locks import locked
from slipway_devcluster.oci_archive import file_digest, pack_folder
from slipway_devcluster.paths import Cache
from slipway_devcluster.progress import Step, Steps


def build_image(
    containerfile: Path, *, name: str, cache: Cache, steps: Steps, build_args: Mapping[str, str] | None = None
) -> Path:
    """Return the archive of an image; the Containerfile's folder is the build context, and our base image is BASE."""
    base = ensure_base_image(cache, steps)
    arguments = {"BASE": BASE_IMAGE, **(build_args or {})}
    ignored = ignore_patterns(containerfile.parent)
    key = _image_key(containerfile, arguments, ignored, base)

    def make(partial: Path, scratch: Path) -> None:
        with steps.step(step_name(name)) as step, locked(cache.locks / "buildah"):
            buildah = Buildah(cache.images / "buildah", scratch, step)
            buildah.run("pull", f"oci-archive:{base}")
            buildah.build(containerfile, name, arguments, ignored)
            # Through a folder, because buildah always compresses the layers of an archive.
            buildah.run("push", "--disable-compression", name, f"dir:{scratch / 'image'}")
            pack_folder(partial, name, scratch / "image")
            buildah.run("rmi", "--prune")  # layers that no image needs any more

    return ensure_archive(cache, name, key, make)


def step_name(image: str) -> str:
    return f"image {image}"


def is_built(containerfile: Path, *, name: str, cache: Cache) -> bool:
    """Whether `build_image` would find the image in the cache."""
    base = archive_path(cache, *base_identity())
    key = _image_key(containerfile, {"BASE": BASE_IMAGE}, ignore_patterns(containerfile.parent), base)
    return is_whole(archive_path(cache, name, key))


def _image_key(containerfile: Path, arguments: Mapping[str, str], ignored: Sequence[str], base: Path) -> str:
    return key_of(base.name, repr(sorted(arguments.items())), context_hash(containerfile, ignored))


def repository(containerfile: Path) -> str:
    """The name of an image without registry: slipway-NAME for NAME.Containerfile and for NAME/Containerfile."""
    name = containerfile.absolute().parent.name if containerfile.stem == containerfile.name else containerfile.stem
    return f"slipway-{name.lower()}"


def default_name(containerfile: Path) -> str:
    """The name of its image in a devcluster."""
    return f"localhost/{repository(containerfile)}:dev"


# buildah records the blobs that it has seen in a fixed folder; nothing is to be left there on this machine.
HIDE_NOTES = 'mkdir -p /var/lib/containers && mount -t tmpfs slipway /var/lib/containers && exec "$@"'


class Buildah:
    """Runs buildah with a store of its own; the user's store is not touched."""

    def __init__(self, store: Path, scratch: Path, step: Step) -> None:
        self._step = step
        self._store = store
        self._scratch = scratch
        self._policy = self._written("policy.json", '{"default": [{"type": "insecureAcceptAnything"}]}')
        self._environment = {
            "STORAGE_DRIVER": "overlay",  # nodes need it anyway; vfs would copy the entire image at every step
            "BUILDAH_ISOLATION": "chroot",
            "CONTAINERS_STORAGE_CONF": str(self._written("storage.conf", "[storage]\n")),
            "TMPDIR": str(scratch),
        }

    def build(self, containerfile: Path, name: str, arguments: Mapping[str, str], ignored: Sequence[str]) -> None:
        ignore_file = self._written("ignore", "".join(f"{line}\n" for line in ignored))
        common = [f"--ignorefile={ignore_file}", *self._common(containerfile, arguments)]
        for stage in stages(containerfile.read_text()):  # a tagged stage survives pruning, and so do its cached layers
            self.run("bud", f"--tag=localhost/stage-of-{slug(name)}:{stage}", f"--target={stage}", *common)
        self.run("bud", f"--tag={name}", *common)

    def build_anew(
        self, containerfile: Path, name: str, arguments: Mapping[str, str], options: Sequence[str] = ()
    ) -> None:
        """Build without cached layers; the entire folder is the context."""
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
    """The names of the stages that only other stages copy from."""
    return re.findall(r"^FROM .+ AS (\S+)", containerfile, re.MULTILINE | re.IGNORECASE)


def ignore_patterns(context: Path) -> list[str]:
    """Patterns of files that do not belong to a build context: its own ignore file, and Python's caches."""
    files = [file for file in (context / ".containerignore", context / ".dockerignore") if file.is_file()]
    lines = [line.strip() for line in (files[0].read_text().splitlines() if files else [])]
    return [line for line in lines if line and not line.startswith("#")] + ["**/__pycache__"]


def context_hash(containerfile: Path, ignored: Sequence[str]) -> str:
    """A hash of the Containerfile and of all files of its build context: names, modes and content."""
    context = containerfile.parent
    digest = hashlib.sha256(containerfile.read_bytes())
    for path in sorted(context.rglob("*")):
        relative = path.relative_to(context)
        if path.is_file() and not is_ignored(relative, ignored):
            digest.update(f"\n{relative} {path.stat().st_mode:o} {file_digest(path)}".encode())
    return digest.hexdigest()


def is_ignored(relative: Path, patterns: Sequence[str]) -> bool:
    """Whether patterns exclude a file: the last pattern that matches decides, and `!` includes it again."""
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
    """The mounts by which a build reaches packages as this machine does; their files are written to `folder`.

    They are mounted, neither copied nor passed as variables, so that nothing of this machine gets into the image.
    """
    pip_config = folder / "pip.conf"
    pip_config.write_text(pip_configuration(_host_pip_files(), os.environ))
    return [f"{ca_bundle()}:{CA_BUNDLE}:ro", f"{pip_config}:/etc/pip.conf:ro"]


PIP_OPTIONS = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout")


def pip_configuration(files: Iterable[str], environment: Mapping[str, str]) -> str:
    """A pip.conf that reaches packages as the host's own pip does, and trusts the machine's certificate authorities."""
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
