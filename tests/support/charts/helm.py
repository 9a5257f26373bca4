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
"""The ConfigMap of the ClusterServingRuntimes that the operator makes."""


def name_of(thing: Object) -> str:
    """Runtimes by that of their engine: after it comes what differs from release to release."""
    labels = thing["metadata"].get("labels") or {}
    return str(labels.get(RUNTIME_LABEL) or thing["metadata"]["name"])


class Refused(Exception):  # noqa: N818 - it is an answer
    """What helm says."""


def rendered(
    chart: str | Path, values: Mapping[str, Any] | None = None, *, namespace: str = SLIPWAY_NAMESPACE, **options: str
) -> list[Object]:
    """With what the operator makes of it. `options` of helm, each with its value."""
    return [*with_runtimes(manifests_of(chart, values, namespace=namespace, **options))]


def manifests_of(
    chart: str | Path, values: Mapping[str, Any] | None = None, *, namespace: str = SLIPWAY_NAMESPACE, **options: str
) -> list[Object]:
    told = text(chart, values, namespace=namespace, **options)
    return [thing for thing in yaml.load_all(told, Loader=yaml.CSafeLoader) if thing]


def with_runtimes(things: Iterable[Object]) -> Iterator[Object]:
    for thing in things:
        yield thing
        if thing["metadata"]["name"] == RUNTIMES:
            yield from map(json.loads, (thing["data"] or {}).values())


def text(
    chart: str | Path, values: Mapping[str, Any] | None = None, *, namespace: str = SLIPWAY_NAMESPACE, **options: str
) -> str:
    """Refused: helm doesn't render it."""
    given = tuple(f"--{name.replace('_', '-')}={value}" for name, value in sorted(options.items()))
    return _template(CHARTS / chart, json.dumps(values or {}), namespace, given)


def notes(values: Mapping[str, Any] | None = None, **options: str) -> str:
    """What a person is told after an install of `slipway`."""
    shown = '{apiVersion: v1, kind: Notes, metadata: {name: notes}, text: {{ include "slipway.notes" . | toJson }}}'
    things = rendered("slipway", {**(values or {}), "extraObjects": [shown]}, **options)
    [told] = [str(thing["text"]) for thing in things if thing["kind"] == "Notes"]
    return told


@cache
def _template(chart: Path, values: str, namespace: str, options: tuple[str, ...]) -> str:
    where = (f"--namespace={namespace}", f"--kube-version={KUBERNETES}")
    return run("template", chart.name, chart, *where, *options, "--values=-", stdin=values)


def run(*arguments: str | Path, stdin: str = "") -> str:
    """What helm says; Refused if it doesn't do it."""
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
    """The first time, this takes minutes."""
    found = default_cache()
    return ensure_built(program, found, Steps(found)).binary(program)
