"""A Hugging Face Hub in the test's process, with as much of its protocol as clients use.

Large files are at another address, which a signed URL leads to, as the Hub's storage is. The requests that it answers,
and how it refuses, are as huggingface_hub 2.4 expects them.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from support.fakes.quiet_handler import QuietHandler

LARGE = 1 << 16
"""Bytes from which on a file is in the storage for large files."""


@dataclass
class Repository:
    """One model at one commit."""

    files: dict[str, bytes]
    branches: dict[str, str] = field(default_factory=dict)
    gated: bool = False
    private: bool = False

    @property
    def commit(self) -> str:
        found = hashlib.sha1(usedforsecurity=False)
        for path, content in sorted(self.files.items()):
            found.update(path.encode() + hashlib.sha256(content).digest())
        return found.hexdigest()


@dataclass
class FakeHub:
    """`url` is the endpoint. `rate`: bytes a second of each response of the storage."""

    repositories: dict[str, Repository] = field(default_factory=dict)
    token: str = "hf_right"  # noqa: S105 - of the test
    url: str = ""
    storage: str = ""
    page: int = 1000
    signed_until: float = float("inf")
    rate: float = float("inf")
    requests: list[str] = field(default_factory=list)
    storage_has: dict[str, bytes] = field(default_factory=dict)
    authorizations: dict[str, set[str]] = field(default_factory=dict)
    sent: int = 0
    """Bytes of files."""

    def count(self, pattern: str) -> int:
        return sum(bool(re.search(pattern, each)) for each in self.requests)


class Handler(QuietHandler):
    hub: FakeHub

    def do_GET(self) -> None:  # noqa: N802 - as http.server calls it
        address = f"http://{self.headers['Host']}"
        self.hub.requests.append(f"{self.command} {self.path}")
        self.hub.authorizations.setdefault(address, set()).add(self.headers.get("Authorization", ""))
        path = unquote(urlsplit(self.path).path)
        if path.startswith("/storage/"):
            self._stored(path.removeprefix("/storage/"))
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/revision/(.+)", path):
            self._with(found[1], found[2], self._revision)
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/([^/]+)", path):
            self._with(found[1], found[2], self._tree)
        elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self._with(found[1], found[2], lambda repository: self._file(repository, found[3]))
        else:
            self.respond(404, b"{}")

    do_HEAD = do_GET  # noqa: N815 - the name in the base class

    def _with(self, name: str, revision: str, then: Any) -> None:
        repository = self.hub.repositories.get(name)
        allowed = self.headers.get("Authorization") == f"Bearer {self.hub.token}"
        if not repository or (repository.private and not allowed):
            self.refuse(404 if allowed else 401, "RepoNotFound")
        elif repository.gated and not allowed:
            self.refuse(401, "GatedRepo")
        elif revision not in ("main", repository.commit, *repository.branches):
            self.refuse(404, "RevisionNotFound")
        else:
            then(repository)

    def _revision(self, repository: Repository) -> None:
        siblings = [{"rfilename": path} for path in repository.files]
        self.respond(200, json.dumps({"sha": repository.commit, "siblings": siblings}).encode())

    def _tree(self, repository: Repository) -> None:
        query = parse_qs(urlsplit(self.path).query)
        start = int(query.get("cursor", ["0"])[0])
        paths = sorted(repository.files)
        entries = [_entry(path, repository.files[path]) for path in paths[start : start + self.hub.page]]
        if not start:
            entries.append({"type": "directory", "path": "folder", "size": 0, "oid": "0" * 40})
        more = start + self.hub.page < len(paths)
        following = f"{self.hub.url}{urlsplit(self.path).path}?recursive=true&cursor={start + self.hub.page}"
        self.respond(200, json.dumps(entries).encode(), {"Link": f'<{following}>; rel="next"'} if more else {})

    def _file(self, repository: Repository, path: str) -> None:
        content = repository.files.get(path)
        if content is None:
            self.refuse(404, "EntryNotFound")
        elif len(content) < LARGE:
            self.send_content(content)
        else:
            digest = hashlib.sha256(content).hexdigest()
            self.hub.storage_has[digest] = content
            self.respond(302, b"", {"Location": f"{self.hub.storage}/storage/{digest}?Signature=secret-{time.time()}"})

    def _stored(self, digest: str) -> None:
        signed_at = float(parse_qs(urlsplit(self.path).query)["Signature"][0].removeprefix("secret-"))
        content = self.hub.storage_has.get(digest)
        if content is None or signed_at > self.hub.signed_until or time.time() - signed_at > self.hub.signed_until:
            self.respond(403, b"<Error><Code>AccessDenied</Code></Error>")
        else:
            self.send_content(content)

    def send_content(self, content: bytes) -> None:
        """As a server with ranges does."""
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start, end = (int(found[1]), int(found[2] or len(content) - 1) + 1) if found else (0, len(content))
        piece = content[start:end]
        self.send_response(206 if found else 200)
        if found:
            self.send_header("Content-Range", f"bytes {start}-{start + len(piece) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(piece)))
        self.end_headers()
        if self.command == "HEAD":
            return
        step = 1 << 14
        for position in range(0, len(piece), step):
            self.wfile.write(piece[position : position + step])
            self.hub.sent += len(piece[position : position + step])
            if self.hub.rate < float("inf"):
                time.sleep(step / self.hub.rate)

    def refuse(self, status: int, code: str) -> None:
        self.respond(status, json.dumps({"error": code}).encode(), {"X-Error-Code": code})


def _entry(path: str, content: bytes) -> dict[str, Any]:
    git = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
    entry: dict[str, Any] = {"type": "file", "path": path, "size": len(content), "oid": git}
    if len(content) >= LARGE:
        entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
    return entry


@contextmanager
def hub(**repositories: Repository) -> Iterator[FakeHub]:
    """Repositories by the name of the model; their organization is `org`."""
    state = FakeHub({f"org/{name}": repository for name, repository in repositories.items()})
    handler = type("OwnHandler", (Handler,), {"hub": state})
    with serving(handler) as state.url, serving(handler) as state.storage:
        yield state


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
