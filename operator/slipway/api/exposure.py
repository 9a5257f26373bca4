"""`spec.access` and `spec.observability`: which clients may use the model, and where its metrics and traces go."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from slipway.api.kubernetes import LabelSelector
from slipway.api.schema import LIST_TYPE, ApiModel, ObjectName, Rule, cel, matches

CIDR = r"^([0-9]{1,3}(\.[0-9]{1,3}){3}/[0-9]{1,2}|[0-9a-fA-F:]*:[0-9a-fA-F:.]*/[0-9]{1,3})$"
Cidr = Annotated[str, matches(CIDR, "must be a range of addresses, such as 10.0.0.0/8", at_most=49)]
HOSTNAME = r"^([*]\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)+$"


class RateLimit(ApiModel):
    """Limits for each API key."""

    requests_per_minute: int | None = Field(
        default=None, ge=1, le=10_000_000, description="Maximum requests per minute for one key."
    )
    tokens_per_minute: int | None = Field(
        default=None,
        ge=1,
        le=10_000_000_000,
        description="Maximum tokens per minute for one key, prompts and completions together.",
    )

    constraints: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="has(self.requestsPerMinute) || has(self.tokensPerMinute)",
            message="a rate limit needs requestsPerMinute or tokensPerMinute: set one, or remove rateLimit",
            why="FieldValueRequired",
        ),
    )


class ParentReference(ApiModel):
    """A Gateway of the Gateway API."""

    name: ObjectName = Field(description="Name of the Gateway.")
    namespace: ObjectName | None = Field(default=None, description="Its namespace; by default that of the deployment.")
    section_name: ObjectName | None = Field(
        default=None, description="One listener of the Gateway; by default all listeners that allow the route."
    )


class GatewaySpec(ApiModel):
    """Exposes the model outside the cluster, through an HTTPRoute."""

    parent_ref: ParentReference = Field(description="The Gateway that receives the requests.")
    hostname: Annotated[str, matches(HOSTNAME, "must be a host name, such as llama.example.com")] | None = Field(
        default=None, description="Host name that clients use; by default every host name of the Gateway's listeners."
    )


class IpBlock(ApiModel):
    cidr: Cidr = Field(description="Addresses that are allowed, such as 10.0.0.0/8.")
    except_: list[Cidr] = Field(
        default_factory=list,
        alias="except",
        max_length=32,
        description="Addresses in that range that are not allowed.",
        json_schema_extra={LIST_TYPE: "atomic"},
    )


class Peer(ApiModel):
    """Pods or addresses, in the form of a NetworkPolicy peer."""

    namespace_selector: LabelSelector | None = Field(
        default=None, description="Pods in namespaces with these labels; by default in the deployment's namespace."
    )
    pod_selector: LabelSelector | None = Field(default=None, description="Pods with these labels; by default all pods.")
    ip_block: IpBlock | None = Field(default=None, description="Addresses, for clients that are not pods.")

    constraints: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="has(self.ipBlock) ? !(has(self.namespaceSelector) || has(self.podSelector)) : "
            "has(self.namespaceSelector) || has(self.podSelector)",
            message="an entry names either pods or addresses: set namespaceSelector and podSelector, or ipBlock",
        ),
    )


class AccessSpec(ApiModel):
    """Which clients may use the model."""

    api_keys_secret: ObjectName | None = Field(
        default=None,
        description="Secret in the same namespace whose values are the valid API keys; without it, no key is needed.",
    )
    rate_limit: RateLimit | None = Field(
        default=None, description="Limits for each API key; each replica counts separately."
    )
    gateway: GatewaySpec | None = Field(
        default=None, description="Exposes the model outside the cluster through a Gateway."
    )
    allow_from: list[Peer] | None = Field(
        default=None,
        max_length=64,
        description="Clients that may reach the model over the network, awake or asleep; without it, all clients may, "
        "and with an empty list none.",
        json_schema_extra={LIST_TYPE: "atomic"},
    )

    constraints: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="!has(self.rateLimit) || has(self.apiKeysSecret)",
            message="rateLimit counts per API key: name the Secret with the keys in apiKeysSecret",
            at=".apiKeysSecret",
            why="FieldValueRequired",
        ),
    )


class TracingSpec(ApiModel):
    """OpenTelemetry traces of requests and of starts."""

    endpoint: Annotated[
        str,
        matches(
            r"^https?://[A-Za-z0-9][-A-Za-z0-9.]*(:[0-9]+)?(/[^ {}]*)?$",
            "must be the URL of an OpenTelemetry collector, such as http://otel-collector.monitoring:4318",
        ),
    ] = Field(
        description="OpenTelemetry collector that receives the traces over HTTP, such as "
        "http://otel-collector.monitoring:4318. The path defaults to /v1/traces."
    )
    sample_ratio: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="Share of requests that are traced, from 0 to 1, unless the client's traceparent decides.",
    )

    constraints: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule=f"!self.endpoint.matches({cel('^https?://[^/]+:4317(/|$)')})",
            message="port 4317 is for gRPC, but traces are sent over HTTP: use the port for HTTP, usually 4318",
            at=".endpoint",
        ),
    )


class ObservabilitySpec(ApiModel):
    """Where the metrics and traces of the model go."""

    tracing: TracingSpec | None = Field(default=None, description="Sends traces to a collector.")
    monitor: bool = Field(
        default=True, description="Creates a PodMonitor, so that Prometheus finds the metrics, if its CRD exists."
    )
