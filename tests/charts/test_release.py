"""The charts of a release, with the real helm: archives, and manifests for kubectl."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from slipway.api.names import GROUP
from slipway_devcluster.components import SLIPWAY_NAMESPACE
from slipway_devcluster.paths import Cache
from slipway_devcluster.progress import Steps
from slipway_release import charts, manifests
from slipway_release.charts import Chart
from slipway_release.source import Source
from support.builders.objects import Object
from support.charts.helm import helm, manifests_of, name_of, rendered, with_runtimes

REGISTRY = "registry.example.com/llm"
DIGESTS = {
    f"slipway-{name}": f"sha256:{number:064}" for number, name in enumerate(("operator", "llamacpp", "vllm-cpu"))
}
SOURCE = Source("0.2.0", "abc", 1795953600)


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Chart]:
    charts_of_the_release = charts.copies(tmp_path_factory.mktemp("charts"), REGISTRY, DIGESTS)
    return {chart.name: chart for chart in charts_of_the_release}


@pytest.fixture(scope="module")
def types(copies: dict[str, Chart]) -> list[Object]:
    return list(yaml.safe_load_all(manifests.install_crds(copies["slipway-crds"], helm(), SOURCE)))


@pytest.fixture(scope="module")
def objects(copies: dict[str, Chart]) -> list[Object]:
    return list(yaml.safe_load_all(manifests.install(copies["slipway"], helm(), SOURCE)))


def identities(manifests: list[Object]) -> set[tuple[str, str]]:
    return {(manifest["kind"], name_of(manifest)) for manifest in manifests}


def images(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("image"), str):
            yield value["image"]
        for each in value.values():
            yield from images(each)
    elif isinstance(value, list):
        for each in value:
            yield from images(each)


# --- manifests -------------------------------------------------------------------------------------------------------


def test_kubectl_installs_what_helm_installs(types: list[Object], objects: list[Object]) -> None:
    """Except for helm's hooks."""
    by_helm = [each for each in manifests_of("slipway") if not manifests.is_hook(each)]
    assert identities(types) == identities(rendered("slipway-crds"))
    assert identities(objects) == identities(by_helm) | {("Namespace", SLIPWAY_NAMESPACE)}


def test_crds_are_not_in_one_file_with_their_objects(types: list[Object], objects: list[Object]) -> None:
    """kubectl looks up every kind before it applies anything."""
    assert not [each for each in types if each["apiVersion"].startswith(f"{GROUP}/")]
    assert not [each for each in objects if each["kind"] == "CustomResourceDefinition"]


def test_crds_come_before_the_policies_for_their_objects(types: list[Object]) -> None:
    kinds = [each["kind"] == "CustomResourceDefinition" for each in types]
    assert kinds == sorted(kinds, reverse=True)


def test_the_namespace_comes_before_what_is_in_it(objects: list[Object]) -> None:
    assert objects[0]["kind"] == "Namespace"
    inside = {each["metadata"]["namespace"] for each in objects if "namespace" in each["metadata"]}
    assert inside == {objects[0]["metadata"]["name"]}


def test_images_of_the_release_are_named_by_digest_and_others_by_tag(objects: list[Object]) -> None:
    named = {image for image in images([*with_runtimes(objects)]) if image.startswith(f"{REGISTRY}/slipway-")}
    assert {f"{REGISTRY}/{repository}@{digest}" for repository, digest in DIGESTS.items()} <= named
    others = {image for image in named if "@" not in image}
    assert others
    assert all(re.search(r":\d+\.\d+\.\d+", image) for image in others)


def test_no_image_remains_that_only_a_devcluster_has(objects: list[Object]) -> None:
    assert not [image for image in images([*with_runtimes(objects)]) if image.startswith("localhost/")]


def test_no_manifest_mentions_helm(types: list[Object], objects: list[Object]) -> None:
    assert "helm" not in yaml.safe_dump([*types, *objects]).lower()


# --- archives --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["slipway", "slipway-crds"])
def test_packaging_a_chart_twice_gives_the_same_archive(copies: dict[str, Chart], name: str, tmp_path: Path) -> None:
    steps = Steps(Cache(tmp_path / "cache"), stream=io.StringIO())
    packed = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        folder.mkdir()
        with steps.step("packing") as step:
            charts.package(copies[name], helm(), folder, epoch=SOURCE.epoch, step=step)
        [archive] = folder.iterdir()
        packed.append((archive.name, archive.read_bytes()))
    assert packed[0] == packed[1]
