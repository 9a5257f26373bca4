"""Charts of a release: their values have the registry and the images' digests; their archives are reproducible."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml
from slipway_devcluster.errors import Refusal
from slipway_devcluster.progress import Step

from slipway_release.source import ROOT

CHARTS = ROOT / "charts"
Digests = Mapping[str, str]
"""Digests of images, by repository."""


@dataclass(frozen=True)
class Chart:
    """A copy of a chart of this repository, with the defaults of a release."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def needs_others(self) -> bool:
        return bool(yaml.safe_load((self.folder / "Chart.yaml").read_text()).get("dependencies"))


def copies(scratch: Path, registry: str, digests: Digests, *, charts: Path = CHARTS) -> list[Chart]:
    found = []
    for origin in sorted(each.parent for each in charts.glob("*/Chart.yaml")):
        copy = scratch / origin.name
        shutil.copytree(origin, copy)
        values = copy / "values.yaml"
        values.write_text(with_images(values.read_text(), registry, digests))
        found.append(Chart(copy))
    used = {repository for chart in found for repository in repositories((chart.folder / "values.yaml").read_text())}
    if unused := sorted(digests.keys() - used):
        raise Refusal(
            f"no chart's values.yaml has a `repository: {unused[0]}` with a `digest` next to it; add both to one."
        )
    return found


# --- values ----------------------------------------------------------------------------------------------------------


def with_images(values: str, registry: str, digests: Digests) -> str:
    """The text of a values.yaml with the release's defaults. Everything else is unchanged, including its comments."""
    changes: list[tuple[yaml.Node, str]] = []
    for entries in _mappings(_tree(values)):
        repository, digest = entries.get("repository"), entries.get("digest")
        if repository and digest and repository.value in digests:
            changes.append((digest, digests[repository.value]))
        images = entries.get("images")
        if isinstance(images, yaml.MappingNode) and (place := _entries(images).get("registry")):
            changes.append((place, registry))
    for node, text in sorted(changes, key=lambda change: change[0].start_mark.index, reverse=True):
        values = f"{values[: node.start_mark.index]}{json.dumps(text)}{values[node.end_mark.index :]}"
    return values


def repositories(values: str) -> set[str]:
    """The repositories of the images that can be referred to by digest."""
    found = _mappings(_tree(values))
    return {entries["repository"].value for entries in found if {"repository", "digest"} <= entries.keys()}


def _tree(values: str) -> yaml.Node | None:
    return yaml.compose(values, Loader=yaml.SafeLoader)  # the C loader reports no positions


def _mappings(node: yaml.Node | None) -> Iterator[dict[str, yaml.Node]]:
    if isinstance(node, yaml.MappingNode):
        entries = _entries(node)
        yield entries
        for each in entries.values():
            yield from _mappings(each)
    elif isinstance(node, yaml.SequenceNode):
        for each in node.value:
            yield from _mappings(each)


def _entries(node: yaml.MappingNode) -> dict[str, yaml.Node]:
    return {key.value: value for key, value in node.value}


# --- archives --------------------------------------------------------------------------------------------------------


def package(chart: Chart, helm: Path, target: Path, *, epoch: int, step: Step) -> None:
    """Write a chart's archive to `target`. The step fails if the chart needs other charts that can't be fetched."""
    if chart.needs_others:
        step.run([helm, "dependency", "update", chart.folder])
    before = set(target.iterdir())
    step.run([helm, "package", chart.folder, "--destination", target])
    for archive in set(target.iterdir()) - before:
        pack_timeless(archive, epoch=epoch)


def pack_timeless(archive: Path, *, epoch: int) -> None:
    """Rewrite an archive with the date of the release; helm writes the current time."""
    with tarfile.open(archive) as packed:
        files = [(member.name, file.read()) for member in packed if (file := packed.extractfile(member))]
    with archive.open("wb") as raw, gzip.GzipFile("", "wb", mtime=epoch, fileobj=raw) as compressed:  # noqa: SIM117
        with tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for name, content in files:
                member = tarfile.TarInfo(name)
                member.size, member.mtime = len(content), epoch
                tar.addfile(member, io.BytesIO(content))
