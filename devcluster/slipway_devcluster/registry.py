"""A container registry on a node, at its loopback address, for images that are published and pulled again.

It is started only on demand. containerd pulls from it without TLS, as it does from every loopback address.
"""

from __future__ import annotations

import http.client
import json
import time
from pathlib import Path

from slipway_devcluster.builds import ensure_on_demand
from slipway_devcluster.cluster import Cluster
from slipway_devcluster.components import Component
from slipway_devcluster.errors import Refusal
from slipway_devcluster.paths import Cache
from slipway_devcluster.progress import Steps

UPSTREAM = "registry"
HOST, PORT = "127.0.0.1", 5000
ADDRESS = f"{HOST}:{PORT}"
"""As seen from the node."""
PATIENCE = 15.0


def start(cluster: Cluster, *, cache: Cache, steps: Steps) -> str:
    """Start it, and return its address when it responds. The first time, it is built from source."""
    build = ensure_on_demand(UPSTREAM, cache, steps)
    folder = cluster.layout.state / "registry"
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(configuration(folder / "blobs"))
    argv = [str(build.binary("registry")), "serve", str(folder / "config.json")]
    cluster.add(Component("registry", argv, {"OTEL_TRACES_EXPORTER": "none"}))
    _wait_until_it_answers(cluster)
    return ADDRESS


def configuration(folder: Path) -> str:
    """The registry's configuration as JSON, which is YAML too."""
    config = {
        "version": "0.1",
        "log": {"level": "info", "accesslog": {"disabled": False}},
        "storage": {"filesystem": {"rootdirectory": str(folder)}, "delete": {"enabled": True}},
        "http": {"addr": ADDRESS},
    }
    return json.dumps(config, indent=2)


def _wait_until_it_answers(cluster: Cluster) -> None:
    deadline = time.monotonic() + PATIENCE
    while not _answers(cluster):
        if time.monotonic() > deadline:
            log = cluster.layout.logs / "registry.log"
            raise Refusal(f"the registry does not answer after {PATIENCE:.0f} s; its log is {log}")
        time.sleep(0.05)


def _answers(cluster: Cluster) -> bool:
    connection = http.client.HTTPConnection(HOST, PORT, timeout=2)
    try:
        with cluster.entered():
            connection.connect()
        connection.request("GET", "/v2/")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
