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
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway_cli.cluster.kubectl import ApiError, Kubectl

HOST = "localhost"  # kubectl proxy refuses others
STARTED = re.compile(r"Starting to serve on (.+)")
LONGEST = 1 << 24  # bytes of an answer that is no stream, or of a line of one


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
            while line := self._response.readline(LONGEST):
                if len(line) == LONGEST:
                    raise Dropped(f"it sent a line of {LONGEST >> 20} MiB or more")
                yield line.decode("utf-8", "replace").rstrip("\r\n")
        except (OSError, http.client.HTTPException) as error:
            raise Dropped(str(error) or type(error).__name__) from None

    def text(self, most: int = LONGEST) -> str:
        """`most`: bytes."""
        try:
            found = self._response.read(most + 1)
        except (OSError, http.client.HTTPException) as error:
            raise Dropped(str(error) or type(error).__name__) from None
        if len(found) > most:
            raise Dropped(f"it sent more than {most >> 20} MiB")
        if self._response.length:
            raise Dropped(f"{self._response.length} bytes of its answer are missing")
        return found.decode("utf-8", "replace")

    def close(self) -> None:
        self._response.close()  # it holds the connection, too
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


class _Hurried(socket.socket):
    """What it receives must be there within some seconds, all together. A socket's own timeout is for the silence
    between two bytes, which a server can repeat for ever."""

    def __init__(self, connected: socket.socket, seconds: float) -> None:
        kind = (connected.family, connected.type, connected.proto)
        super().__init__(*kind, fileno=connected.detach())
        self.settimeout(seconds)
        self._seconds, self._until = seconds, time.monotonic() + seconds

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        left = self._until - time.monotonic()
        try:
            if left > 0:
                self.settimeout(left)
                return super().recv_into(buffer, nbytes, flags)
        except TimeoutError:
            pass
        raise TimeoutError(f"no complete answer within {self._seconds:g} s")


class ApiProxy:
    """The API server, while `kubectl proxy` runs. `seconds`: in which a whole answer must have come; None: any."""

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
            connection.connect()
            if self._seconds is not None:
                connection.sock = _Hurried(connection.sock, self._seconds)
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
def proxied(kubectl: Kubectl, accepted: str, seconds: float | None = None) -> Iterator[ApiProxy]:
    """`accepted`: the only paths, as a regular expression."""
    folder = Path(tempfile.mkdtemp(prefix="kubectl-llm-"))
    on_socket = hasattr(socket, "AF_UNIX") and os.name == "posix"
    where = f"--unix-socket={folder / 'api'}" if on_socket else "--port=0"
    try:
        with kubectl.lines("proxy", where, f"--accept-paths={accepted}", apart=True) as lines:
            first = next(lines, "").strip()
            started = STARTED.match(first)
            if started is None:
                raise ApiError("Unknown", f"kubectl proxy didn't start: {first or 'it wrote nothing'}.")
            yield ApiProxy(started[1], seconds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
