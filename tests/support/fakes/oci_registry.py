"""A registry in the test's process, which stores what is pushed and fails as the test wants.

It follows the OCI distribution protocol as far as a client that pushes can notice. That a client works with real
registries is shown by tests/engines/test_pushing.py; this one is for what those don't do on request.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from support.fakes.quiet_handler import QuietHandler

Fault = Callable[["Handler"], bool]
"""Called before a request is handled; returns whether it has sent a response, or has broken the connection."""


@dataclass
class Registry:
    """What the registry has, and which requests it got."""

    address: str = ""
    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, bytes] = field(default_factory=dict)
    uploads: dict[str, bytearray] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    authorizations: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    """Each is asked about every request, until it is removed."""
    largest: int | None = None
    """Bytes of a request, as the limit of a proxy."""
    digest_of_manifests: Callable[[bytes], str] = lambda content: digest_of(content)  # noqa: PLW0108 - defined below

    def fail(self, pattern: str, *faults: Fault) -> None:
        """The requests whose method and path contain the pattern meet these faults, one each."""
        remaining = list(faults)

        def fault(handler: Handler) -> bool:
            return bool(remaining and re.search(pattern, handler.asked) and remaining.pop(0)(handler))

        self.faults.append(fault)

    def count(self, pattern: str) -> int:
        return sum(bool(re.search(pattern, each)) for each in self.requests)


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def answers(status: int, content: object = "", **headers: str) -> Fault:
    """A fault: a response, after the request was read."""

    def fault(handler: Handler) -> bool:
        handler.body()
        text = content if isinstance(content, str) else json.dumps(content)
        handler.respond(status, text.encode(), {name.replace("_", "-"): value for name, value in headers.items()})
        return True

    return fault


def error(status: int, code: str, message: str) -> Fault:
    return answers(status, {"errors": [{"code": code, "message": message}]})


def breaks_after(size: int) -> Fault:
    """A fault: the connection breaks after this many bytes of the body."""

    def fault(handler: Handler) -> bool:
        handler.keep(handler.rfile.read(size))
        handler.close_connection = True
        handler.connection.shutdown(2)
        return True

    return fault


class Handler(QuietHandler):
    registry: Registry

    @property
    def asked(self) -> str:
        return f"{self.command} {self.path}"

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def keep(self, content: bytes) -> None:
        """What a broken upload has left."""
        name = urlsplit(self.path).path.rpartition("/")[2]
        if self.command == "PATCH" and name in self.registry.uploads:
            self.registry.uploads[name] += content

    def do(self) -> None:
        self.registry.requests.append(self.asked)
        self.registry.authorizations.append(self.headers.get("Authorization", ""))
        if any(fault(self) for fault in self.registry.faults):
            return
        largest = self.registry.largest
        if largest is not None and int(self.headers.get("Content-Length") or 0) > largest:
            self.respond(413)  # before the body is read, as proxies do
            self.close_connection = True
            return
        path = urlsplit(self.path).path
        if found := re.search(r"/blobs/(sha256:[0-9a-f]{64})$", path):
            self.respond(200 if found[1] in self.registry.blobs else 404)
        elif "/blobs/uploads/" in path:
            self._upload(path.rpartition("/")[2])
        elif found := re.search(r"/manifests/(.+)$", path):
            self._manifest(found[1])
        else:
            self.respond(404)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do  # noqa: N815 - names in the base class

    def _upload(self, name: str) -> None:
        uploads = self.registry.uploads
        content = self.body()
        if self.command == "POST":
            name = f"upload-{len(uploads)}"
            uploads[name] = bytearray()
            self.respond(202, headers={"Location": f"{self.path}{name}?state=1"})
        elif name not in uploads:
            self.respond(404)
        elif self.command == "DELETE":
            del uploads[name]
            self.respond(204)
        elif self.command == "GET":
            self.respond(204, headers={"Location": self.path, "Range": f"0-{max(len(uploads[name]) - 1, 0)}"})
        elif self.command == "PATCH":
            self._patch(name, content)
        else:
            self._complete(name, content)

    def _patch(self, name: str, content: bytes) -> None:
        stored = self.registry.uploads[name]
        if int((self.headers.get("Content-Range") or "0-").partition("-")[0]) != len(stored):
            self.respond(416, headers={"Range": f"0-{max(len(stored) - 1, 0)}"})
            return
        stored += content
        self.respond(202, headers={"Location": self.path, "Range": f"0-{len(stored) - 1}"})

    def _complete(self, name: str, content: bytes) -> None:
        whole = bytes(self.registry.uploads.pop(name)) + content
        wanted = parse_qs(urlsplit(self.path).query)["digest"][0]
        if digest_of(whole) != wanted:
            self.respond(400, json.dumps({"errors": [{"code": "DIGEST_INVALID", "message": "digest"}]}).encode())
            return
        self.registry.blobs[wanted] = whole
        self.respond(201)

    def _manifest(self, name: str) -> None:
        manifests = self.registry.manifests
        if self.command == "PUT":
            content = self.body()
            manifests[name] = manifests[self.registry.digest_of_manifests(content)] = content
            self.respond(201)
        elif name in manifests:
            self.respond(200, manifests[name])
        else:
            self.respond(404)


@contextmanager
def registry() -> Iterator[Registry]:
    state = Registry()
    handler = type("OwnHandler", (Handler,), {"registry": state})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        state.address = f"127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()
