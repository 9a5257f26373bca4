"""`AcceleratorProfile`: a type of accelerator in the cluster, described for the planner."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from slipway.api.kubernetes import Labels, ObjectMeta, Tolerations
from slipway.api.names import API_VERSION, PROFILE_KIND
from slipway.api.schema import (
    LIST_TYPE,
    ApiModel,
    AsText,
    ObjectName,
    ReportModel,
    Rule,
    matches,
    quantity_within,
    text,
)


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

    node_labels: Labels = Field(default_factory=dict, description="Additional labels of spot nodes.")
    tolerations: Tolerations = Field(
        default_factory=list, description="Tolerations for additional taints of spot nodes."
    )
    cost_per_hour: float | None = Field(default=None, ge=0, description="Price of one device on a spot node, per hour.")


class AcceleratorProfileSpec(ApiModel):
    """The accelerator's resource, memory, speed, price and nodes."""

    vendor: Literal["NVIDIA", "AMD", "Intel", "Google", "CPU"] = Field(
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
    memory: Annotated[str, AsText, quantity_within("64Mi", "1Pi", example="80Gi")] = Field(
        description="Memory of one device, such as 80Gi; for CPUs, the node memory that one replica can use."
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
    features: list[Annotated[str, Field(min_length=1), text(63)]] = Field(
        default_factory=list,
        max_length=32,
        description="Hardware features, such as fp8, bf16 or nvlink.",
        json_schema_extra={LIST_TYPE: "set"},
    )
    cost_per_hour: float | None = Field(
        default=None, ge=0, description="Price of one device per hour, in the same currency in all profiles."
    )
    node_labels: Labels = Field(
        default_factory=dict,
        description="Labels of its nodes, such as nvidia.com/gpu.product.",
    )
    tolerations: Tolerations = Field(default_factory=list, description="Tolerations for the taints of its nodes.")
    runtime_class: ObjectName | None = Field(
        default=None, description="RuntimeClass that pods need to use the device, such as nvidia."
    )
    spot: SpotTerms | None = Field(
        default=None, description="The accelerator on spot nodes; without this, there are no spot nodes."
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
    )


class AcceleratorProfile(ReportModel):
    """A type of accelerator in the cluster."""

    api_version: Literal["slipway.dev/v1alpha1"] = API_VERSION
    kind: Literal["AcceleratorProfile"] = PROFILE_KIND
    metadata: ObjectMeta
    spec: AcceleratorProfileSpec = Field(description="The accelerator's resource, memory, speed, price and nodes.")
