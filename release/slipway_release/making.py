"""`make release`: writes everything that is published of a version into one folder.

| file | what it is |
|---|---|
| slipway-NAME-VERSION.oci.tar | an image, as an OCI archive |
| slipway-NAME-VERSION.cdx.json | its bill of materials, as CycloneDX |
| CHART-VERSION.tgz | a chart, with registry and digests in its values |
| install-crds.yaml, install.yaml | what the charts install, for kubectl |
| slipway_cli-VERSION-py3-none-any.whl, slipway_cli-VERSION.tar.gz | the command-line tool, for pipx and PyPI |
| kubectl-llm-VERSION-SYSTEM-MACHINE.tar.gz, llm.yaml | the same for krew |
| images.txt | the images, with the names by which nodes pull them |
| release-notes.md | from CHANGELOG.md |
| SHA256SUMS | checksums of all these files |
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from slipway_devcluster.builds import ensure_built
from slipway_devcluster.entries import unfinished
from slipway_devcluster.errors import Refusal, StepFailed
from slipway_devcluster.oci_archive import read_image
from slipway_devcluster.paths import Cache
from slipway_devcluster.progress import Step, Steps

from slipway_release import archives, changelog, charts, command_line, compatibility, manifests, sbom
from slipway_release.images import ReleaseImage
from slipway_release.source import ROOT, Release, Source

SUMS = "SHA256SUMS"


def make(
    release: Release, images: Sequence[ReleaseImage], dist: Path, *, base: str, cache: Cache, steps: Steps
) -> None:
    """Write a release to `dist`, replacing an earlier one."""
    archives.ensure_fit(steps)
    refuse_other_content(dist)
    compatibility.refuse_broken_promises()
    changelog.notes((ROOT / "CHANGELOG.md").read_text(), release.source.version)  # before the long steps
    with unfinished(dist) as folder:
        made = {}
        for image in images:
            target = folder / f"{image.repository}-{release.source.version}.oci.tar"
            name = release.image_name(image.repository)
            archives.write(image, target, name=name, source=release.source, base=base, cache=cache, steps=steps)
            made[image.repository] = target
        add_command_line(release.source, folder, steps)
        describe(release, made, folder, cache=cache, steps=steps)
        shutil.rmtree(dist, ignore_errors=True)


def add_command_line(source: Source, folder: Path, steps: Steps) -> None:
    with steps.step("command-line tool") as step, tempfile.TemporaryDirectory(prefix="slipway-") as scratch:
        command_line.make(source, folder, Path(scratch), step)
    if not source.url:
        steps.say("llm.yaml is left out, because it names URLs: give the repository's public one by SOURCE=https://…")


def describe(release: Release, made: Mapping[str, Path], folder: Path, *, cache: Cache, steps: Steps) -> None:
    """Write everything except the images' archives, which are in `folder` and are given by repository."""
    source = release.source
    (folder / "release-notes.md").write_text(changelog.notes((ROOT / "CHANGELOG.md").read_text(), source.version))
    for repository, archive in made.items():
        bill = folder / f"{repository}-{source.version}.cdx.json"
        bill.write_text(sbom.of_archive(archive, repository, source))
    digests = {repository: read_image(archive).digest for repository, archive in made.items()}
    names = [f"{release.image_name(repository)}@{digest}\n" for repository, digest in sorted(digests.items())]
    (folder / "images.txt").write_text("".join(names))
    helm = ensure_built("helm", cache, steps).binary("helm")
    with steps.step("charts and manifests") as step, tempfile.TemporaryDirectory(prefix="slipway-") as scratch:
        for chart in charts.copies(Path(scratch), release.registry, digests):
            _package(chart, helm, folder, source, step, steps)
            _write_manifest(chart, helm, folder, source)
    (folder / SUMS).write_text(sums(folder))


def _package(chart: charts.Chart, helm: Path, folder: Path, source: Source, step: Step, steps: Steps) -> None:
    try:
        charts.package(chart, helm, folder, epoch=source.epoch, step=step)
    except StepFailed as error:
        if not chart.needs_others:
            raise
        steps.say(f"{chart.name} is left out, because the charts that it needs can't be fetched ({error})")


def _write_manifest(chart: charts.Chart, helm: Path, folder: Path, source: Source) -> None:
    if chart.name == "slipway-crds":
        (folder / "install-crds.yaml").write_text(manifests.install_crds(chart, helm, source))
    if chart.name == "slipway":
        (folder / "install.yaml").write_text(manifests.install(chart, helm, source))


def refuse_other_content(dist: Path) -> None:
    if dist.exists() and any(dist.iterdir()) and not (dist / SUMS).is_file():
        raise Refusal(f"{dist} has other files than a release; empty it, or choose another folder with DIST=…")


# --- checksums -------------------------------------------------------------------------------------------------------


def sums(folder: Path) -> str:
    """The checksums in the format of `sha256sum --check`."""
    files = sorted(file for file in folder.iterdir() if file.is_file() and file.name != SUMS)
    return "".join(f"{_sha256(file)}  {file.name}\n" for file in files)


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
