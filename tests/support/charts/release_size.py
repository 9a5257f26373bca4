"""The size of the Secret in which helm stores a release, and its limit."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path

import yaml

from support.charts.helm import text
from support.repository import CHARTS

LIMIT = 1 << 20


def secret_size(chart: str | Path, values: dict[str, object]) -> int:
    """Returns the bytes of the Secret: like helm, it packs the chart's files, the values and the rendered objects."""
    folder = CHARTS / chart
    release = {"name": folder.name, "chart": packed(folder), "config": values, "manifest": text(folder, values)}
    return len(base64.b64encode(gzip.compress(json.dumps(release).encode(), compresslevel=9)))


def packed(folder: Path) -> dict[str, object]:
    files = {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    return {
        "metadata": yaml.safe_load((folder / "Chart.yaml").read_text()),
        "values": yaml.safe_load((folder / "values.yaml").read_text()),
        "templates": [{"name": str(name), "data": base64.b64encode(data).decode()} for name, data in files.items()],
    }
