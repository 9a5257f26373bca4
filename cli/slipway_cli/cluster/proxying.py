"""HTTP requests to Services and pods, through the API server: with the user's own rights, without a route into the
cluster, and without an API client of our own.

`kubectl proxy` adds the login. It serves nothing but the given paths, on a socket in a private folder; where Python has
none, as on Windows, on a port of this machine. The API server knows the replicas of a Service, but not the activator
(Kubernetes 1.34: `no endpoints available`), so requests are not held there while there is no replica.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway_cli.cluster.kubectl import ApiError, Kubectl

HOST = "localhost"  # kubectl proxy refuses others
STARTED = re.compile(r"Starting to serve on (.+)")
LONGEST = 1 << 24  # bytes of an answer that is no stream


class Dropped(Exception):  # noqa: N818 - an answer that has ended early is not always an error
    """The connection broke before the answer was complete."""


@dataclass
class Answer:
    """The head of a response; its lines arrive as they are sent."""

    status: int
    headers: Mapping[str, str]
    _response: http.client.HTTPResponse
    _connection: http.client.HTTPConnection

    def lines(self) -> Iterator[str]:
        try:
            while line := self._response.readline():
                yield line.decode("utf-8", "replace").rstrip("\r\n")
        except (OSError, http.client.HTTPException) as error:
            raise Dropped(str(error) or type(error).__name__) from None

    def text(self) -> str:
        try:
            return self._response.read(LONGEST).decode("utf-8", "replace")
        except (OSError, http.client.HTTPException) as error:
            raise Dropped(str(error) or type(error).__name__) from None

    def close(self) -> None:
        self._connection.close()


class _Local(http.client.HTTPConnection):
    """Over a socket in a folder."""

    def __init__(self, path: str, seconds: float | None) -> None:
        super().__init__(HOST, timeout=seconds)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class ApiProxy:
    """The API server, while `kubectl proxy` runs. `seconds`: for which it may be silent; None: any."""

    def __init__(self, place: str, seconds: float | None = None) -> None:
        self._place, self._seconds = place, seconds

    def get(self, path: str) -> Answer:
        return self._sent("GET", path, None, {})

    def post(self, path: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> Answer:
        content = {"Content-Type": "application/json", "Accept": "text/event-stream, application/json", **headers}
        return self._sent("POST", path, json.dumps(body).encode(), content)

    def _sent(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Answer:
        connection = self._connection()
        try:
            connection.request(method, path, body, dict(headers))
            response = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise Dropped(str(error) or type(error).__name__) from None
        except BaseException:
            connection.close()
            raise
        return Answer(response.status, dict(response.headers), response, connection)

    def _connection(self) -> http.client.HTTPConnection:
        if self._place.startswith("/"):
            return _Local(self._place, self._seconds)
        host, _, port = self._place.rpartition(":")
        return http.client.HTTPConnection(host, int(port), timeout=self._seconds)


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """A closed terminal, or a supervisor, ends this program in order, so that no `kubectl proxy` is left."""
    found = [each for name in ("SIGTERM", "SIGHUP") if (each := getattr(signal, name, None))]
    before = {each: signal.signal(each, lambda number, _: sys.exit(128 + number)) for each in found}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


@contextlib.contextmanager
def proxied(kubectl: Kubectl, accepted: str, seconds: float | None = None) -> Iterator[ApiProxy]:
    """`accepted`: the only paths, as a regular expression."""
    folder = Path(tempfile.mkdtemp(prefix="kubectl-llm-"))
    on_socket = hasattr(socket, "AF_UNIX") and os.name == "posix"
    where = f"--unix-socket={folder / 'api'}" if on_socket else "--port=0"
    try:
        with (
            _ended_by_signals(),
            kubectl.lines("proxy", where, f"--accept-paths={accepted}", apart=True) as lines,
        ):
            first = next(lines, "").strip()
            started = STARTED.match(first)
            if started is None:
                raise ApiError("Unknown", f"kubectl proxy didn't start: {first or 'it wrote nothing'}.")
            yield ApiProxy(started[1], seconds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
