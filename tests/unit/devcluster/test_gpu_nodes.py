"""Simulated GPU nodes: a short string describes nodes that look to Kubernetes like the real machines."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from slipway_devcluster.errors import Refusal
from slipway_devcluster.gpu_nodes import (
    MODELS,
    STAGES,
    advertise_gpus_patch,
    gpu_nodes,
    kwok_arguments,
    kwok_stages,
)


def only_node(text: str) -> dict[str, Any]:
    (node,) = gpu_nodes(text)
    return node


def labels(text: str) -> dict[str, str]:
    found: dict[str, str] = only_node(text)["metadata"]["labels"]
    return found


def names(text: str) -> list[str]:
    return [node["metadata"]["name"] for node in gpu_nodes(text)]


# --- the description ---


def test_an_empty_description_makes_no_node() -> None:
    assert gpu_nodes("") == []


def test_a_model_and_a_number_make_one_node_with_that_many_devices() -> None:
    assert only_node("h100:2")["status"]["allocatable"]["nvidia.com/gpu"] == "2"


def test_a_count_in_front_makes_several_nodes() -> None:
    assert names("3xl4:4") == ["gpu-l4-0", "gpu-l4-1", "gpu-l4-2"]


def test_nodes_of_a_model_are_numbered_through_the_entire_description() -> None:
    assert names("h100:2, l4:1, H100:8") == ["gpu-h100-0", "gpu-l4-0", "gpu-h100-1"]


@pytest.mark.parametrize(
    "text", ["h100", "h100:", "h100:0", "0xh100:1", "h100:two", "h100:2:2", "x:-1", "h100 2", ":2"]
)
def test_text_that_cannot_be_read_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(Refusal, match=rf"{re.escape(repr(text))}.*as in h100:2"):
        gpu_nodes(text)


def test_an_unknown_model_is_refused_with_a_list_of_the_known_ones() -> None:
    with pytest.raises(Refusal, match=r"'v100:1'.*t4, l4.*gaudi3"):
        gpu_nodes("h100:1,v100:1")


def test_more_devices_than_a_machine_has_are_refused_with_the_remedy() -> None:
    with pytest.raises(Refusal, match=r"'h100:16'.*up to 8.*2xh100:8"):
        gpu_nodes("h100:16")


# --- the nodes ---


def test_an_h100_is_labelled_as_gpu_feature_discovery_labels_it() -> None:
    expected = {
        "nvidia.com/gpu.present": "true",
        "nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3",
        "nvidia.com/gpu.family": "hopper",
        "nvidia.com/gpu.count": "2",
        "nvidia.com/gpu.memory": "81559",
        "nvidia.com/gpu.compute.major": "9",
        "nvidia.com/gpu.compute.minor": "0",
        "nvidia.com/mig.capable": "true",
        "nvidia.com/mig.strategy": "single",
        "nvidia.com/cuda.driver.major": "580",
        "feature.node.kubernetes.io/pci-10de.present": "true",
        "node.kubernetes.io/instance-type": "a3-highgpu-2g",
    }
    assert expected.items() <= labels("h100:2").items()


def test_a_gpu_that_cannot_be_sliced_has_no_configuration_of_slices() -> None:
    assert labels("l4:1")["nvidia.com/mig.capable"] == "false"
    assert "nvidia.com/mig.config" not in labels("l4:1")


def test_slices_are_a_resource_of_their_own_and_the_node_has_no_full_gpus() -> None:
    node = only_node("a100-mig-1g.10gb:14")
    assert node["status"]["allocatable"]["nvidia.com/mig-1g.10gb"] == "14"
    assert "nvidia.com/gpu" not in node["status"]["allocatable"]


def test_the_labels_of_slices_differ_from_those_of_gpus() -> None:
    found = labels("a100-mig-1g.10gb:10")
    assert found["nvidia.com/mig-1g.10gb.count"] == "10"
    assert found["nvidia.com/gpu.count"] == "2"  # seven slices each
    assert found["nvidia.com/mig-1g.10gb.product"] == "NVIDIA-A100-SXM4-80GB-MIG-1g.10gb"
    assert found["nvidia.com/mig.strategy"] == "mixed"


def test_an_mi300x_is_labelled_as_amds_labeller_labels_it() -> None:
    found = labels("mi300x:8")
    assert found["amd.com/gpu.product-name"] == "AMD_Instinct_MI300X_OAM"
    assert found["amd.com/gpu.vram"] == "192G"
    assert not [name for name in found if name.startswith("nvidia.com/")]


def test_a_node_smaller_than_any_machine_is_a_share_of_one_without_an_instance_type() -> None:
    node = only_node("h200:2")
    assert node["status"]["capacity"]["cpu"] == "56"
    assert "node.kubernetes.io/instance-type" not in node["metadata"]["labels"]


@pytest.mark.parametrize(
    ("text", "resource", "taint"),
    [
        ("h100:1", "nvidia.com/gpu", "nvidia.com/gpu"),
        ("h100-mig-1g.10gb:1", "nvidia.com/mig-1g.10gb", "nvidia.com/gpu"),
        ("mi300x:1", "amd.com/gpu", "amd.com/gpu"),
        ("gaudi3:1", "habana.ai/gaudi", "habana.ai/gaudi"),
    ],
)
def test_pods_that_request_no_gpu_are_repelled_by_a_taint(text: str, resource: str, taint: str) -> None:
    node = only_node(text)
    assert node["spec"]["taints"] == [{"key": taint, "value": "present", "effect": "NoSchedule"}]
    assert node["status"]["allocatable"][resource] == "1"


@pytest.mark.parametrize("model", MODELS)
def test_every_node_belongs_to_kwok_and_is_valid_in_kubernetes(model: str) -> None:
    node = only_node(f"{model}:1")
    assert node["metadata"]["annotations"] == {"kwok.x-k8s.io/node": "fake"}
    assert re.fullmatch(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", node["metadata"]["name"])
    for value in node["metadata"]["labels"].values():
        assert re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?", value)


@pytest.mark.parametrize("model", MODELS)
def test_allocatable_is_less_than_capacity(model: str) -> None:
    status = only_node(f"{model}:{MODELS[model].most_devices}")["status"]
    assert int(status["allocatable"]["cpu"].removesuffix("m")) < int(status["capacity"]["cpu"]) * 1000
    assert int(status["allocatable"]["memory"].removesuffix("Mi")) < int(
        status["capacity"]["memory"].removesuffix("Mi")
    )


# --- the real node, and kwok ---


def test_gpus_can_be_advertised_on_a_node_without_gpus() -> None:
    assert advertise_gpus_patch(2)["status"]["allocatable"] == {"nvidia.com/gpu": "2"}


def test_the_stages_are_all_files_of_kwok_as_one_stream(tmp_path: Path) -> None:
    for stage in STAGES:
        file = tmp_path / "kustomize" / "stage" / stage
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"kind: Stage\nmetadata:\n  name: {file.stem}\n")
    found = [document["metadata"]["name"] for document in yaml.safe_load_all(kwok_stages(tmp_path))]
    assert found == [Path(stage).stem for stage in STAGES]


def test_kwok_leaves_real_nodes_alone() -> None:
    arguments = kwok_arguments(Path("/k"), Path("/s"))
    assert "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake" in arguments
    assert not [argument for argument in arguments if argument.startswith("--manage-all-nodes")]
