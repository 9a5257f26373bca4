"""Sends one request, and follows redirects. What may be over soon is a TemporaryError; other responses are returned."""

from __future__ import annotations

import email.utils
import ssl
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3.exceptions import HTTPError

from slipway_fetcher.problem import FetchError, Reason, TemporaryError
from slipway_fetcher.web.call import Call, shown
from slipway_fetcher.web.gates import Gates

CONNECT_WITHIN, SILENT_FOR = 15.0, 60.0  # seconds
REDIRECTS = (301, 302, 303, 307, 308)
MOST_REDIRECTS = 8
BUSY = (429, 503)
BROKEN = (408, 425, 500, 502, 504)
LONGEST_WAIT = 24 * 3600.0  # seconds; a Retry-After that is longer is taken as this
USER_AGENT = "slipway-fetcher"


class Response:
    """The head of a response, and its body in pieces. `call` is the request that was answered, after all redirects."""

    def __init__(self, call: Call, raw: urllib3.BaseHTTPResponse) -> None:
        self.call, self._raw, self.status = call, raw, raw.status
        self.headers: Mapping[str, str] = raw.headers

    def read(self, most: int) -> bytes:
        """The next bytes; none at the end of the body."""
        try:
            return self._raw.read(most, decode_content=False)
        except (HTTPError, OSError) as error:
            raise TemporaryError(f"the connection to {self.call.origin} broke: {_what(error)}") from error

    def __enter__(self) -> Response:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """A connection whose body was read is used again; any other is closed."""
        if kind is None and self._raw.length_remaining in (0, None):
            self._raw.release_conn()
        else:
            self.close()

    def close(self) -> None:
        self._raw.close()


class Client:
    """All connections of this program. Safe for threads."""

    def __init__(
        self, gates: Gates, *, authority: Path | None = None, connections: int = 8, silent_for: float = SILENT_FOR
    ) -> None:
        self.gates = gates
        self._options: dict[str, Any] = {
            "maxsize": connections,
            "block": False,
            "retries": False,
            "timeout": urllib3.Timeout(connect=CONNECT_WITHIN, read=silent_for),
            "ssl_context": _tls(authority),
        }
        self._pools: dict[str, urllib3.PoolManager] = {}

    def send(self, call: Call) -> Response:
        for _ in range(MOST_REDIRECTS):
            response = self._send_once(call)
            target = response.headers.get("Location", "")
            if response.status not in REDIRECTS or not target:
                return response
            with response:
                response.read(1 << 16)
            call = _redirected(call, urljoin(call.url, target))
        raise FetchError(
            Reason.FAILED,
            f"{shown(call.url)} redirects in a circle.",
            "Check the server's or the mirror's configuration.",
        )

    def _send_once(self, call: Call) -> Response:
        is_probe = self.gates.enter(call.origin)
        try:
            response = Response(call, self._opened(call))
        except BaseException:
            if is_probe:
                self.gates.unknown(call.origin)
            raise
        if response.status in BUSY:
            response.close()
            pause = self.gates.busy(call.origin, retry_after(response.headers), is_probe=is_probe)
            raise TemporaryError(
                f"{call.origin} responds with HTTP {response.status}, and gets no request for {pause:,.0f} s"
            )
        if is_probe:
            self.gates.free(call.origin)
        if response.status in BROKEN:
            response.close()
            raise TemporaryError(f"{shown(call.url)} responds with HTTP {response.status}")
        return response

    def _opened(self, call: Call) -> urllib3.BaseHTTPResponse:
        headers = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity", **call.headers}
        if call.authorize:
            headers |= call.authorize(call.method, call.url, headers)
        try:
            return self._pool(call.url).urlopen(
                call.method, call.url, headers=headers, body=call.body, redirect=False, preload_content=False
            )
        except (HTTPError, OSError) as error:
            raise _failure(error, call) from error

    def _pool(self, url: str) -> urllib3.PoolManager:
        parts = urlsplit(url)
        proxy = "" if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme, "")
        if proxy not in self._pools:
            made = urllib3.ProxyManager(proxy, **self._options) if proxy else urllib3.PoolManager(**self._options)
            self._pools.setdefault(proxy, made)
        return self._pools[proxy]


def _redirected(call: Call, url: str) -> Call:
    before, after = urlsplit(call.url), urlsplit(url)
    if (
        after.scheme not in ("http", "https")
        or not after.hostname
        or (before.scheme, after.scheme) == ("https", "http")
    ):
        raise FetchError(
            Reason.FAILED,
            f"{shown(call.url)} redirects to {shown(url)}, which isn't encrypted.",
            "Correct the server, so that it redirects to https:// only.",
        )
    return call.at(url)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds; the header has a number or a date."""
    text = headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return min(float(text[:9]), LONGEST_WAIT)
    try:
        return min(max(email.utils.parsedate_to_datetime(text).timestamp() - time.time(), 0.0), LONGEST_WAIT)
    except (ValueError, TypeError):
        return None


def _tls(authority: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if authority:
        try:
            context.load_verify_locations(cafile=str(authority))
        except (OSError, ssl.SSLError) as error:
            raise FetchError(
                Reason.INVALID,
                f"{authority} has no valid certificates in PEM format.",
                "Correct `ca.crt` of the Secret, or remove it.",
            ) from error
    return context


def _failure(error: Exception, call: Call) -> Exception:
    """What can't heal is final: a certificate that isn't trusted. A name that doesn't resolve may do so later."""
    if found := _certificate_error(error):
        return FetchError(
            Reason.FAILED,
            f"The certificate of {call.origin} is not trusted: {found.verify_message}.",
            "Put the certificate of its authority into the Secret, as `ca.crt`.",
        )
    return TemporaryError(f"no response from {call.origin}: {_what(error)}")


def _certificate_error(error: BaseException | None) -> ssl.SSLCertVerificationError | None:
    """urllib3 puts it into others."""
    while error:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error
        nested = [each for each in error.args if isinstance(each, BaseException)]
        error = nested[0] if nested else error.__cause__ or error.__context__
    return None


def _what(error: BaseException) -> str:
    """In words, without a URL: urllib3's own messages may contain a signed one."""
    if isinstance(error, (urllib3.exceptions.TimeoutError, TimeoutError)):
        return "it timed out"
    if isinstance(error, urllib3.exceptions.IncompleteRead):
        return "it ended in the middle"
    cause: BaseException | None = error
    while cause:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return type(error).__name__
