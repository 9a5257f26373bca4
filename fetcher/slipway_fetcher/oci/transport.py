# Generated from runtime-image/slipway_runtime/oci/transport.py by `make generate`; do not edit.
"""One HTTP request to a registry: a connection, a body that is streamed, and a response of limited size."""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from slipway_fetcher.oci.problem import RegistryError

LONGEST_RESPONSE = 1 << 20  # bytes that are read of any response
STALLED_AFTER = 60.0  # seconds without a byte
FINISHED_WITHIN = 300.0  # a registry checks the digest of a large blob before it responds


@dataclass(frozen=True)
class Body:
    """What a request sends: of a known size, and again from the start if it must be repeated."""

    size: int
    read: Callable[[], Iterator[bytes]]

    @classmethod
    def of(cls, content: bytes) -> Body:
        return cls(len(content), lambda: iter((content,)))


EMPTY = Body.of(b"")


@dataclass(frozen=True)
class Response:
    status: int
    headers: http.client.HTTPMessage
    content: bytes

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300


class ConnectionFailedError(Exception):
    """The connection broke, or there was none; the request can be sent again."""


@dataclass(frozen=True)
class Origin:
    """Where a request goes; credentials never go to another one."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> Origin:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise _bad_url(url) from error
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise _bad_url(url)
        return cls(parts.scheme, parts.hostname, port or (443 if parts.scheme == "https" else 80))


class Transport:
    """`authority`: a file with certificates that are trusted besides the system's."""

    def __init__(self, authority: Path | None = None, *, stalled_after: float = STALLED_AFTER) -> None:
        self._stalled_after = stalled_after
        self._tls = _tls(authority)

    def send(self, method: str, url: str, headers: Mapping[str, str], body: Body = EMPTY) -> Response:
        """Follows no redirect, and repeats nothing."""
        origin = Origin.of(url)
        connection = self._connection(origin)
        try:
            try:
                connection.connect()
            except OSError as error:
                raise _unreachable(error, origin) from error
            return self._exchange(connection, method, url, headers, body)
        finally:
            connection.close()

    def _connection(self, origin: Origin) -> http.client.HTTPConnection:
        if origin.scheme == "https":
            return http.client.HTTPSConnection(origin.host, origin.port, timeout=self._stalled_after, context=self._tls)
        return http.client.HTTPConnection(origin.host, origin.port, timeout=self._stalled_after)

    def _exchange(
        self, connection: http.client.HTTPConnection, method: str, url: str, headers: Mapping[str, str], body: Body
    ) -> Response:
        parts = urlsplit(url)
        try:
            connection.putrequest(method, f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}")
            for name, value in headers.items():
                connection.putheader(name, value)
            if method not in ("GET", "HEAD"):
                connection.putheader("Content-Length", str(body.size))
            connection.endheaders()
            broken = _send(connection, body)
            if connection.sock:
                connection.sock.settimeout(FINISHED_WITHIN if not broken else self._stalled_after)
            response = connection.getresponse()
            return Response(response.status, response.headers, response.read(LONGEST_RESPONSE))
        except (OSError, http.client.HTTPException, ValueError) as error:
            what = "timed out" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
            raise ConnectionFailedError(f"the connection to {parts.netloc} broke: {what}") from error


def _send(connection: http.client.HTTPConnection, body: Body) -> bool:
    """Returns whether the server has stopped reading: its response may say why, such as 413."""
    try:
        for piece in body.read():
            connection.send(piece)
    except (BrokenPipeError, ConnectionResetError, ssl.SSLEOFError):
        return True
    return False


def is_loopback(host: str) -> bool:
    """Whether a host, without its port, is this machine: that may use HTTP without being asked to."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _tls(authority: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if authority is None:
        return context
    try:
        context.load_verify_locations(cafile=str(authority))
    except (OSError, ssl.SSLError) as error:
        raise RegistryError(
            f"{authority} has no valid certificates in PEM format.", "Correct `ca.crt` of the Secret."
        ) from error
    return context


def _unreachable(error: OSError, origin: Origin) -> Exception:
    where = f"{origin.host}:{origin.port}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return RegistryError(
            f"The certificate of the registry {where} is not trusted: {error.verify_message}.",
            "Put the certificate of its authority into the Secret, as `ca.crt`.",
        )
    if isinstance(error, ssl.SSLError):
        return RegistryError(
            f"The registry {where} doesn't speak TLS: {error.reason or error}.",
            "Correct the host and the port; a registry with HTTP alone needs `--push-plain-http`.",
        )
    if isinstance(error, socket.gaierror) and error.errno != socket.EAI_AGAIN:
        return RegistryError(
            f"The registry's host {origin.host} can't be resolved: {error.strerror}.", "Correct the name of the image."
        )
    what = "it timed out" if isinstance(error, TimeoutError) else error.strerror or str(error)
    return ConnectionFailedError(f"no connection to {where}: {what}")


def _bad_url(url: str) -> RegistryError:
    return RegistryError(f"The registry refers to {url[:200]!r}, which is not a URL.", "Check its configuration.")
