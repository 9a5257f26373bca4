"""Slipway's charts as the real helm renders them, without a cluster."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from slipway.api.names import RUNTIME_LABEL
from slipway_devcluster.builds import ensure_built
from slipway_devcluster.components import SLIPWAY_NAMESPACE
from slipway_devcluster.paths import default_cache
from slipway_devcluster.progress import Steps

from support.kube import Object

CHARTS = Path(__file__).parents[2] / "charts"
KUBERNETES = "1.34.4"


def name_of(thing: Object) -> str:
    """Runtimes by that of their engine: after it comes what differs from release to release."""
    labels = thing["metadata"].get("labels") or {}
    return str(labels.get(RUNTIME_LABEL) or thing["metadata"]["name"])


class Refused(Exception):  # noqa: N818 - it is an answer
    """What helm says."""


def rendered(chart: str, values: Mapping[str, Any] | None = None) -> list[Object]:
    return [thing for thing in yaml.load_all(text(chart, values), Loader=yaml.CSafeLoader) if thing]


def text(chart: str, values: Mapping[str, Any] | None = None) -> str:
    """Refused: helm doesn't render it."""
    return _template(chart, json.dumps(values or {}))


@cache
def _template(chart: str, values: str) -> str:
    command = [str(helm()), "template", chart, str(CHARTS / chart), "--namespace", SLIPWAY_NAMESPACE, "--values=-"]
    done = subprocess.run(
        [*command, "--kube-version", KUBERNETES], input=values, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Refused(done.stderr)
    return str(done.stdout)


@cache
def helm() -> Path:
    """Built the first time."""
    found = default_cache()
    return ensure_built("helm", found, Steps(found)).binary("helm")
