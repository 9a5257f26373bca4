"""How long `demo` and `up` will take on this machine: from what is in the cache, and from how long it took before.

A step that this machine has done before is expected to take as long as the last time. For other steps there are
measurements from a machine with 2 cores. Those of builds are CPU seconds, to be divided by the number of cores.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from slipway_devcluster import containerfiles, images, lifecycle, model, slipway
from slipway_devcluster.builds import missing, step_name
from slipway_devcluster.cluster import Cluster
from slipway_devcluster.paths import Cache
from slipway_devcluster.programs import OF_EVERY_CLUSTER, upstream_named
from slipway_devcluster.progress import Durations

BUILD_CPU_SECONDS: Mapping[str, float] = {
    "node": 1,
    "etcd": 47,
    "coredns": 80,
    "helm": 87,
    "kserve": 172,
    "kubernetes": 370,
    "keda": 501,
    "older-kserve": 252,
    "kwok": 140,
    "local-path": 100,
    "argocd": 321,
    "http-add-on": 60,
    "kubeconform": 3,
    "registry": 60,
    "containerd": 105,
    "versitygw": 119,
    "fake-gcs-server": 64,
}
"""Each is built after those before it and reuses what Go has compiled for them; http-add-on and registry are
estimates."""
BASE_SECONDS, IMAGE_SECONDS, MODEL_SECONDS = 60, 60, 15
NODE_IMAGES_SECONDS = 30
"""To write the images of KServe, KEDA and DNS, and to unpack them for new nodes."""
START_SECONDS, INSTALL_SECONDS, WAKE_SECONDS = 25, 15, 10
IDLE_SECONDS = 60
"""`idleAfter` of the demo's model."""


@dataclass(frozen=True)
class Part:
    """What is going to happen, and the seconds that it is expected to take."""

    words: str
    seconds: float


def of_demo(cluster: Cluster, cache: Cache) -> list[Part]:
    """The parts of `devcluster demo`, in their order."""
    remembered = Durations(cache)
    installing = remembered.last(slipway.INSTALL_STEP) or INSTALL_SECONDS
    return [
        *_builds(OF_EVERY_CLUSTER, cache),
        *_downloads(cache, remembered),
        *([] if cluster.alive() else [_start(cluster, remembered)]),
        Part("installing Slipway, and waking its model by your prompt", installing + WAKE_SECONDS),
        Part("waiting until the model sleeps again", IDLE_SECONDS),
    ]


def of_up(cluster: Cluster, cache: Cache, names: Iterable[str]) -> list[Part]:
    """The parts of `devcluster up` for a cluster that needs the programs `names`."""
    if cluster.alive():
        return []
    return [*_builds(names, cache), _start(cluster, Durations(cache))]


def build_seconds(name: str, cache: Cache) -> float:
    remembered = Durations(cache).last(step_name(upstream_named(name)))
    return remembered or BUILD_CPU_SECONDS[name] / (os.cpu_count() or 1)


def _builds(names: Iterable[str], cache: Cache) -> list[Part]:
    absent = missing(names, cache)
    if not absent:
        return []
    seconds = sum(build_seconds(name, cache) for name in absent) + NODE_IMAGES_SECONDS
    kept = f"kept in {cache.root}; an interrupted build resumes"
    return [Part(f"building {listed(absent)} from source ({kept})", seconds)]


def _downloads(cache: Cache, remembered: Durations) -> list[Part]:
    """Images of this repository and the model; they are made next to the builds, but compete with them for the CPU."""
    parts = []
    if not images.existing_base_image(cache):
        parts.append(Part("a Debian base image", remembered.last(images.BASE_STEP) or BASE_SECONDS))
    for image in slipway.INSTALLED_IMAGES:
        if not image.is_built(cache):
            seconds = remembered.last(containerfiles.step_name(image.name)) or IMAGE_SECONDS
            parts.append(Part(f"the image {image.name}", seconds))
    if not model.has_gguf(cache):
        parts.append(Part("the model", remembered.last(model.FETCH_STEP) or MODEL_SECONDS))
    if not parts:
        return []
    return [Part(f"fetching or making {listed([part.words for part in parts])}", total(parts))]


def _start(cluster: Cluster, remembered: Durations) -> Part:
    seconds = remembered.last(lifecycle.start_step(cluster.name)) or START_SECONDS
    return Part("starting a Kubernetes cluster with KServe and KEDA", seconds)


# --- in words --------------------------------------------------------------------------------------------------------


def total(parts: Iterable[Part]) -> float:
    return sum(part.seconds for part in parts)


def lines(parts: Sequence[Part]) -> list[str]:
    """A line with the expected total, and one for each part if there are several."""
    if not parts:
        return []
    rows = [f"  {about(part.seconds):>6}  {part.words}" for part in parts]
    return [f"This is expected to take about {about(total(parts))} on this machine:", *rows]


def about(seconds: float) -> str:
    """7 → "5 s", 62 → "60 s", 1130 → "19 min": no more exact than an estimate is."""
    if seconds < 95:
        return f"{max(5, 5 * round(seconds / 5))} s"
    return f"{round(seconds / 60)} min"


def listed(names: Sequence[str]) -> str:
    """["a", "b", "c"] → "a, b and c"."""
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last
