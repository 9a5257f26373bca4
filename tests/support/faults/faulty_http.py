"""A proxy in front of an HTTP server that causes faults when a test wants them: cut, slow, busy, wrong.

It forwards a request with its Host, so that signatures stay valid, and counts what it has sent.
"""

from __future__ import annotations

import http.client
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from support.fakes.quiet_handler import QuietHandler

HOP_BY_HOP = ("connection", "keep-alive", "transfer-encoding", "content-length", "date", "server")


@dataclass
class Answer:
    """A response that a fault may change. `cut_after`: bytes of the body, after which the connection ends."""

    status: int
    headers: dict[str, str]
    body: bytes
    cut_after: int | None = None
    rate: float = float("inf")  # bytes a second
    without_length: bool = False


Fault = Callable[[str, Answer], Answer]
"""The request's method, path and Range in one line → the answer."""


@dataclass
class FaultyServer:
    """`url`: of the proxy. `faults`: each is used for each request that matches its pattern."""

    url: str = ""
    requests: list[str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    sent: int = 0
    faults: list[tuple[str, Fault, list[int]]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def fail(self, pattern: str, fault: Fault, *, times: int = 1 << 30) -> None:
        self.faults.append((pattern, fault, [times]))

    def changed(self, request: str, answer: Answer) -> Answer:
        for pattern, fault, left in self.faults:
            with self.lock:
                hit = left[0] > 0 and re.search(pattern, request) is not None
                left[0] -= hit
            if hit:
                answer = fault(request, answer)
        return answer

    def count(self, pattern: str) -> int:
        return sum(bool(re.search(pattern, each)) for each in self.requests)


def cut(after: int) -> Fault:
    """The connection ends after this many bytes of the body."""

    def fault(_request: str, answer: Answer) -> Answer:
        answer.cut_after = after
        return answer

    return fault


def slow(rate: float) -> Fault:
    def fault(_request: str, answer: Answer) -> Answer:
        answer.rate = rate
        return answer

    return fault


def answers(status: int, **headers: str) -> Fault:
    return lambda _request, _answer: Answer(
        status, {name.replace("_", "-"): text for name, text in headers.items()}, b"refused"
    )


def flipped(_request: str, answer: Answer) -> Answer:
    """One bit of the body is wrong."""
    if answer.body:
        answer.body = bytes([answer.body[0] ^ 1]) + answer.body[1:]
    return answer


def without_length(_request: str, answer: Answer) -> Answer:
    """The response doesn't say how long it is."""
    answer.without_length = True
    answer.headers.pop("Content-Range", None)
    return answer


def ignores_ranges(upstream: str) -> Fault:
    """The whole file is sent, whatever was requested."""

    def fault(request: str, answer: Answer) -> Answer:
        method, path, _ = request.split(" ", 2)
        whole = _forwarded(upstream, method, path, {}, b"")
        return Answer(whole.status, whole.headers, whole.body)

    return fault


def other_range(_request: str, answer: Answer) -> Answer:
    """The bytes of another range than the one that was requested, and says so."""
    if found := re.match(r"bytes (\d+)-(\d+)/(\d+)", answer.headers.get("Content-Range", "")):
        start, end, size = map(int, found.groups())
        answer.headers["Content-Range"] = f"bytes {start + 1}-{end + 1}/{size}"
    return answer


class Handler(QuietHandler):
    upstream: str
    server_state: FaultyServer
    allows: Callable[[Mapping[str, str]], bool]

    def do_GET(self) -> None:  # noqa: N802 - as http.server calls it
        state = self.server_state
        request = f"{self.command} {self.path} {self.headers.get('Range', '')}"
        state.requests.append(request)
        state.times.append(time.monotonic())
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        answer = Answer(401, {}, b"refused")
        if type(self).allows(dict(self.headers)):
            answer = _forwarded(self.upstream, self.command, self.path, dict(self.headers), body)
        self._send(state.changed(request, answer))

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815 - names in the base class

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        for name, text in answer.headers.items():
            self.send_header(name, text)
        if answer.without_length:
            self.send_header("Connection", "close")
            self.close_connection = True
        elif self.command != "HEAD":
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        body = answer.body[: answer.cut_after]
        for start in range(0, len(body), 1 << 14):
            piece = body[start : start + (1 << 14)]
            self.wfile.write(piece)
            self.server_state.sent += len(piece)
            if answer.rate < float("inf"):
                time.sleep(len(piece) / answer.rate)
        if answer.cut_after is not None:
            self.close_connection = True
            self.wfile.flush()
            self.connection.shutdown(2)


def _forwarded(upstream: str, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
    parts = urlsplit(upstream)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    try:
        connection.request(method, path, body or None, headers)
        response = connection.getresponse()
        kept = {name: text for name, text in response.getheaders() if name.lower() not in HOP_BY_HOP}
        if method == "HEAD" and (length := response.getheader("Content-Length")):
            kept["Content-Length"] = length
        return Answer(response.status, kept, response.read())
    finally:
        connection.close()


@contextmanager
def faulty(
    upstream: str,
    certificate: tuple[Path, Path] | None = None,
    *,
    allows: Callable[[Mapping[str, str]], bool] = lambda _: True,
) -> Iterator[FaultyServer]:
    """`certificate`: with TLS, files of certificate and key. `allows`: whether a request with these headers passes."""
    state = FaultyServer()
    own = {"upstream": upstream, "server_state": state, "allows": staticmethod(allows)}
    handler = type("OwnHandler", (Handler,), own)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        state.url = f"{'https' if certificate else 'http'}://127.0.0.1:{server.server_address[1]}"
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()
