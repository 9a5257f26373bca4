"""What an image is built on: its usual base from a public registry, another image, or a Debian that is made here."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from slipway_devcluster import images, requirements
from slipway_devcluster.errors import Refusal
from slipway_devcluster.paths import Cache
from slipway_devcluster.progress import Steps

from .images import Image

DEBIAN = "debian"
"""As BASE: a Debian that is made of its packages, for machines that reach no registry."""


@dataclass(frozen=True)
class Base:
    name: str
    archive: Path | None = None
    """Of the one that is made here; others are pulled."""

    @property
    def reference(self) -> str:
        """As buildah and podman pull it."""
        return f"oci-archive:{self.archive}" if self.archive else f"docker://{self.name}"


def base_of(image: Image, wanted: str, cache: Cache, steps: Steps) -> Base:
    if wanted != DEBIAN:
        return Base(wanted or image.usual_base)
    if not image.builds_on_debian:
        raise Refusal(
            f"{image.name} can't be built on a Debian of packages: its base has to bring what "
            f"{image.usual_base} brings. Leave BASE out, or leave {image.name} out."
        )
    if os.geteuid() != 0:
        raise Refusal("BASE=debian makes a Debian by debootstrap, which needs root; run the same with `sudo -E`.")
    requirements.ensure_packages(steps, ("debootstrap", "ca-certificates"))
    return Base(images.BASE_IMAGE, images.ensure_base_image(cache, steps))


def unreachable(base: Base, error: Exception) -> Refusal:
    """What to say when a base can't be pulled."""
    return Refusal(
        f"the base image {base.name} can't be pulled; name another with BASE=…, or let BASE=debian make one of "
        f"Debian's packages, which needs no registry. ({error})"
    )
