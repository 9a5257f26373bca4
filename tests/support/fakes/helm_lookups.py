"""As much of an API server as helm's `lookup` queries: objects of these kinds, one by one and in lists."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from support.builders.objects import Object, kubeconfig, manifest

KINDS = {
    "apps/v1": ("Deployment", "deployments", True),
    "rbac.authorization.k8s.io/v1": ("ClusterRole", "clusterroles", False),
}
VIEW = manifest("rbac.authorization.k8s.io/v1", "ClusterRole", "view")
"""Every cluster has it."""


@contextmanager
def served(folder: Path, objects: Sequence[Object] = ()) -> Iterator[Path]:
    """Serves these objects while the block lasts; yields the kubeconfig."""
    there = [VIEW, *objects]

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = answer(self.path.partition("?")[0].removeprefix("/apis/"), there)
            body = json.dumps(found).encode()
            self.send_response(found.get("code", 200) if found["kind"] == "Status" else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            path = folder / "kubeconfig"
            path.write_text(json.dumps(kubeconfig(f"http://127.0.0.1:{server.server_port}")))
            yield path
        finally:
            server.shutdown()
            thread.join()


def answer(path: str, there: Sequence[Object]) -> Object:
    """Returns the response to a path that starts with `GROUP/VERSION`."""
    group, version, *rest = path.split("/")
    api_version = f"{group}/{version}"
    kind, plural, is_namespaced = KINDS[api_version]
    if not rest:
        resource = {"name": plural, "kind": kind, "namespaced": is_namespaced, "verbs": ["get", "list"]}
        return {"kind": "APIResourceList", "groupVersion": api_version, "resources": [resource]}
    namespace = rest[1] if rest[0] == "namespaces" else None
    name = rest[-1] if rest[-1] != plural else None
    found = [
        each
        for each in there
        if (each["kind"], each["metadata"].get("namespace")) == (kind, namespace)
        and name in (None, each["metadata"]["name"])
    ]
    if name is None:
        return {"kind": f"{kind}List", "apiVersion": api_version, "metadata": {}, "items": found}
    return found[0] if found else {"kind": "Status", "apiVersion": "v1", "code": 404, "reason": "NotFound"}
