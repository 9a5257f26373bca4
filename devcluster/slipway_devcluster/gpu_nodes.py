"""Simulated GPU nodes, with the labels, taints and devices of real ones; pods on them are marked as running.

`h100:2,3xl4:4` is one node with two H100s and three nodes with four L4s each. The labels are those that Node Feature
Discovery and the vendors' own labellers put on such machines. kwok keeps the nodes Ready and marks every pod on them as
running, but nothing runs.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway_devcluster.errors import Refusal

Labels = dict[str, str]

SYNTAX = re.compile(r"(?:(?P<nodes>[1-9]\d{0,3})x)?(?P<model>[a-z][a-z0-9.-]*):(?P<devices>[1-9]\d{0,3})")
FAKE_ANNOTATION = "kwok.x-k8s.io/node"  # kwok ignores every node without it
STAGES = (
    "node/fast/node-initialize.yaml",
    "node/heartbeat-with-lease/node-heartbeat-with-lease.yaml",
    "pod/fast/pod-ready.yaml",
    "pod/fast/pod-complete.yaml",
    "pod/fast/pod-delete.yaml",
)
DRIVER, CUDA = "580.126.20", "13.0"


# --- what a model of GPU looks like to Kubernetes --------------------------------------------------------------------


@dataclass(frozen=True)
class InstanceType:
    """A type of machine of a cloud or a vendor, with its number of GPUs."""

    gpus: int
    instance_type: str
    cpus: int
    memory_gib: int


@dataclass(frozen=True)
class Model:
    """A GPU, or a slice of one, with the resource and labels of its vendor's device plugin and labeller."""

    resource: str
    taint: str
    machines: tuple[InstanceType, ...]  # from the smallest to the largest
    labels: Callable[[int], Labels]  # of a node with this number of devices
    devices_per_gpu: int = 1

    @property
    def most_devices(self) -> int:
        return self.machines[-1].gpus * self.devices_per_gpu


@dataclass(frozen=True)
class NvidiaGpu:
    product: str
    family: str
    compute: str
    memory_mib: int  # as nvidia-smi reports it
    machines: tuple[InstanceType, ...]
    mig_capable: bool = False

    def whole(self) -> Model:
        def labels(gpus: int) -> Labels:
            mig = {"nvidia.com/mig.strategy": "single"} | self._mig_config("all-disabled")
            return self._labels(gpus, replicas=1) | mig

        return Model("nvidia.com/gpu", "nvidia.com/gpu", self.machines, labels)

    def sliced(self, profile: str, *, per_gpu: int, memory_mib: int, multiprocessors: int) -> Model:
        """MIG slices as devices of a resource of their own, which is the MIG strategy `mixed`."""

        def labels(slices: int) -> Labels:
            facts = {
                "count": slices,
                "memory": memory_mib,
                "multiprocessors": multiprocessors,
                "product": f"{self.product}-MIG-{profile}",
                "replicas": 1,
                "sharing-strategy": "none",
                "slices.ci": profile[0],
                "slices.gi": profile[0],
            }
            mig = {"nvidia.com/mig.strategy": "mixed"} | self._mig_config(f"all-{profile}")
            of_slices = {f"nvidia.com/mig-{profile}.{name}": str(value) for name, value in facts.items()}
            return self._labels(math.ceil(slices / per_gpu), replicas=0) | mig | of_slices

        return Model(f"nvidia.com/mig-{profile}", "nvidia.com/gpu", self.machines, labels, per_gpu)

    def _labels(self, gpus: int, *, replicas: int) -> Labels:
        major, minor = self.compute.split(".")
        return {
            "feature.node.kubernetes.io/pci-10de.present": "true",
            "nvidia.com/gpu.present": "true",
            "nvidia.com/gpu.product": self.product,
            "nvidia.com/gpu.family": self.family,
            "nvidia.com/gpu.count": str(gpus),
            "nvidia.com/gpu.memory": str(self.memory_mib),
            "nvidia.com/gpu.compute.major": major,
            "nvidia.com/gpu.compute.minor": minor,
            "nvidia.com/gpu.mode": "compute",
            "nvidia.com/gpu.replicas": str(replicas),
            "nvidia.com/gpu.sharing-strategy": "none",
            "nvidia.com/mig.capable": str(self.mig_capable).lower(),
            "nvidia.com/mps.capable": "false",
            "nvidia.com/vgpu.present": "false",
            **cuda_labels(),
        }

    def _mig_config(self, name: str) -> Labels:
        """The labels of the MIG manager, which runs only where GPUs can be sliced."""
        if not self.mig_capable:
            return {}
        return {"nvidia.com/mig.config": name, "nvidia.com/mig.config.state": "success"}


def cuda_labels() -> Labels:
    """The labels for the versions of the driver and of CUDA, with their present and former names."""
    driver_major, driver_minor, revision = DRIVER.split(".")
    cuda_major, cuda_minor = CUDA.split(".")
    return {
        "nvidia.com/cuda.driver-version.full": DRIVER,
        "nvidia.com/cuda.driver-version.major": driver_major,
        "nvidia.com/cuda.driver-version.minor": driver_minor,
        "nvidia.com/cuda.driver-version.revision": revision,
        "nvidia.com/cuda.runtime-version.full": CUDA,
        "nvidia.com/cuda.runtime-version.major": cuda_major,
        "nvidia.com/cuda.runtime-version.minor": cuda_minor,
        "nvidia.com/cuda.driver.major": driver_major,
        "nvidia.com/cuda.driver.minor": driver_minor,
        "nvidia.com/cuda.driver.rev": revision,
        "nvidia.com/cuda.runtime.major": cuda_major,
        "nvidia.com/cuda.runtime.minor": cuda_minor,
    }


def mi300x_labels(_: int) -> Labels:
    """AMD's labeller adds labels for the type of the GPU, but not for the number."""
    return {
        "feature.node.kubernetes.io/amd-gpu": "true",
        "amd.com/gpu.cu-count": "304",
        "amd.com/gpu.device-id": "74a1",
        "amd.com/gpu.family": "AI",
        "amd.com/gpu.product-name": "AMD_Instinct_MI300X_OAM",
        "amd.com/gpu.simd-count": "1216",
        "amd.com/gpu.vram": "192G",
    }


def gaudi_labels(_: int) -> Labels:
    return {"feature.node.kubernetes.io/pci-1da3.present": "true"}


# --- the models that there are ---------------------------------------------------------------------------------------


def rented(*machines: tuple[int, str, int, int]) -> tuple[InstanceType, ...]:
    return tuple(InstanceType(*machine) for machine in machines)


T4 = NvidiaGpu(
    *("Tesla-T4", "turing", "7.5", 15360),
    rented((1, "g4dn.xlarge", 4, 16), (4, "g4dn.12xlarge", 48, 192), (8, "g4dn.metal", 96, 384)),
)
L4 = NvidiaGpu(
    *("NVIDIA-L4", "ada-lovelace", "8.9", 23034),
    rented(
        (1, "g2-standard-4", 4, 16),
        (2, "g2-standard-24", 24, 96),
        (4, "g2-standard-48", 48, 192),
        (8, "g2-standard-96", 96, 384),
    ),
)
A10 = NvidiaGpu(
    *("NVIDIA-A10", "ampere", "8.6", 23028),
    rented((1, "VM.GPU.A10.1", 30, 240), (2, "VM.GPU.A10.2", 60, 480), (4, "BM.GPU.A10.4", 128, 1024)),
)
A100_40GB = NvidiaGpu(
    *("NVIDIA-A100-SXM4-40GB", "ampere", "8.0", 40960),
    rented(
        (1, "a2-highgpu-1g", 12, 85),
        (2, "a2-highgpu-2g", 24, 170),
        (4, "a2-highgpu-4g", 48, 340),
        (8, "a2-highgpu-8g", 96, 680),
    ),
    mig_capable=True,
)
A100 = NvidiaGpu(
    *("NVIDIA-A100-SXM4-80GB", "ampere", "8.0", 81920),
    rented(
        (1, "a2-ultragpu-1g", 12, 170),
        (2, "a2-ultragpu-2g", 24, 340),
        (4, "a2-ultragpu-4g", 48, 680),
        (8, "a2-ultragpu-8g", 96, 1360),
    ),
    mig_capable=True,
)
L40S = NvidiaGpu(
    *("NVIDIA-L40S", "ada-lovelace", "8.9", 46068),
    rented((1, "g6e.xlarge", 4, 32), (4, "g6e.12xlarge", 48, 384), (8, "g6e.48xlarge", 192, 1536)),
)
H100 = NvidiaGpu(
    *("NVIDIA-H100-80GB-HBM3", "hopper", "9.0", 81559),
    rented(
        (1, "a3-highgpu-1g", 26, 234),
        (2, "a3-highgpu-2g", 52, 468),
        (4, "a3-highgpu-4g", 104, 936),
        (8, "a3-highgpu-8g", 208, 1872),
    ),
    mig_capable=True,
)
H200 = NvidiaGpu(*("NVIDIA-H200", "hopper", "9.0", 143771), rented((8, "a3-ultragpu-8g", 224, 2952)), mig_capable=True)
B200 = NvidiaGpu(
    *("NVIDIA-B200", "blackwell", "10.0", 183359), rented((8, "a4-highgpu-8g", 224, 3968)), mig_capable=True
)

MODELS = {
    "t4": T4.whole(),
    "l4": L4.whole(),
    "a10": A10.whole(),
    "a100": A100.whole(),
    "a100-40gb": A100_40GB.whole(),
    "a100-mig-1g.10gb": A100.sliced("1g.10gb", per_gpu=7, memory_mib=9728, multiprocessors=14),
    "a100-mig-2g.20gb": A100.sliced("2g.20gb", per_gpu=3, memory_mib=19968, multiprocessors=28),
    "a100-mig-3g.40gb": A100.sliced("3g.40gb", per_gpu=2, memory_mib=40192, multiprocessors=42),
    "l40s": L40S.whole(),
    "h100": H100.whole(),
    "h100-mig-1g.10gb": H100.sliced("1g.10gb", per_gpu=7, memory_mib=9984, multiprocessors=16),
    "h200": H200.whole(),
    "b200": B200.whole(),
    "mi300x": Model(
        *("amd.com/gpu", "amd.com/gpu"), rented((8, "Standard_ND96isr_MI300X_v5", 96, 1850)), mi300x_labels
    ),
    "gaudi3": Model(
        *("habana.ai/gaudi", "habana.ai/gaudi"), rented((8, "gx3d-160x1792x8gaudi3", 160, 1792)), gaudi_labels
    ),
}


# --- nodes -----------------------------------------------------------------------------------------------------------


def gpu_nodes(text: str) -> list[dict[str, Any]]:
    """The Node objects for a string such as `h100:2,3xl4:4`; none for an empty one."""
    numbers: Counter[str] = Counter()
    nodes = []
    for part in filter(None, (part.strip() for part in text.lower().split(","))):
        count, model_name, devices = parse(part)
        for _ in range(count):
            nodes.append(node(f"gpu-{model_name}-{numbers[model_name]}", MODELS[model_name], devices))
            numbers[model_name] += 1
    return nodes


def parse(part: str) -> tuple[int, str, int]:
    """Parse an entry: the number of nodes, the model, and the number of devices of each."""
    match = SYNTAX.fullmatch(part)
    if not match:
        raise Refusal(
            f"GPU nodes can't be read from {part!r}; write MODEL:DEVICES or COUNTxMODEL:DEVICES, "
            f"as in h100:2 (one node with two) or 3xl4:4 (three nodes with four each)."
        )
    name, devices = match["model"], int(match["devices"])
    model = MODELS.get(name)
    if not model:
        raise Refusal(f"{part!r} names an unknown GPU model; use one of {', '.join(MODELS)}.")
    if devices > model.most_devices:
        raise Refusal(
            f"{part!r} is more than a machine has; use up to {model.most_devices} on a node, "
            f"and for more nodes as in 2x{name}:{model.most_devices}."
        )
    return int(match["nodes"] or 1), name, devices


def node(name: str, model: Model, devices: int) -> dict[str, Any]:
    gpus = math.ceil(devices / model.devices_per_gpu)
    machine = next(machine for machine in model.machines if machine.gpus >= gpus)
    capacity, allocatable = resources(machine, gpus)
    own = {model.resource: str(devices)}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "annotations": {FAKE_ANNOTATION: "fake"},
            "labels": {
                "type": "kwok",
                "kubernetes.io/arch": "amd64",
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
                **({"node.kubernetes.io/instance-type": machine.instance_type} if machine.gpus == gpus else {}),
                **model.labels(devices),
            },
        },
        "spec": {"taints": [{"key": model.taint, "value": "present", "effect": "NoSchedule"}]},
        "status": {"capacity": capacity | own, "allocatable": allocatable | own},
    }


def resources(machine: InstanceType, gpus: int) -> tuple[dict[str, str], dict[str, str]]:
    """Capacity and allocatable resources. If no instance type has this number of GPUs, a share of a larger one."""
    cpus = machine.cpus * gpus // machine.gpus
    memory_mib = machine.memory_gib * 1024 * gpus // machine.gpus
    same = {"ephemeral-storage": "512Gi", "pods": "110"}
    capacity = {"cpu": str(cpus), "memory": f"{memory_mib}Mi"}
    allocatable = {"cpu": f"{cpus * 1000 - 200}m", "memory": f"{memory_mib * 95 // 100}Mi"}
    return capacity | same, allocatable | same


def advertise_gpus_patch(count: int) -> dict[str, Any]:
    """A merge patch of a real node's status, so that a real pod that requests `nvidia.com/gpu` starts there.

    A kubelet preserves resources that it does not manage, but sets them to 0 when it starts: patch again then.
    """
    devices = {"nvidia.com/gpu": str(count)}
    return {"status": {"capacity": devices, "allocatable": devices}}


# --- kwok ------------------------------------------------------------------------------------------------------------


def kwok_stages(source: Path) -> str:
    """The stages by which kwok simulates nodes and pods, from the files in its source."""
    return "\n---\n".join((source / "kustomize" / "stage" / stage).read_text().strip() for stage in STAGES) + "\n"


def kwok_arguments(kubeconfig: Path, stages_file: Path) -> list[str]:
    return [
        f"--kubeconfig={kubeconfig}",
        f"--config={stages_file}",
        f"--manage-nodes-with-annotation-selector={FAKE_ANNOTATION}=fake",
        "--cidr=100.64.0.0/16",  # addresses of simulated pods, which are unreachable
        "--node-ip=100.64.255.1",
        "--node-lease-duration-seconds=40",
    ]
