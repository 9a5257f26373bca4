"""`spec.access` and `spec.observability`: who may ask the model, from where, and who sees how it does."""

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
        default=None, ge=1, le=10_000_000, description="Requests that one key may send in a minute."
    )
    tokens_per_minute: int | None = Field(
        default=None, ge=1, le=10_000_000_000, description="Tokens, of questions and answers, for one key in a minute."
    )

    constraints: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="has(self.requestsPerMinute) || has(self.tokensPerMinute)",
            message="a rate limit needs requestsPerMinute or tokensPerMinute: set one, or leave rateLimit out",
            why="FieldValueRequired",
        ),
    )


class ParentReference(ApiModel):
    """A Gateway of the Gateway API."""

    name: ObjectName = Field(description="Name of the Gateway.")
    namespace: ObjectName | None = Field(default=None, description="Its namespace; by default the deployment's own.")
    section_name: ObjectName | None = Field(
        default=None, description="One listener of the Gateway; by default all that allow it."
    )


class GatewaySpec(ApiModel):
    """Makes the model reachable from outside, through an HTTPRoute."""

    parent_ref: ParentReference = Field(description="The Gateway that requests come through.")
    hostname: Annotated[str, matches(HOSTNAME, "must be a host's name, such as llama.example.com")] | None = Field(
        default=None, description="Host name that clients use; by default any that the Gateway listens for."
    )


class IpBlock(ApiModel):
    cidr: Cidr = Field(description="Addresses that may ask, such as 10.0.0.0/8.")
    except_: list[Cidr] = Field(
        default_factory=list,
        alias="except",
        max_length=32,
        description="Addresses among them that may not.",
        json_schema_extra={LIST_TYPE: "atomic"},
    )


class Peer(ApiModel):
    """Some pods, or addresses, as a NetworkPolicy names them."""

    namespace_selector: LabelSelector | None = Field(
        default=None, description="Pods of namespaces with these labels; by default of the deployment's own namespace."
    )
    pod_selector: LabelSelector | None = Field(default=None, description="Pods with these labels; by default all.")
    ip_block: IpBlock | None = Field(default=None, description="Addresses, for clients that are not pods.")

    constraints: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="has(self.ipBlock) ? !(has(self.namespaceSelector) || has(self.podSelector)) : "
            "has(self.namespaceSelector) || has(self.podSelector)",
            message="an entry names either pods (namespaceSelector, podSelector) or addresses (ipBlock)",
        ),
    )


class AccessSpec(ApiModel):
    """Who may ask the model."""

    api_keys_secret: ObjectName | None = Field(
        default=None,
        description="Secret in the same namespace whose values are the API keys that are let in; without it, all are.",
    )
    rate_limit: RateLimit | None = Field(
        default=None, description="Limits for each API key; every replica counts by itself."
    )
    gateway: GatewaySpec | None = Field(
        default=None, description="Makes the model reachable from outside the cluster through a Gateway."
    )
    allow_from: list[Peer] | None = Field(
        default=None,
        max_length=64,
        description="Who may reach the model over the network, awake or asleep; without it, all may, with an empty "
        "list nobody.",
        json_schema_extra={LIST_TYPE: "atomic"},
    )

    constraints: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="!has(self.rateLimit) || has(self.apiKeysSecret)",
            message="rateLimit counts for each API key: name the keys' Secret in apiKeysSecret",
            at=".apiKeysSecret",
            why="FieldValueRequired",
        ),
    )


class TracingSpec(ApiModel):
    """Traces of requests and of starts, over OpenTelemetry."""

    endpoint: Annotated[
        str,
        matches(
            r"^https?://[A-Za-z0-9][-A-Za-z0-9.]*(:[0-9]+)?(/[^ {}]*)?$",
            "must be the URL of an OpenTelemetry collector, such as http://otel-collector.monitoring:4318",
        ),
    ] = Field(
        description="OpenTelemetry collector that takes the traces over HTTP, such as "
        "http://otel-collector.monitoring:4318. Without a path, /v1/traces is asked."
    )
    sample_ratio: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="Share of requests that are traced, from 0 to 1, unless the caller decided.",
    )

    constraints: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule=f"!self.endpoint.matches({cel('^https?://[^/]+:4317(/|$)')})",
            message="port 4317 takes gRPC, but traces are sent over HTTP: name the port for that, usually 4318",
            at=".endpoint",
        ),
    )


class ObservabilitySpec(ApiModel):
    """Who sees how the model does."""

    tracing: TracingSpec | None = Field(default=None, description="Sends traces to a collector.")
    monitor: bool = Field(
        default=True, description="Makes a PodMonitor, so that Prometheus finds the metrics, where its CRD exists."
    )
