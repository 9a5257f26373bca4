"""`AcceleratorProfile`: a kind of accelerator that the cluster has, as the planner needs to know it."""

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
    """What pods ask for to get one device."""

    name: Annotated[
        str,
        matches(
            r"^(cpu|[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9][-A-Za-z0-9_.]*)$",
            "must be a resource of nodes, such as nvidia.com/gpu, or cpu",
        ),
    ] = Field(description="The resource, such as nvidia.com/gpu or nvidia.com/mig-3g.40gb; cpu for plain processors.")
    count: int = Field(
        default=1, ge=1, le=1024, description="How much of the resource makes one device; for cpu, the number of cores."
    )


class SpotTerms(ApiModel):
    """How this accelerator is had on nodes that the provider can take back."""

    node_labels: Labels = Field(default_factory=dict, description="Further labels by which such nodes are recognised.")
    tolerations: Tolerations = Field(default_factory=list, description="Further taints that such nodes have.")
    cost_per_hour: float | None = Field(default=None, ge=0, description="What one device costs there for an hour.")


class AcceleratorProfileSpec(ApiModel):
    """What the planner needs to know."""

    vendor: Literal["NVIDIA", "AMD", "Intel", "Google", "CPU"] = Field(
        description="Who made it, which decides the engine's image; CPU for plain processors."
    )
    resource: AcceleratorResource | None = Field(
        default=None, description="What pods ask for to get one device; or deviceClass."
    )
    device_class: ObjectName | None = Field(
        default=None, description="DeviceClass that devices are claimed by (dynamic resource allocation); or resource."
    )
    devices_per_node: int = Field(
        default=1, ge=1, le=1024, description="Devices that one replica can have on one node, at most."
    )
    memory: Annotated[str, AsText, quantity_within("64Mi", "1Pi", example="80Gi")] = Field(
        description="Memory of one device, such as 80Gi; of plain processors, what the node has for one replica."
    )
    bandwidth: Annotated[str, AsText, quantity_within("1M", "1P", example="3350G")] | None = Field(
        default=None, description="Memory bandwidth of one device in bytes a second, such as 3350G; it limits decoding."
    )
    compute: dict[str, Annotated[float, Field(ge=0)]] = Field(
        default_factory=dict,
        max_length=16,
        description="Dense TFLOPS of one device for each type of number, such as bf16: 989.",
    )
    features: list[Annotated[str, Field(min_length=1), text(63)]] = Field(
        default_factory=list,
        max_length=32,
        description="What it can do beyond plain arithmetic, such as fp8, bf16 or nvlink.",
        json_schema_extra={LIST_TYPE: "set"},
    )
    cost_per_hour: float | None = Field(
        default=None, ge=0, description="What one device costs for an hour, in the currency of all profiles."
    )
    node_labels: Labels = Field(
        default_factory=dict,
        description="Labels by which its nodes are recognised, such as nvidia.com/gpu.product.",
    )
    tolerations: Tolerations = Field(
        default_factory=list, description="Taints of its nodes, which keep other pods away."
    )
    runtime_class: ObjectName | None = Field(
        default=None, description="RuntimeClass that pods need to see the device, such as nvidia."
    )
    spot: SpotTerms | None = Field(
        default=None, description="How it is had on spot nodes; without this, there are none."
    )

    constraints: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="has(self.resource) != has(self.deviceClass)",
            message="pods get a device by a resource or by a device class: set one of resource and deviceClass",
        ),
        Rule(
            rule="!has(self.resource) || (self.vendor == 'CPU') == (self.resource.name == 'cpu')",
            message="the resource cpu belongs to vendor CPU, and to no other: set the vendor's own resource",
            at=".resource",
        ),
    )


class AcceleratorProfile(ReportModel):
    """A kind of accelerator that the cluster has."""

    api_version: Literal["slipway.dev/v1alpha1"] = API_VERSION
    kind: Literal["AcceleratorProfile"] = PROFILE_KIND
    metadata: ObjectMeta
    spec: AcceleratorProfileSpec = Field(description="What the planner needs to know.")
