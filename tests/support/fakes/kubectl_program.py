"""The program of `kubectl.py`. It runs without any package, because tests start it many times."""

from __future__ import annotations

import json
import re
import sys
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import Any
from urllib.parse import unquote

FOLDER = Path(sys.argv[0]).parent
CONNECTION = ("--context=", "--kubeconfig=", "--as=", "--cluster=", "--user=")


def main() -> int:
    world = json.loads((FOLDER / "world.json").read_text())
    with (FOLDER / "calls").open("a") as calls:
        calls.write(f"{json.dumps(sys.argv[1:])}\n")
    if "watch=1" in sys.argv[-1]:
        return watch(world["then"], sys.argv[-1])
    given = sys.stdin.read() if "apply" in sys.argv else ""
    if "proxy" in sys.argv:
        return proxy(world)
    code, said = answer(world, sys.argv[1:], given)
    (sys.stderr if code else sys.stdout).write(said)
    return code


def answer(world: Any, arguments: list[str], given: str = "") -> tuple[int, str]:
    """The exit code, and what is written."""
    arguments = [each for each in arguments if not each.startswith(CONNECTION)]
    asked = arguments[2] if arguments[:2] == ["get", "--raw"] else " ".join(arguments)
    for start, said in world["failures"].items():
        if asked.startswith(start):
            return 1, f"{said}\n"
    if arguments[:2] == ["get", "--raw"]:
        return get(world["objects"], asked)
    if arguments[:2] == ["config", "view"]:
        context = {"name": "fake", "context": {"namespace": world["namespace"]}}
        return 0, json.dumps({"contexts": [context], "current-context": "fake"})
    if arguments[0] == "apply":
        return 0, apply(world["objects"], world["namespace"], given)
    if arguments[0] == "logs":
        container = next(each.partition("=")[2] for each in arguments if each.startswith("--container="))
        return 0, limited(world["logs"].get(f"{arguments[1]}/{container}", ""), arguments)
    return 0, ""


def limited(log: str, arguments: list[str]) -> str:
    """As the kubelet does it: the last lines, and of these the first bytes."""
    given = dict(each.split("=", 1) for each in arguments if "=" in each)
    tail, most = int(given.get("--tail", -1)), int(given.get("--limit-bytes", len(log)))
    return "".join(log.splitlines(keepends=True)[-tail:] if tail > 0 else log)[:most]


def apply(objects: list[Any], namespace: str, given: str) -> str:
    """The object as a dry run returns it: that of the file, with what the API server keeps of the one that there is."""
    thing = json.loads(given)
    metadata = {"namespace": namespace, **thing["metadata"]}
    for each in (found["object"] for found in objects):
        if each["kind"] == thing["kind"] and each["metadata"]["name"] == metadata["name"]:
            metadata = {**each["metadata"], **metadata}
            thing = {**each, **thing}
    return json.dumps({**thing, "metadata": metadata})


def proxy(world: Any) -> int:
    """Answers POSTs as `world["service"]` says, one after the other and the last one again and again."""
    socket_of = next(each.partition("=")[2] for each in sys.argv if each.startswith("--unix-socket="))
    responses = list(world["service"] or [{"status": 404, "parts": ["nothing"]}])

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with (FOLDER / "requests").open("a") as requests:
                requests.write(
                    f"{json.dumps({'path': self.path, 'key': self.headers['X-Api-Key'], **json.loads(body)})}\n"
                )
            response = responses.pop(0) if len(responses) > 1 else responses[0]
            self.send_response(response.get("status", 200))
            self.send_header("Content-Type", response.get("type", "application/json"))
            self.send_header("Connection", "close")
            self.end_headers()
            for part in response["parts"]:
                self.wfile.write(part.encode())
                self.wfile.flush()
                time.sleep(response.get("pause", 0))
            self.close_connection = True

        def do_GET(self) -> None:
            text = world["metrics"].get(self.path)
            self.send_response(403 if text is None else 200)
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write((text or "").encode())
            self.close_connection = True

        def log_message(self, *_: Any) -> None:
            pass

        def address_string(self) -> str:
            return ""

    class Server(ThreadingMixIn, UnixStreamServer):
        daemon_threads = True

    with Server(socket_of, Handler) as server:
        sys.stdout.write(f"Starting to serve on {socket_of}\n")
        sys.stdout.flush()
        server.serve_forever()
    return 0


def watch(then: list[Any], path: str) -> int:
    """Reports each change once no further watch starts, so that all lists have been read before; goes on until it is
    ended."""
    watches = -1
    while (started := (FOLDER / "calls").read_text().count("watch=1")) != watches:
        watches = started
        time.sleep(0.5)
    for each in then:
        home, _, plural = each["list"].partition(" ")
        if path.startswith(home) and f"/{plural}?" in path:
            sys.stdout.write(f"{json.dumps({'type': 'MODIFIED', 'object': each['object']})}\n")
            sys.stdout.flush()
    time.sleep(3600)
    return 0


def get(objects: list[Any], path: str) -> tuple[int, str]:
    path, _, query = path.partition("?")
    if path == "/version":
        return 0, json.dumps({"gitVersion": "v1.34.4"})
    found = re.fullmatch(r"(/api/v1|/apis/[^/]+/[^/]+)(?:/namespaces/([^/]+))?/([^/]+)(?:/([^/]+))?", path)
    if found is None:
        raise ValueError(path)
    home, namespace, plural, name = found.groups()
    listed = [each["object"] for each in objects if each["list"] == f"{home} {plural}"]
    listed = [each for each in listed if not namespace or each["metadata"].get("namespace", namespace) == namespace]
    if name:
        named = [each for each in listed if each["metadata"]["name"] == name]
        if not named:
            return 1, f'Error from server (NotFound): {plural} "{name}" not found\n'
        return 0, json.dumps(named[0])
    items = [each for each in listed if is_selected(each, unquote(query))]
    return 0, json.dumps({"kind": "List", "metadata": {"resourceVersion": "1"}, "items": items})


def is_selected(thing: Any, query: str) -> bool:
    for name, value in (part.split("=", 1) for part in query.split("&") if part):
        if name == "fieldSelector" and value.removeprefix("metadata.name=") != thing["metadata"]["name"]:
            return False
        if name == "labelSelector":
            label, *values = re.findall(r"[\w./-]+", value.replace(" in ", " "))
            labels = thing["metadata"].get("labels") or {}
            if label not in labels if not values else labels.get(label) not in values:
                return False
    return True


if __name__ == "__main__":
    sys.exit(main())
