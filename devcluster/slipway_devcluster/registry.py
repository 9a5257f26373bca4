"""Container registries on a node, for images that are published and pulled again. They are started only on demand.

One is at the node's loopback address, without TLS: containerd pulls from such addresses as they are. The other is at
the node's own address, so that pods reach it under the same name as the node; it has TLS and passwords.
"""

from __future__ import annotations

import http.client
import json
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway_devcluster.addresses import NODE_IP
from slipway_devcluster.builds import ensure_on_demand
from slipway_devcluster.cluster import Cluster
from slipway_devcluster.components import Component
from slipway_devcluster.errors import Refusal
from slipway_devcluster.paths import Cache
from slipway_devcluster.pki import Authority
from slipway_devcluster.progress import Steps

UPSTREAM = "registry"
HOST, PORT = "127.0.0.1", 5000
ADDRESS = f"{HOST}:{PORT}"
"""As seen from the node."""
OF_PODS, PORT_OF_PODS = "registry-of-pods", 5443
ADDRESS_OF_PODS = f"{NODE_IP}:{PORT_OF_PODS}"
PATIENCE = 15.0


@dataclass(frozen=True)
class Secured:
    """A registry that pods reach; `authority` is the certificate that they must trust, as PEM."""

    address: str
    authority: str


def start(cluster: Cluster, *, cache: Cache, steps: Steps) -> str:
    """Start the one of the node, and return its address when it responds. The first time, it is built from source."""
    _run(cluster, UPSTREAM, configuration, cache=cache, steps=steps)
    _wait_until_it_answers(cluster, UPSTREAM, http.client.HTTPConnection(HOST, PORT, timeout=2))
    return ADDRESS


def start_for_pods(cluster: Cluster, passwords: str, *, cache: Cache, steps: Steps) -> Secured:
    """Start the one of the pods when containerd 2 trusts it; `passwords`: lines of htpasswd."""
    folder = _folder(cluster, OF_PODS)
    if not (folder / "ca.crt").exists():
        authority = Authority(f"authority-of-{OF_PODS}")  # not the name of what it issues
        authority.issue(OF_PODS, hosts=[NODE_IP]).write(folder, "registry")
        (folder / "ca.crt").write_bytes(authority.own.certificate)
    (folder / "htpasswd").write_text(passwords)
    _write_trust(cluster.layout.registries / ADDRESS_OF_PODS, folder / "ca.crt")
    _run(cluster, OF_PODS, configuration_for_pods, cache=cache, steps=steps)
    context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    connection = http.client.HTTPSConnection(NODE_IP, PORT_OF_PODS, timeout=2, context=context)
    _wait_until_it_answers(cluster, OF_PODS, connection)
    return Secured(ADDRESS_OF_PODS, (folder / "ca.crt").read_text())


def configuration(folder: Path) -> dict[str, Any]:
    return {
        "version": "0.1",
        "log": {"level": "info", "accesslog": {"disabled": False}},
        "storage": {"filesystem": {"rootdirectory": str(folder / "blobs")}, "delete": {"enabled": True}},
        "http": {"addr": ADDRESS},
    }


def configuration_for_pods(folder: Path) -> dict[str, Any]:
    tls = {"certificate": str(folder / "registry.crt"), "key": str(folder / "registry.key")}
    passwords = {"realm": OF_PODS, "path": str(folder / "htpasswd")}
    own = {"http": {"addr": ADDRESS_OF_PODS, "tls": tls}, "auth": {"htpasswd": passwords}}
    return configuration(folder) | own


def _run(cluster: Cluster, name: str, configured: Any, *, cache: Cache, steps: Steps) -> None:
    build = ensure_on_demand(UPSTREAM, cache, steps)
    file = _folder(cluster, name) / "config.json"  # JSON is YAML, too
    file.write_text(json.dumps(configured(file.parent), indent=2))
    argv = [str(build.binary("registry")), "serve", str(file)]
    cluster.add(Component(name, argv, {"OTEL_TRACES_EXPORTER": "none"}))


def _folder(cluster: Cluster, name: str) -> Path:
    folder = cluster.layout.state / name
    folder.mkdir(exist_ok=True)
    return folder


def _write_trust(folder: Path, authority: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    server = f"https://{ADDRESS_OF_PODS}"
    (folder / "hosts.toml").write_text(f'server = "{server}"\n[host."{server}"]\n  ca = "{authority}"\n')


def _wait_until_it_answers(cluster: Cluster, name: str, connection: http.client.HTTPConnection) -> None:
    deadline = time.monotonic() + PATIENCE
    while not _answers(cluster, connection):
        if time.monotonic() > deadline:
            log = cluster.layout.logs / f"{name}.log"
            raise Refusal(f"the registry does not answer after {PATIENCE:.0f} s; its log is {log}")
        time.sleep(0.05)


def _answers(cluster: Cluster, connection: http.client.HTTPConnection) -> bool:
    """A registry with passwords answers that it wants one."""
    try:
        with cluster.entered():
            connection.connect()
        connection.request("GET", "/v2/")
        return connection.getresponse().status in (http.HTTPStatus.OK, http.HTTPStatus.UNAUTHORIZED)
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
