"""Before `up` and `demo` start, they say how long they will take, from what is cached and what was measured."""

from __future__ import annotations

from pathlib import Path

import pytest
from slipway_devcluster import builds, cluster, forecast, images, lifecycle, model
from slipway_devcluster.cluster import Cluster
from slipway_devcluster.forecast import Part, about, lines
from slipway_devcluster.go_toolchain import Go
from slipway_devcluster.paths import Cache
from slipway_devcluster.programs import OF_EVERY_CLUSTER, UPSTREAMS
from slipway_devcluster.progress import Durations
from slipway_devcluster.record import Options
from slipway_devcluster.slipway import OwnImage

GO = Go(Path("go"), "go1.26.8", "amd64")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    """An empty cache, on a machine with Go and two cores."""
    monkeypatch.setattr(builds, "find_go", lambda _: GO)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    return Cache(tmp_path)


@pytest.fixture
def dev(cache: Cache) -> Cluster:
    return cluster.named("dev", cache)


def build_everything(cache: Cache) -> None:
    for name in OF_EVERY_CLUSTER:
        builds.expected_build(UPSTREAMS[name], GO, cache).folder.mkdir(parents=True)


def test_with_an_empty_cache_every_part_is_named(cache: Cache, dev: Cluster) -> None:
    words = [part.words for part in forecast.of_demo(dev, cache)]
    assert words[0].startswith("building node, etcd, coredns, helm, kserve, kubernetes and keda from source (kept in ")
    assert words[1] == (
        "fetching or making a Debian base image, the image localhost/slipway-operator:dev, "
        "the image localhost/slipway-fetcher:dev, the image localhost/slipway-llamacpp:dev and the model"
    )
    assert words[2:] == [
        "starting a Kubernetes cluster with KServe and KEDA",
        "installing Slipway, and waking its model by your prompt",
        "waiting until the model sleeps again",
    ]


def test_cached_parts_are_not_counted(cache: Cache, dev: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    build_everything(cache)
    (cache.models / model.gguf_name()).mkdir(parents=True)
    monkeypatch.setattr(images, "existing_base_image", lambda _: [Path("base")])
    monkeypatch.setattr(OwnImage, "is_built", lambda *_: True)
    words = [part.words.split()[0] for part in forecast.of_demo(dev, cache)]
    assert words == ["starting", "installing", "waiting"]


def test_a_cluster_that_is_up_is_not_started(cache: Cache, dev: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Cluster, "alive", lambda _: True)
    assert not any(part.words.startswith("starting") for part in forecast.of_demo(dev, cache))
    assert forecast.of_up(dev, cache, OF_EVERY_CLUSTER) == []


def test_a_build_is_expected_to_take_as_long_as_last_time(cache: Cache) -> None:
    assert forecast.build_seconds("etcd", cache) == forecast.BUILD_CPU_SECONDS["etcd"] / 2
    cache.root.mkdir(exist_ok=True)
    Durations(cache).remember(f"building etcd {UPSTREAMS['etcd'].version}", 99)
    assert forecast.build_seconds("etcd", cache) == 99


def test_kwok_is_for_simulated_gpu_nodes_and_containerd_for_volumes_of_images() -> None:
    every = lifecycle.programs_of(Options())
    assert set(lifecycle.programs_of(Options(gpu_nodes="h100:2"))) - set(every) == {"kwok"}
    assert set(lifecycle.programs_of(Options(image_volumes=True))) - set(every) == {"containerd"}
    assert set(lifecycle.programs_of(Options(volumes=True))) - set(every) == {"local-path"}


def test_the_parts_are_listed_under_their_sum() -> None:
    assert lines([Part("building a", 600), Part("starting b", 20)]) == [
        "This is expected to take about 10 min on this machine:",
        "  10 min  building a",
        "    20 s  starting b",
    ]
    assert lines([]) == []


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "5 s"), (7, "5 s"), (62, "60 s"), (94, "95 s"), (100, "2 min"), (1130, "19 min")]
)
def test_estimates_are_rounded(seconds: float, words: str) -> None:
    assert about(seconds) == words
