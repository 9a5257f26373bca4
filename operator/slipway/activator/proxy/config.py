"""Sizes, times and counts that the proxy keeps to, with their defaults."""

from __future__ import annotations

from dataclasses import dataclass, field

from slipway.activator.proxy.client_identity import ClientIdentifier
from slipway.contract.runbooks import NO_RUNBOOKS, Runbooks


@dataclass(frozen=True, kw_only=True)
class ProxyConfig:
    """Sizes are in bytes, times in seconds."""

    stored_body: int = 8 << 20  # of a body, so that it can be sent again; what is beyond passes through once
    largest_body: int = 64 << 20
    head_timeout: float = 10.0  # for the head of the first request on a connection
    idle_timeout: float = 60.0  # between two requests on a connection, the second one's head included
    body_timeout: float = 30.0  # without one byte of a body that was announced, and for all of it besides `body_rate`
    body_rate: float = 16 << 10  # bytes a second that a body has to be sent with, if it takes longer than that
    linger: float = 2.0  # for a client that was refused to stop sending, so that it sees the response
    connect_timeout: float = 2.0  # to a replica
    connections: int = 8192  # of clients, in all; fewer where the limit of open files is low
    silence: float = 3900.0  # of a replica that has a request; longer than KServe lets any request take
    clients: ClientIdentifier = field(default_factory=ClientIdentifier)
    connections_per_port: int = 2048
    runbooks: Runbooks = NO_RUNBOOKS  # to which errors link
