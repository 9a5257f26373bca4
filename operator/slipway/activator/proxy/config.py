"""What the activator can be told to do otherwise, and what it does if it isn't."""

from __future__ import annotations

from dataclasses import dataclass, field

from slipway.activator.proxy.client_identity import ClientIdentifier


@dataclass(frozen=True, kw_only=True)
class ProxyConfig:
    kept_body: int = 8 << 20  # bytes of a body that are kept to send it again; what is beyond passes through once
    largest_body: int = 64 << 20
    head_timeout: float = 10.0  # for the first request of a connection to say what it wants
    idle_timeout: float = 60.0  # between two requests of a connection, the second one's head included
    body_timeout: float = 30.0  # without one byte of a body that was announced, and in all at a rate of nothing
    body_rate: float = 16 << 10  # bytes a second that a body has to bring, if it takes longer than that
    linger: float = 2.0  # for a client that was refused to stop sending, so that it sees the refusal
    connect_timeout: float = 2.0  # to a replica
    connections: int = 8192  # of clients, in all; fewer where the limit of open files is low
    silence: float = 3900.0  # of a replica that was asked or answers; longer than KServe lets any request take
    clients: ClientIdentifier = field(default_factory=ClientIdentifier)
    connections_per_port: int = 2048
    runbooks: str = ""  # where they are, as the beginning of a URL; the cause's word follows
