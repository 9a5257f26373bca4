"""A small server that says how far the download is: `GET /info` in JSON, `GET /metrics` for Prometheus.

It answers one request after another, and ends each after a moment, so that no one who reaches the pod holds it up.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from slipway_fetcher.progress import Progress

WITHIN, NOTICED = 1.0, 0.02  # seconds for a request, and until the end of the download ends the server
METRICS = {
    "slipway_fetch_bytes": ("bytes", "Bytes of the model that have arrived."),
    "slipway_fetch_total_bytes": ("total", "Bytes of the model, as far as the source says."),
    "slipway_fetch_bytes_per_second": ("bytesPerSecond", "Bytes that have arrived per second, over the last seconds."),
}


@contextlib.contextmanager
def served(progress: Progress, port: int) -> Iterator[None]:
    """While the block runs. Without the port, the download goes on all the same; 0: not at all."""
    server = _listening(progress, port) if port else None
    if server is None:
        yield
        return
    thread = threading.Thread(target=server.serve_forever, args=[NOTICED], daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _listening(progress: Progress, port: int) -> HTTPServer | None:
    handler = type("Handler", (_Handler,), {"progress": progress})
    server = _Server(("", port), handler, bind_and_activate=False)
    try:
        server.socket.close()
        server.socket = _socket(port)
    except OSError as error:
        progress.says(f"Progress isn't served: port {port} can't be used ({error}).")
        server.server_close()
        return None
    return server


def _socket(port: int) -> socket.socket:
    """For IPv6 and IPv4, as far as the pod has them."""
    if socket.has_dualstack_ipv6():
        with contextlib.suppress(OSError):
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", port))


class _Server(HTTPServer):
    def finish_request(self, request: Any, client_address: Any) -> None:
        """Ends the request after a moment, also if its client goes on sending a byte now and then."""
        deadline = threading.Timer(WITHIN, _end, [request])
        deadline.daemon = True
        deadline.start()
        try:
            super().finish_request(request, client_address)
        finally:
            deadline.cancel()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no news."""


def _end(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    progress: Progress
    timeout = WITHIN

    def do_GET(self) -> None:
        match self.path:
            case "/info":
                self._respond(200, "application/json", json.dumps(self.progress.info()))
            case "/metrics":
                self._respond(200, "text/plain; version=0.0.4", metrics(self.progress.state()))
            case _:
                self._respond(404, "text/plain", "There are /info and /metrics.\n")

    def _respond(self, status: int, kind: str, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Not logged: the log is lines of JSON."""


def metrics(state: dict[str, Any]) -> str:
    lines = []
    for name, (field, what) in METRICS.items():
        if state[field] is not None:
            lines += [f"# HELP {name} {what}", f"# TYPE {name} gauge", f"{name} {state[field]}"]
    return "\n".join(lines) + "\n"
