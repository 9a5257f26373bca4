"""`make release`: images as OCI archives that are reproducible, byte by byte.

They are built by buildah in a store of our own, without cached layers of earlier builds. The base image is an input:
another base makes another image.

Files in layers have the same date in all releases. So a layer with the same files is the same layer in the next
release, and nodes that have the packages of an engine don't pull them again. An image's own date is its release's.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from slipway_devcluster import requirements
from slipway_devcluster.containerfiles import Buildah
from slipway_devcluster.errors import Refusal, StepFailed
from slipway_devcluster.images import slug
from slipway_devcluster.locks import locked
from slipway_devcluster.oci_archive import pack_folder
from slipway_devcluster.paths import Cache
from slipway_devcluster.progress import Steps

from slipway_release.bases import Base, base_of, unreachable
from slipway_release.images import ReleaseImage, stage
from slipway_release.source import Source

PACKAGES = ("util-linux", "buildah", "ca-certificates")
DATE_OF_FILES = 1580601600
"""2020-02-02, the date that hatchling also gives to the files of a wheel."""


def ensure_fit(steps: Steps) -> None:
    if os.geteuid() != 0:
        raise Refusal("`make release` builds in namespaces of its own, which needs root; run the same with `sudo -E`.")
    requirements.ensure_packages(steps, PACKAGES)


def write(
    image: ReleaseImage, target: Path, *, name: str, source: Source, base: str, cache: Cache, steps: Steps
) -> None:
    """Build an image, and write it to `target` as an archive with the given name."""
    its_base = base_of(image, base, cache, steps)
    with (
        steps.step(f"archive of {name}") as step,
        locked(cache.locks / "buildah", say=steps.say),
        _scratch(cache.images / f"{slug(name)}.release") as scratch,
    ):
        buildah = Buildah(cache.images / "buildah", scratch, step)
        _pull(its_base, buildah)
        context = scratch / "context"
        context.mkdir()
        labels = [f"--label={key}={value}" for key, value in source.labels().items()]
        file = stage(image, context, epoch=DATE_OF_FILES)
        try:
            buildah.build_anew(file, name, {"BASE": its_base.name}, [f"--timestamp={DATE_OF_FILES}", *labels])
            buildah.run("push", name, f"dir:{scratch / 'image'}")  # which compresses the layers
            pack_folder(target, name, scratch / "image", created=source.created)
            buildah.run("rmi", name)
        finally:
            buildah.run("rmi", "--prune")


def _pull(base: Base, buildah: Buildah) -> None:
    try:
        buildah.run("pull", "--policy=always", base.reference)
    except StepFailed as error:
        raise unreachable(base, error) from error


@contextlib.contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    shutil.rmtree(folder, ignore_errors=True)  # what a killed run left
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
