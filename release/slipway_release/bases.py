"""The base of an image: by default one from a public registry, else another image, or a Debian that is made here."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from slipway_devcluster import images, requirements
from slipway_devcluster.errors import Refusal
from slipway_devcluster.paths import Cache
from slipway_devcluster.progress import Steps

from slipway_release.images import ReleaseImage

DEBIAN = "debian"
"""The value of BASE for a Debian that is made from its packages, for machines that reach no registry."""


@dataclass(frozen=True)
class Base:
    name: str
    archive: Path | None = None
    """The archive of a base that is made here; other bases are pulled."""

    @property
    def reference(self) -> str:
        """Its reference for `buildah pull` and `podman pull`."""
        return f"oci-archive:{self.archive}" if self.archive else f"docker://{self.name}"


def base_of(image: ReleaseImage, wanted: str, cache: Cache, steps: Steps) -> Base:
    if wanted != DEBIAN:
        return Base(wanted or image.usual_base)
    if not image.builds_on_debian:
        raise Refusal(
            f"{image.name} can't be built on Debian's packages alone: it needs the contents of "
            f"{image.usual_base}. Leave BASE out, or leave {image.name} out."
        )
    if os.geteuid() != 0:
        raise Refusal("BASE=debian runs debootstrap, which needs root; run the same command with `sudo -E`.")
    requirements.ensure_packages(steps, ("debootstrap", "ca-certificates"))
    return Base(images.BASE_IMAGE, images.ensure_base_image(cache, steps))


def unreachable(base: Base, error: Exception) -> Refusal:
    """The error for a base that can't be pulled."""
    return Refusal(
        f"the base image {base.name} can't be pulled; choose another with BASE=…, or make one from Debian's "
        f"packages with BASE=debian, which needs no registry. ({error})"
    )
