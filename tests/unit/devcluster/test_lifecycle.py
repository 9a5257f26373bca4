"""What a cluster needs is made before it starts, and other work can run next to the builds."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

import pytest
from slipway_devcluster import lifecycle, requirements
from slipway_devcluster.builds import Build
from slipway_devcluster.errors import Refusal
from slipway_devcluster.paths import Cache
from slipway_devcluster.programs import OF_EVERY_CLUSTER, UPSTREAMS
from slipway_devcluster.progress import Steps


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path)


@pytest.fixture
def steps(cache: Cache) -> Steps:
    return Steps(cache, stream=io.StringIO())


@pytest.fixture
def recorded_steps(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Records the order of the long steps on a machine without any build; all of them are fakes."""
    recorded_steps: list[str] = []

    def build(names: Iterable[str], *_: object) -> dict[str, Build]:
        recorded_steps.append(f"build {' '.join(names)}")
        return {name: Build(UPSTREAMS[name], cache.builds / name) for name in names}

    def seed(*_: object) -> Path:
        recorded_steps.append("seed")
        return cache.images / "seed"

    monkeypatch.setattr(lifecycle, "missing", lambda names, _: list(names))
    monkeypatch.setattr(requirements, "ensure_fit", lambda *_, **__: recorded_steps.append("check the machine"))
    monkeypatch.setattr(lifecycle, "ensure_all", build)
    monkeypatch.setattr(lifecycle, "discard_go_caches", lambda _: recorded_steps.append("discard"))
    monkeypatch.setattr(lifecycle, "ensure_platform_images", lambda *_: [])
    monkeypatch.setattr(lifecycle, "existing_base_image", lambda _: [])
    monkeypatch.setattr(lifecycle, "ensure_seed", seed)
    return recorded_steps


def test_a_cluster_builds_what_every_cluster_needs(cache: Cache, steps: Steps, recorded_steps: list[str]) -> None:
    lifecycle.ensure_parts(cache, steps, OF_EVERY_CLUSTER)
    built = "build node etcd coredns helm kserve kubernetes keda"
    assert recorded_steps == ["check the machine", built, "discard", "seed"]


def test_work_next_to_the_builds_ends_before_nodes_get_images(
    cache: Cache, steps: Steps, recorded_steps: list[str]
) -> None:
    """The check of the machine comes first, because it installs the packages that make images."""
    lifecycle.ensure_parts(cache, steps, OF_EVERY_CLUSTER, alongside=[lambda: recorded_steps.append("base image")])
    assert recorded_steps[0] == "check the machine"
    assert recorded_steps[-1] == "seed"
    assert "base image" in recorded_steps


@pytest.mark.usefixtures("recorded_steps")
def test_a_failure_of_work_next_to_the_builds_is_raised(cache: Cache, steps: Steps) -> None:
    def fail() -> None:
        raise Refusal("no such mirror")

    with pytest.raises(Refusal, match="no such mirror"):
        lifecycle.ensure_parts(cache, steps, OF_EVERY_CLUSTER, alongside=[fail])
