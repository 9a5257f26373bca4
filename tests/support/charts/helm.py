"""Slipway's charts as the real helm renders them, without a cluster."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from slipway.api.names import RUNTIME_LABEL
from slipway_devcluster.builds import ensure_built
from slipway_devcluster.components import SLIPWAY_NAMESPACE
from slipway_devcluster.paths import default_cache
from slipway_devcluster.progress import Steps

from support.builders.objects import Object
from support.repository import CHARTS

KUBERNETES = "1.34.4"
RUNTIMES = "slipway-runtimes"
"""The ConfigMap with the ClusterServingRuntimes that the operator creates."""


def name_of(thing: Object) -> str:
    """Returns the name of an object; of a runtime, the name of its engine: the rest of its name differs by release."""
    labels = thing["metadata"].get("labels") or {}
    return str(labels.get(RUNTIME_LABEL) or thing["metadata"]["name"])


class Refused(Exception):  # noqa: N818 - it is an answer
    """helm refused to render; the message is its own."""


def rendered(
    chart: str | Path, values: Mapping[str, Any] | None = None, *, namespace: str = SLIPWAY_NAMESPACE, **options: str
) -> list[Object]:
    """Returns the rendered objects, and the runtimes that the operator creates from them. `options` are flags of
    helm."""
    return [*with_runtimes(manifests_of(chart, values, namespace=namespace, **options))]


def manifests_of(
    chart: str | Path, values: Mapping[str, Any] | None = None, *, namespace: str = SLIPWAY_NAMESPACE, **options: str
) -> list[Object]:
    rendered_text = text(chart, values, namespace=namespace, **options)
    return [thing for thing in yaml.load_all(rendered_text, Loader=yaml.CSafeLoader) if thing]


def with_runtimes(things: Iterable[Object]) -> Iterator[Object]:
    for thing in things:
        yield thing
        if thing["metadata"]["name"] == RUNTIMES:
            yield from map(json.loads, (thing["data"] or {}).values())


def text(
    chart: str | Path, values: Mapping[str, Any] | None = None, *, namespace: str = SLIPWAY_NAMESPACE, **options: str
) -> str:
    """Returns what helm renders; raises Refused if helm doesn't."""
    given = tuple(f"--{name.replace('_', '-')}={value}" for name, value in sorted(options.items()))
    return _template(CHARTS / chart, json.dumps(values or {}), namespace, given)


def notes(values: Mapping[str, Any] | None = None, **options: str) -> str:
    """Returns what helm prints after an install of `slipway`."""
    shown = '{apiVersion: v1, kind: Notes, metadata: {name: notes}, text: {{ include "slipway.notes" . | toJson }}}'
    things = rendered("slipway", {**(values or {}), "extraObjects": [shown]}, **options)
    [printed] = [str(thing["text"]) for thing in things if thing["kind"] == "Notes"]
    return printed


@cache
def _template(chart: Path, values: str, namespace: str, options: tuple[str, ...]) -> str:
    where = (f"--namespace={namespace}", f"--kube-version={KUBERNETES}")
    return run("template", chart.name, chart, *where, *options, "--values=-", stdin=values)


def run(*arguments: str | Path, stdin: str = "") -> str:
    """Returns what helm prints; raises Refused if it fails."""
    done = subprocess.run([helm(), *arguments], input=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Refused(done.stderr or done.stdout)
    return done.stdout


@cache
def helm() -> Path:
    return _built("helm")


@cache
def kubeconform() -> Path:
    return _built("kubeconform")


def _built(program: str) -> Path:
    """Builds the program the first time, which takes minutes."""
    found = default_cache()
    return ensure_built(program, found, Steps(found)).binary(program)
