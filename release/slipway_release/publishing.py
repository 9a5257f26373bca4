"""Pushes a release to a registry, from the folder that `make release` wrote, without changing any digest."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from slipway_devcluster import requirements
from slipway_devcluster.builds import ensure_built
from slipway_devcluster.errors import Refusal
from slipway_devcluster.paths import Cache
from slipway_devcluster.progress import Steps

from slipway_release import registry
from slipway_release.making import SUMS, sums

PACKAGES = ("skopeo",)
ARCHIVE = re.compile(r"(?P<repository>slipway-[a-z-]+)-(?P<version>\d.*)\.oci\.tar")


@dataclass(frozen=True)
class Push:
    """An image or a chart, and the command that pushes it."""

    what: str
    command: tuple[str | Path, ...]


def publish(dist: Path, to: str, *, cache: Cache, steps: Steps) -> None:
    refuse_if_changed(dist)
    refuse_other_registry(dist, to)
    requirements.ensure_packages(steps, PACKAGES)
    helm = ensure_built("helm", cache, steps).binary("helm")
    for push in pushes(dist, to, helm):
        with steps.step(f"pushing {push.what}") as step:
            step.run(push.command, env={"TMPDIR": str(dist)})  # archives are unpacked there, and /tmp may be small


def pushes(dist: Path, to: str, helm: Path) -> Iterator[Push]:
    """The pushes in their order: images first, so that a published chart always finds its images."""
    here = registry.is_here(to)
    for archive in sorted(dist.glob("*.oci.tar")):
        if found := ARCHIVE.fullmatch(archive.name):
            name = f"{to}/{found['repository']}:{found['version']}"
            options = ["--preserve-digests", *(["--dest-tls-verify=false"] if here else [])]
            # No signature policy is applied to the archive: it was made here, and its checksum has been verified.
            copy = ("skopeo", "--insecure-policy", "copy", *options, f"oci-archive:{archive}", f"docker://{name}")
            yield Push(name, copy)
    for chart in sorted(dist.glob("*.tgz")):
        options = ["--plain-http"] if here else []
        yield Push(f"{registry.charts_of(to)}/{chart.stem}", (helm, "push", chart, registry.charts_of(to), *options))


def refuse_if_changed(dist: Path) -> None:
    if not (dist / SUMS).is_file():
        raise Refusal(f"{dist} has no release; make one with `make release REGISTRY=…`, or set its folder with DIST=…")
    if (dist / SUMS).read_text() != sums(dist):
        raise Refusal(
            f"{dist} was changed after it was made: its files differ from its {SUMS}; make the release again."
        )


def refuse_other_registry(dist: Path, to: str) -> None:
    """Refuse another registry than the one that the release's charts and manifests refer to."""
    for line in (dist / "images.txt").read_text().splitlines():
        if line.rpartition("/")[0] != to:
            raise Refusal(
                f"{dist} was made for another registry than {to} ({line}); make the release again for this one."
            )
