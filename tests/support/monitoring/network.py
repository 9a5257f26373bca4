"""Where the programs of monitoring run and listen: on this machine's loopback, or on that of a devcluster's node.

Prometheus reaches pods only from the node. The test's process reaches what listens there by sockets of that network.
"""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from slipway_devcluster.cluster import Cluster

from support.ports import free_port

LOOPBACK = "127.0.0.1"
ANSWERS_WITHIN = 20.0


@dataclass(frozen=True)
class Network:
    """`enter` is a context in which sockets are of this network; `inside` is put before commands that run in it."""

    enter: Callable[[], AbstractContextManager[object]] = nullcontext
    inside: tuple[str, ...] = ()

    def free_port(self) -> int:
        with self.enter():
            return free_port()

    def listener(self) -> socket.socket:
        """Returns a socket that listens on a free port."""
        with self.enter():
            return socket.create_server((LOOPBACK, 0))

    def get(self, port: int, path: str, **parameters: str) -> tuple[int, str]:
        """Returns status and body."""
        return self._request("GET", port, f"{path}?{urlencode(parameters)}" if parameters else path)

    def post(self, port: int, path: str, body: Any = None) -> tuple[int, str]:
        return self._request("POST", port, path, json.dumps(body) if body is not None else None)

    def _request(self, method: str, port: int, path: str, body: str | None = None) -> tuple[int, str]:
        connection = http.client.HTTPConnection(LOOPBACK, port, timeout=ANSWERS_WITHIN)
        try:
            with self.enter():
                connection.connect()
            connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()


HERE = Network()


def on_node(cluster: Cluster) -> Network:
    namespaces = cluster.namespaces
    return Network(namespaces.entered, ("nsenter", f"--net=/proc/{namespaces.init.pid}/ns/net", "--"))
