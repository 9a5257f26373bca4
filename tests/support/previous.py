"""An older Slipway, made of this checkout: another version, a runtime under another tag, and an argument that it writes
differently."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway_devcluster import slipway as installation
from slipway_devcluster.cluster import Cluster
from slipway_devcluster.image_store import SOCKET
from slipway_devcluster.slipway import LLAMACPP_IMAGE, ROOT, OwnImage

from support.charts import CHARTS
from support.clusters import Settings

VERSION, TAG = "0.0.9", "previous"
ENGINES = "slipway/rendering/engines/engine.py"
WRITTEN = 'flag("drain-limit", math.ceil(seconds(spec.rollout.drain_timeout)))'


@dataclass(frozen=True)
class Previous:
    chart: Path
    values: dict[str, Any]


def previous(cluster: Cluster, settings: Settings, folder: Path) -> Previous:
    """Its images are in the cluster then."""
    operator, chart = folder / "operator", folder / "charts/slipway"
    shutil.copytree(ROOT / "operator", operator, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    shutil.copytree(CHARTS / "slipway", chart)
    changed(operator / "pyproject.toml", r'^version = ".+"$', f'version = "{VERSION}"')
    changed(operator / ENGINES, re.escape(WRITTEN), WRITTEN.replace("))", ") + 1)"))
    changed(chart / "Chart.yaml", r"^(version|appVersion): .+$", rf"\1: {VERSION}")
    archive = OwnImage(f"localhost/slipway-operator:{TAG}", operator / "Containerfile").loaded(
        cluster, settings.cache, settings.steps
    )
    runtime = LLAMACPP_IMAGE.name
    ctr = ["ctr", "--address", str(SOCKET), "--namespace", "k8s.io", "images", "tag", "--force"]
    cluster.namespaces.run([*ctr, runtime, runtime.replace(":dev", f":{TAG}")])
    values = installation.values_with(archive.name)
    values["images"]["operator"] = {"tag": TAG}
    values["runtimes"] = {"llamacpp": {"image": {"tag": TAG}}}
    return Previous(chart, values)


def changed(file: Path, pattern: str, replacement: str) -> None:
    text, count = re.subn(pattern, replacement, file.read_text(), flags=re.MULTILINE)
    assert count, f"{file.name} has no {pattern}"
    file.write_text(text)
