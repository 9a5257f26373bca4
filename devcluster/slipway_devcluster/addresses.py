"""The network of a cluster. Nothing links it to the host's, so every cluster uses the same addresses.

The ranges are those for documentation and benchmarks (RFC 5737, RFC 2544): they can't be mistaken for a real network.
"""

from __future__ import annotations

from dataclasses import dataclass

MOST_NODES = 3


@dataclass(frozen=True)
class Node:
    """A real node of a cluster. The first one has the control plane, too."""

    number: int = 1

    @property
    def name(self) -> str:
        return "slipway" if self.number == 1 else f"slipway-{self.number}"

    @property
    def ip(self) -> str:
        return f"198.51.100.{self.number + 1}"

    @property
    def pod_range(self) -> str:
        return f"198.18.{self.number - 1}.0/24"


FIRST = Node()
NODE_NAME, NODE_IP, POD_RANGE = FIRST.name, FIRST.ip, FIRST.pod_range
API_PORT = 6443
ALL_PODS = "198.18.0.0/16"
SERVICE_RANGE = "198.19.0.0/16"
API_SERVICE_IP = "198.19.0.1"
DNS_IP = "198.19.0.10"
CLUSTER_DOMAIN = "cluster.local"


def further_nodes(of: int) -> list[Node]:
    """The nodes of a cluster that has `of` of them, without the first one."""
    return [Node(number) for number in range(2, of + 1)]
