"""`AcceleratorProfile`: a type of accelerator, described for the planner; and what the cluster has of it."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from slipway.api.kubernetes import Labels, ObjectMeta, Tolerations
from slipway.api.names import API_VERSION, PROFILE_KIND
from slipway.api.schema import (
    LIST_TYPE,
    ApiModel,
    AsText,
    Checked,
    ObjectName,
    ReportModel,
    Rule,
    matches,
    quantity_within,
    text,
)

Memory = Annotated[str, AsText, quantity_within("64Mi", "1Pi", example="80Gi")]

NOT_EMPTY = Checked(
    check=bool, rule="self.size() > 0", message="must have a label, because any node has all of none: write one"
)

ComputeCapability = Annotated[str, matches(r"^[1-9][0-9]?\.[0-9]$", "must be a version such as 9.0", at_most=4)]


class AcceleratorResource(ApiModel):
    """The resource that pods request to get one device."""

    name: Annotated[
        str,
        matches(
            r"^(cpu|[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9][-A-Za-z0-9_.]*)$",
            "must be a resource of nodes, such as nvidia.com/gpu, or cpu",
        ),
    ] = Field(description="The resource, such as nvidia.com/gpu or nvidia.com/mig-3g.40gb; cpu for CPUs.")
    count: int = Field(
        default=1, ge=1, le=1024, description="How much of the resource one device is; for cpu, the number of cores."
    )


class SpotTerms(ApiModel):
    """The accelerator on spot nodes, which the provider can take back at any time."""

    node_labels: Labels = Field(
        default_factory=dict,
        description="Labels of spot nodes besides those of clouds, which are known; a node with all of these is one.",
    )
    tolerations: Tolerations = Field(
        default_factory=list,
        description="Tolerations for taints of spot nodes besides those of clouds, which are known.",
    )
    cost_per_hour: float | None = Field(default=None, ge=0, description="Price of one device on a spot node, per hour.")


class AcceleratorProfileSpec(ApiModel):
    """The accelerator's resource, memory, speed, price and nodes."""

    vendor: Literal["NVIDIA", "AMD", "Intel", "Google", "IBM", "CPU"] = Field(
        description="The vendor, which selects the engine's image; CPU for CPUs."
    )
    resource: AcceleratorResource | None = Field(
        default=None, description="The resource that pods request to get one device; alternatively, set deviceClass."
    )
    device_class: ObjectName | None = Field(
        default=None,
        description="DeviceClass for claims of devices (dynamic resource allocation); alternatively, set resource.",
    )
    devices_per_node: int = Field(
        default=1, ge=1, le=1024, description="Maximum number of devices that one replica can use on one node."
    )
    memory: Memory = Field(
        description="Memory of one device as the vendor's tool shows it, such as 81559Mi by nvidia-smi; of a shared "
        "device, the part of one replica; for CPUs, the node memory that one replica can use."
    )
    usable_memory: Memory | None = Field(
        default=None,
        description="Memory of one whole device as engines count it, which is less: CUDA's total, such as 81079Mi of "
        "an H100 80GB. Without it, the planner takes 0.5 GiB and 0.5 % off the memory of a GPU of NVIDIA.",
    )
    shared_by: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Number of replicas that share one device by time slicing or MPS. Each sees all of the device's "
        "memory, and is made to use no more than its part.",
    )
    bandwidth: Annotated[str, AsText, quantity_within("1M", "1P", example="3350G")] | None = Field(
        default=None,
        description="Memory bandwidth of one device in bytes per second, such as 3350G; it limits decoding.",
    )
    compute: dict[str, Annotated[float, Field(ge=0)]] = Field(
        default_factory=dict,
        max_length=16,
        description="Dense TFLOPS of one device per data type, such as bf16: 989.",
    )
    compute_capability: ComputeCapability | None = Field(
        default=None,
        description="CUDA compute capability, such as 9.0 of an H100, by which engines support data types and "
        "quantizations; NVIDIA only.",
    )
    features: list[Annotated[str, Field(min_length=1), text(63)]] = Field(
        default_factory=list,
        max_length=32,
        description="Hardware features: the data types of its matrix units (bf16, fp8, fp4, int8, int4), links between "
        "devices (nvlink, infinity-fabric), and mig.",
        json_schema_extra={LIST_TYPE: "set"},
    )
    cost_per_hour: float | None = Field(
        default=None,
        ge=0,
        description="Price of one device per hour, in the same currency in all profiles; of a device that replicas "
        "share, the price of one replica's part.",
    )
    node_labels: Labels = Field(
        default_factory=dict,
        description="Labels that its nodes all have, such as nvidia.com/gpu.product.",
    )
    other_node_labels: list[Annotated[Labels, NOT_EMPTY]] = Field(
        default_factory=list,
        max_length=31,
        description="Alternatives to nodeLabels: a node that has all labels of any of these sets is one of its nodes, "
        "too. For clusters whose provider labels nodes in its own way, such as cloud.google.com/gke-accelerator.",
        json_schema_extra={LIST_TYPE: "atomic"},
    )
    tolerations: Tolerations = Field(default_factory=list, description="Tolerations for the taints of its nodes.")
    runtime_class: ObjectName | None = Field(
        default=None, description="RuntimeClass that pods need to use the device, such as nvidia."
    )
    spot: SpotTerms | None = Field(
        default=None,
        description="The accelerator on spot nodes; without this, spot nodes are recognised by the labels of clouds.",
    )
    growable: bool = Field(
        default=False,
        description="Whether an autoscaler adds such nodes when pods need them, even if there is none now. Set it for "
        "node groups of the Cluster Autoscaler or of a provider; NodePools of Karpenter are found without it.",
    )

    constraints: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="has(self.resource) != has(self.deviceClass)",
            message="pods get a device by a resource or by a device class: set either resource or deviceClass",
        ),
        Rule(
            rule="!has(self.resource) || (self.vendor == 'CPU') == (self.resource.name == 'cpu')",
            message="the resource cpu is for vendor CPU only: set the resource of the vendor",
            at=".resource",
        ),
        Rule(
            rule="!has(self.computeCapability) || self.vendor == 'NVIDIA'",
            message="only NVIDIA's devices have a CUDA compute capability: leave computeCapability out",
            at=".computeCapability",
        ),
        Rule(
            rule="!has(self.otherNodeLabels) || self.otherNodeLabels.size() == 0 || "
            "(has(self.nodeLabels) && self.nodeLabels.size() > 0)",
            message="without nodeLabels, all nodes match already: set nodeLabels as well",
            at=".otherNodeLabels",
            why="FieldValueRequired",
        ),
        Rule(
            rule="!has(self.sharedBy) || self.sharedBy == 1 || !has(self.resource) || self.resource.name != 'cpu'",
            message="CPUs are shared without it: leave sharedBy out",
            at=".sharedBy",
        ),
    )

    @property
    def label_sets(self) -> tuple[dict[str, str], ...]:
        """A node must have all labels of any one of them; empty: any node."""
        return (self.node_labels, *self.other_node_labels) if self.node_labels else ()


class DevicesStatus(ReportModel):
    """Devices on the nodes of a profile."""

    allocatable: int = Field(default=0, ge=0, description="Devices that the nodes offer in total.")
    free: int | None = Field(
        default=None, ge=0, description="Devices that no pod has; absent if the operator may not see all pods."
    )
    most_on_a_node: int = Field(default=0, ge=0, description="Devices of the node that offers most.")
    most_free_on_a_node: int | None = Field(
        default=None, ge=0, description="Free devices of the node with most, which limits the size of a replica."
    )


class AcceleratorProfileStatus(ReportModel):
    """What the cluster has of this accelerator, as the operator last observed it."""

    observed_generation: int = Field(default=0, ge=0, description="The generation of the spec that was observed.")
    nodes: int = Field(default=0, ge=0, description="Nodes that have its labels and its devices.")
    spot_nodes: int = Field(default=0, ge=0, description="How many of these nodes are spot nodes.")
    devices: DevicesStatus | None = Field(default=None, description="Devices on these nodes.")
    growable: bool = Field(default=False, description="Whether an autoscaler could add such a node.")
    growth: str = Field(default="", max_length=512, description="What could add such a node, such as NodePool gpu-l4.")
    drivers: list[str] = Field(
        default_factory=list,
        max_length=16,
        description="Versions of the driver on these nodes, the oldest first, as far as labels say it.",
        json_schema_extra={LIST_TYPE: "atomic"},
    )
    message: str = Field(default="", max_length=2048, description="All of this in one or more sentences.")


class AcceleratorProfile(ReportModel):
    """A type of accelerator in the cluster."""

    api_version: Literal["slipway.dev/v1alpha1"] = API_VERSION
    kind: Literal["AcceleratorProfile"] = PROFILE_KIND
    metadata: ObjectMeta
    spec: AcceleratorProfileSpec = Field(description="The accelerator's resource, memory, speed, price and nodes.")
    status: AcceleratorProfileStatus | None = Field(
        default=None, description="What the cluster has of this accelerator, as the operator last observed it."
    )
