"""Writes what the charts install as files for `kubectl apply --server-side -f`.

kubectl looks up every kind before it applies anything, so CRDs and objects of their kinds can't be in one file.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from slipway_devcluster.components import SLIPWAY_NAMESPACE
from slipway_devcluster.errors import Refusal
from slipway_devcluster.programs import upstream_named
from slipway_devcluster.slipway import HOME

from slipway_release.charts import Chart
from slipway_release.source import Source

Object = dict[str, Any]


def install_crds(chart: Chart, helm: Path, source: Source) -> str:
    objects = rendered(chart, helm, "--set=keep=false")
    objects.sort(key=lambda each: each["kind"] != "CustomResourceDefinition")
    return document(objects, f"The types of Slipway {source.version}, and the API server's own checks of them")


def install(chart: Chart, helm: Path, source: Source) -> str:
    title = f"Slipway {source.version}, to be applied after install-crds.yaml, where KServe and KEDA are"
    return document([HOME, *rendered(chart, helm)], title)


def rendered(chart: Chart, helm: Path, *flags: str) -> list[Object]:
    """The objects of a chart, without helm's hooks and tests."""
    kubernetes = upstream_named("kubernetes").version.removeprefix("v")
    command: Sequence[str | Path] = [helm, "template", chart.name, chart.folder, "--namespace", SLIPWAY_NAMESPACE]
    done = subprocess.run([*command, "--kube-version", kubernetes, *flags], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Refusal(f"helm can't render {chart.name}: {done.stderr.strip()}")
    objects = [each for each in yaml.load_all(done.stdout, Loader=yaml.CSafeLoader) if each]
    return [without_helm(each) for each in objects if not is_hook(each)]


def is_hook(thing: Object) -> bool:
    return "helm.sh/hook" in (thing["metadata"].get("annotations") or {})


def without_helm(thing: Object) -> Object:
    """Remove the labels and annotations that mark an object as managed by helm. Changes its argument."""
    (thing["metadata"].get("annotations") or {}).pop("helm.sh/resource-policy", None)
    for labels in _labels(thing):
        labels.pop("helm.sh/chart", None)
        if labels.get("app.kubernetes.io/managed-by") == "Helm":
            del labels["app.kubernetes.io/managed-by"]
    return thing


def _labels(value: object) -> Iterator[dict[str, str]]:
    """The labels of an object, and of its pod template."""
    if isinstance(value, dict):
        if isinstance(labels := value.get("labels"), dict):
            yield labels
        for each in value.values():
            yield from _labels(each)
    elif isinstance(value, list):
        for each in value:
            yield from _labels(each)


def document(objects: Iterable[Object], title: str) -> str:
    body = yaml.dump_all(objects, Dumper=yaml.CSafeDumper, sort_keys=False, width=120, allow_unicode=True)
    return f"# {title}.\n---\n{body}"
