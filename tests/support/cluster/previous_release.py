"""An older Slipway, made of the previous commit: another version, a runtime with another tag, and an argument that it
writes differently."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway_devcluster import slipway as installation
from slipway_devcluster.cluster import Cluster
from slipway_devcluster.image_store import SOCKET
from slipway_devcluster.slipway import LLAMACPP_IMAGE, ROOT, OwnImage

from support.cluster.clusters import Settings

VERSION, TAG = "0.0.9", "previous"
OPERATOR, CHART = "operator", "charts/slipway"
WRITTEN = r'flag\("drain-limit", (.+)\)'


@dataclass(frozen=True)
class Previous:
    chart: Path
    values: dict[str, Any]


def previous(cluster: Cluster, settings: Settings, folder: Path) -> Previous:
    """Builds its images, loads them into the cluster, and returns its chart and values."""
    bring_sources(folder)
    operator, chart = folder / OPERATOR, folder / CHART
    changed(operator / "pyproject.toml", r'^version = ".+"$', f'version = "{VERSION}"')
    [writer] = (file for file in operator.rglob("*.py") if re.search(WRITTEN, file.read_text()))
    changed(writer, WRITTEN, r'flag("drain-limit", 1 + \1)')
    changed(chart / "Chart.yaml", r"^(version|appVersion): .+$", rf"\1: {VERSION}")
    archive = OwnImage(f"localhost/slipway-operator:{TAG}", operator / "Containerfile").loaded(
        cluster, settings.cache, settings.steps
    )
    tag_image(cluster, LLAMACPP_IMAGE.name, TAG)
    values = installation.values_with(archive.name)
    values["images"]["operator"] = {"tag": TAG}
    values["runtimes"] = {"llamacpp": {"image": {"tag": TAG}}}
    return Previous(chart, values)


def tag_image(cluster: Cluster, name: str, tag: str) -> None:
    """Gives an image of the node another tag, too."""
    ctr = ["ctr", "--address", str(SOCKET), "--namespace", "k8s.io", "images", "tag", "--force"]
    cluster.namespaces.run([*ctr, name, f"{name.rpartition(':')[0]}:{tag}"])


def bring_sources(folder: Path) -> None:
    """Copies the sources of the previous commit; of a checkout without history, its own."""
    git = ["git", "-C", str(ROOT)]
    looked = subprocess.run([*git, "cat-file", "-e", f"HEAD^:{CHART}"], check=False, capture_output=True)
    if looked.returncode == 0:
        archive = subprocess.run([*git, "archive", "HEAD^", OPERATOR, CHART], check=True, capture_output=True).stdout
        subprocess.run(["tar", "-x", "-C", str(folder)], input=archive, check=True)
        return
    shutil.copytree(ROOT / OPERATOR, folder / OPERATOR, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    shutil.copytree(ROOT / CHART, folder / CHART)


def changed(file: Path, pattern: str, replacement: str) -> None:
    text, count = re.subn(pattern, replacement, file.read_text(), flags=re.MULTILINE)
    assert count, f"{file.name} has no {pattern}"
    file.write_text(text)
