"""The images of a new node's containerd: every image of the platform, unpacked, within a second.

A *seed* is a root folder of containerd, made once by a containerd of our own that imports the archives and stops. Each
node's root is copied from it: image content and unpacked files, which containerd never changes, are shared by hard
links; everything else is copied. So a node can't change the seed, and removing a node's root leaves the others intact.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from slipway_devcluster.errors import Refusal
from slipway_devcluster.images import PRIVATELY
from slipway_devcluster.locks import locked
from slipway_devcluster.oci_archive import Image, read_image
from slipway_devcluster.paths import Cache
from slipway_devcluster.progress import Steps

SOCKET = Path("/run/containerd/containerd.sock")
"""containerd's socket in the mount namespace of a node, and in the one in which a seed is made."""

Run = Callable[[Sequence[str]], str]
"""Runs a command where containerd can be reached, and returns its output."""


# --- loading into a node that runs -----------------------------------------------------------------------------------


def import_archive(archive: Path, *, run: Run, ctr: str = "ctr", socket: Path = SOCKET) -> bool:
    """Load the archive's image unless exactly that one is there under that name; return whether it was loaded."""
    images = [ctr, "--address", str(socket), "--namespace", "k8s.io", "images"]
    if is_listed(read_image(archive), run([*images, "list"])):
        return False
    run([*images, "import", str(archive)])
    return True


def is_listed(image: Image, listing: str) -> bool:
    """Whether `ctr images list` shows the image; its columns are: name, media type, digest and more."""
    rows = [line.split() for line in listing.splitlines()]
    return any(row[0] == image.name and row[2] == image.digest for row in rows if len(row) > 2)


# --- the seed --------------------------------------------------------------------------------------------------------

FORMAT = "1"
"""Increase it when seeds are made differently, so that those in caches are made again."""

KEPT = 2
"""How many seeds stay: another process may be about to use the previous one."""

PATIENCE = 15
"""Seconds that containerd may take until it answers."""


def ensure_seed(archives: Sequence[Path], cache: Cache, steps: Steps) -> Path:
    """A containerd root with the images of these archives; it is made if it is missing."""
    seed = cache.images / f"seed@{seed_key(archives)}"
    if not seed_is_whole(seed):
        with locked(cache.locks / "seed"):
            if not seed_is_whole(seed):
                shutil.rmtree(seed, ignore_errors=True)
                _make_seed(seed, archives, steps)
    return seed


def seed_is_whole(seed: Path) -> bool:
    """Whether all imported content is there, with its size. Files of nodes are not part of a seed."""
    try:
        return bool(json.loads(_sizes_file(seed).read_text()) == content_sizes(seed))
    except (OSError, ValueError):
        return False


def content_sizes(seed: Path) -> dict[str, int]:
    blobs = (path for path in (seed / IMMUTABLE[0]).rglob("*") if path.is_file())
    return {str(blob.relative_to(seed)): blob.stat().st_size for blob in blobs}


def _sizes_file(seed: Path) -> Path:
    return seed.with_name(f"{seed.name}.json")


def seed_key(archives: Sequence[Path]) -> str:
    """A hash of the archives' names, each of which contains a hash of the content."""
    names = sorted(archive.name for archive in archives)
    return hashlib.sha256("\0".join([FORMAT, *names]).encode()).hexdigest()[:12]


def _make_seed(seed: Path, archives: Sequence[Path], steps: Steps) -> None:
    unfinished = seed.parent / "seed.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)  # left by a killed run
    unfinished.mkdir(parents=True)
    config = unfinished / "config.toml"
    config.write_text(containerd_config(unfinished / "root"))
    try:
        with steps.step("images for new nodes") as step:
            step.run([*PRIVATELY, "sh", "-c", IMPORT, "import", config, *archives])
        (unfinished / "root").rename(seed)
        _sizes_file(seed).write_text(json.dumps(content_sizes(seed)))
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    seeds = (path for path in seed.parent.glob("seed@*") if path.is_dir())
    for outdated in sorted(seeds, key=lambda found: found.stat().st_mtime)[:-KEPT]:
        shutil.rmtree(outdated)
        _sizes_file(outdated).unlink(missing_ok=True)


IMPORT = f"""
set -eu
mount -t tmpfs slipway /run
containerd --config "$1" &
shift
tries=0
until ctr version >/dev/null 2>&1; do
    kill -0 $!
    tries=$((tries + 1))
    [ $tries -lt {PATIENCE * 20} ]
    sleep 0.05
done
for archive; do ctr --namespace k8s.io images import "$archive"; done
kill $!
wait $!
"""


def containerd_config(root: Path) -> str:
    """The configuration of a containerd that only stores images: no CRI, and nothing that creates folders elsewhere."""
    unneeded = ["grpc.v1.cri", "internal.v1.opt", *(f"snapshotter.v1.{name}" for name in SNAPSHOTTERS_UNUSED)]
    disabled = ", ".join(f'"io.containerd.{name}"' for name in unneeded)
    return f'version = 2\nroot = "{root}"\nstate = "/run/containerd"\ndisabled_plugins = [{disabled}]\n'


SNAPSHOTTERS_UNUSED = ("aufs", "btrfs", "devmapper", "native", "zfs")


# --- planting --------------------------------------------------------------------------------------------------------

IMMUTABLE = (
    "io.containerd.content.v1.content/blobs",
    "io.containerd.snapshotter.v1.overlayfs/snapshots",
)
"""Folders in which containerd adds and removes files, but never changes one."""


def plant(seed: Path, root: Path) -> None:
    """Create `root`, which must not exist, as a containerd root with the seed's images."""
    for folder in IMMUTABLE:
        (root / folder).parent.mkdir(parents=True)
        _copy(["--link", seed / folder, root / folder])
    for path in _mutable(seed, Path()):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        _copy([seed / path, root / path])


def _mutable(seed: Path, folder: Path) -> list[Path]:
    """The largest parts of the seed that contain none of the immutable folders."""
    parts: list[Path] = []
    for path in (entry.relative_to(seed) for entry in (seed / folder).iterdir()):
        if any(Path(tree).is_relative_to(path) for tree in IMMUTABLE):
            parts += _mutable(seed, path) if str(path) not in IMMUTABLE else []
        else:
            parts.append(path)
    return parts


def _copy(arguments: Sequence[str | Path]) -> None:
    done = subprocess.run(
        ["cp", "--archive", "--no-target-directory", *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Refusal(f"the node's images could not be copied: {done.stderr.strip() or 'cp failed'}")
