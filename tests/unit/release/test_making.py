"""SBOMs and checksums of a release, and which releases are pushed or refused."""

from __future__ import annotations

import json
import subprocess
import tarfile
from pathlib import Path

import pytest
from slipway_devcluster.errors import Refusal
from slipway_devcluster.oci_archive import Layer, add_bytes, read_image, write_archive, write_layer
from slipway_release import making, publishing, sbom
from slipway_release.source import Source

SOURCE = Source("0.2.0", "abc", 1795953600)
BILL = {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "components": []}
HELM = Path("/helm")


def layer_with(folder: Path, path: str, content: object) -> Layer:
    def fill(tar: tarfile.TarFile) -> None:
        add_bytes(tar, path, json.dumps(content).encode())

    return write_layer(folder / path.replace("/", "-"), fill)


def archive_with(folder: Path, name: str, **files: object) -> Path:
    layers = [layer_with(folder, path, content) for path, content in {"etc/first": 1, **files}.items()]
    archive = folder / name
    write_archive(archive, "localhost/it:1", layers, {})
    for layer in layers:
        layer.path.unlink()
    return archive


# --- bills of materials ----------------------------------------------------------------------------------------------


def test_the_sbom_of_an_image_is_the_one_of_its_build_with_the_digest_added(tmp_path: Path) -> None:
    archive = archive_with(tmp_path, "it.oci.tar", **{sbom.PLACE: BILL})

    bill = json.loads(sbom.of_archive(archive, "slipway-operator", SOURCE))

    assert {key: bill[key] for key in BILL} == BILL
    component = bill["metadata"]["component"]
    assert (component["type"], component["name"], component["version"]) == ("container", "slipway-operator", "0.2.0")
    assert component["purl"] == f"pkg:oci/slipway-operator@{read_image(archive).digest.replace(':', '%3A')}"
    assert bill["metadata"]["timestamp"] == "2026-11-29T12:00:00Z"


def test_the_same_image_has_the_same_sbom(tmp_path: Path) -> None:
    bills = []
    for name in ("one", "two"):
        archive = archive_with(tmp_path, name, **{sbom.PLACE: BILL})
        bills.append(sbom.of_archive(archive, "slipway-operator", SOURCE))
    assert bills[0] == bills[1]


def test_an_image_without_an_sbom_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=r"it\.oci\.tar has no /opt/slipway/sbom\.cdx\.json"):
        sbom.of_archive(archive_with(tmp_path, "it.oci.tar"), "slipway-operator", SOURCE)


# --- checksums -------------------------------------------------------------------------------------------------------


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    folder = tmp_path / "dist"
    folder.mkdir()
    for name in ("slipway-operator-0.2.0.oci.tar", "slipway-vllm-cpu-0.2.0.oci.tar", "slipway-0.2.0.tgz"):
        (folder / name).write_text(name)
    (folder / "images.txt").write_text("registry.example.com/llm/slipway-operator:0.2.0@sha256:1\n")
    (folder / making.SUMS).write_text(making.sums(folder))
    return folder


def test_checksums_cover_all_files_in_the_format_of_sha256sum(dist: Path) -> None:
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", making.SUMS], cwd=dist, check=True, capture_output=True, text=True
    )
    assert len(done.stdout.splitlines()) == len(list(dist.iterdir())) - 1


def test_a_folder_with_other_files_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "letters").touch()
    with pytest.raises(Refusal, match=r"has other files than a release; .*DIST="):
        making.refuse_other_content(tmp_path)


def test_an_earlier_release_is_overwritten(dist: Path, tmp_path: Path) -> None:
    for folder in (dist, tmp_path / "new"):
        making.refuse_other_content(folder)


# --- pushing ---------------------------------------------------------------------------------------------------------


def test_images_are_pushed_before_charts_and_unchanged(dist: Path) -> None:
    pushes = list(publishing.pushes(dist, "registry.example.com/llm", HELM))
    assert [push.what for push in pushes] == [
        "registry.example.com/llm/slipway-operator:0.2.0",
        "registry.example.com/llm/slipway-vllm-cpu:0.2.0",
        "oci://registry.example.com/llm/charts/slipway-0.2.0",
    ]
    assert all("--preserve-digests" in push.command for push in pushes[:2])
    assert pushes[2].command == (HELM, "push", dist / "slipway-0.2.0.tgz", "oci://registry.example.com/llm/charts")


def test_only_a_registry_on_this_machine_is_used_without_tls(dist: Path) -> None:
    plain = {"--plain-http", "--dest-tls-verify=false"}
    assert not [each for each in publishing.pushes(dist, "registry.example.com", HELM) if plain & set(each.command)]
    assert all(plain & set(each.command) for each in publishing.pushes(dist, "localhost:5000", HELM))


def test_a_release_that_was_changed_after_it_was_made_is_not_pushed(dist: Path) -> None:
    publishing.refuse_if_changed(dist)
    (dist / "slipway-0.2.0.tgz").write_text("another chart")
    with pytest.raises(Refusal, match="was changed after it was made"):
        publishing.refuse_if_changed(dist)


def test_a_release_made_for_one_registry_is_not_pushed_to_another(dist: Path) -> None:
    publishing.refuse_other_registry(dist, "registry.example.com/llm")
    with pytest.raises(Refusal, match=r"made for another registry than registry\.example\.com"):
        publishing.refuse_other_registry(dist, "registry.example.com")


def test_a_folder_without_a_release_is_not_pushed(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="has no release; make one with `make release"):
        publishing.refuse_if_changed(tmp_path)
