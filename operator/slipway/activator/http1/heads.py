"""The heads of requests and responses: which are accepted, and which headers are passed on. Pure.

Messages are never passed on as they arrived: each is parsed, checked, and written again with exactly one length. So two
readers of it can't disagree about where it ends, on which request smuggling depends.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import NamedTuple

Headers = list[tuple[bytes, bytes]]  # names in lower case

_HOP_BY_HOP = frozenset(b"connection keep-alive proxy-connection te transfer-encoding upgrade".split()) | frozenset(
    b"proxy-authenticate proxy-authorization".split()
)
_OURS = frozenset((b"content-length", b"host", b"expect"))  # decided here, even if `Connection` names them
_OF_HEADS_ALONE = frozenset(b"trailer content-type content-encoding authorization x-api-key api-key cookie".split())
_NOT_IN_TRAILERS = _HOP_BY_HOP | _OURS | _OF_HEADS_ALONE
_NOT_PASSED_ON = _HOP_BY_HOP | {b"content-length", b"expect"}
_JUDGED = frozenset(b"host transfer-encoding content-length expect".split())  # of a request
_TARGET = re.compile(rb"[!-~]+")
_ABSOLUTE = re.compile(rb"https?://([^/?#@]+)([/?][^#]*)?", re.IGNORECASE)
_LENGTH = re.compile(rb"[0-9]{1,18}")
_HOST = re.compile(rb"[A-Za-z0-9\-._~%!$&'()*+,;=:\[\]]*")

_REFUSED = frozenset((b"CONNECT", b"TRACE", b"PRI", b"SOURCE"))  # tunnels, echoes, and methods of other protocols

LONGEST_TARGET = 8 * 1024
MOST_HEADERS = 100
WITHOUT_BODY = frozenset((HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED))  # whatever the head of such a response says
VIA = (b"via", b"1.1 slipway")
TWO_LENGTHS = "The length of the body is given in two ways: send either Content-Length or Transfer-Encoding."


class MalformedMessageError(Exception):
    """The message isn't accepted, and nothing after it on the connection can be trusted."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class RequestHead(NamedTuple):
    method: bytes
    target: bytes  # a path and a query; or *
    headers: Headers
    length: int | None  # of the body; None: it is chunked
    is_http10: bool = False
    expects_continue: bool = False
    keep_alive: bool = True

    def get(self, name: bytes) -> bytes | None:
        return first(self.headers, name)


class ResponseHead(NamedTuple):
    status: int
    phrase: bytes
    headers: Headers
    length: int | None  # of the body; None: chunks, or until the connection ends
    keep_alive: bool = True

    def get(self, name: bytes) -> bytes | None:
        return first(self.headers, name)


def request_head(method: bytes, target: bytes, protocol: bytes, headers: Headers, *, keep_alive: bool) -> RequestHead:
    """A request that may be passed on; MalformedMessageError for any other. llhttp accepts RTSP and ICE as well."""
    if protocol not in (b"HTTP/1.0", b"HTTP/1.1"):
        raise MalformedMessageError(
            HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "Only HTTP/1.1 and HTTP/1.0 are supported here."
        )
    if method in _REFUSED:
        raise MalformedMessageError(HTTPStatus.METHOD_NOT_ALLOWED, f"{method.decode()} is not allowed here.")
    is_http10 = protocol == b"HTTP/1.0"
    path, authority = _target(method, target)
    judged: defaultdict[bytes, list[bytes]] = defaultdict(list)
    for name, value in headers:
        if name in _JUDGED:
            judged[name].append(value)
    host = _host(judged[b"host"], is_http10=is_http10)
    headers = [(name, value) for name, value in headers if name != b"host"]
    return RequestHead(
        method=method,
        target=path,
        headers=[(b"host", host if authority is None else authority), *headers],
        length=_request_length(judged[b"transfer-encoding"], judged[b"content-length"], is_http10=is_http10),
        is_http10=is_http10,
        expects_continue=_expects_continue(judged[b"expect"]) and not is_http10,
        keep_alive=keep_alive and not is_http10,
    )


def _target(method: bytes, target: bytes) -> tuple[bytes, bytes | None]:
    """The path, and the host before it, if there is one: it counts instead of the header."""
    if len(target) > LONGEST_TARGET:
        raise MalformedMessageError(HTTPStatus.REQUEST_URI_TOO_LONG, f"The URL is longer than {LONGEST_TARGET} bytes.")
    if _TARGET.fullmatch(target) and b"#" not in target:
        if target.startswith(b"/") or (target == b"*" and method == b"OPTIONS"):
            return target, None
        if absolute := _ABSOLUTE.fullmatch(target):
            path = absolute[2] or b"/"
            return path if path.startswith(b"/") else b"/" + path, absolute[1]
    raise MalformedMessageError(HTTPStatus.BAD_REQUEST, "The URL is not valid: send a path, such as /v1/models.")


def _host(hosts: Sequence[bytes], *, is_http10: bool) -> bytes:
    if len(hosts) > 1 or not (hosts or is_http10) or (hosts and not _HOST.fullmatch(hosts[0])):
        raise MalformedMessageError(
            HTTPStatus.BAD_REQUEST, "A request must have exactly one Host header, with the name of a host."
        )
    return hosts[0] if hosts else b"slipway"


def _request_length(codings: Sequence[bytes], lengths: Sequence[bytes], *, is_http10: bool) -> int | None:
    """None for chunks. A length that could be read in two ways is refused."""
    if codings:
        if is_http10 or lengths:
            raise MalformedMessageError(
                HTTPStatus.BAD_REQUEST,
                TWO_LENGTHS,
            )
        if [coding.lower() for coding in codings] != [b"chunked"]:
            raise MalformedMessageError(
                HTTPStatus.NOT_IMPLEMENTED, "The only Transfer-Encoding that is supported here is chunked."
            )
        return None
    if len(lengths) > 1 or (lengths and not _LENGTH.fullmatch(lengths[0])):
        raise MalformedMessageError(HTTPStatus.BAD_REQUEST, "Content-Length must be one number.")
    return int(lengths[0]) if lengths else 0


def _expects_continue(named: Sequence[bytes]) -> bool:
    expected = [each.lower() for each in named]
    if expected not in ([], [b"100-continue"]):
        raise MalformedMessageError(
            HTTPStatus.EXPECTATION_FAILED, "The only expectation that is supported here is 100-continue."
        )
    return bool(expected)


def first(headers: Headers, name: bytes) -> bytes | None:
    for key, value in headers:
        if key == name:
            return value
    return None


def values(headers: Headers, name: bytes) -> list[bytes]:
    return [value for key, value in headers if key == name]


def end_to_end(headers: Headers) -> Headers:
    """Without the length, and without headers that are only meant for us, by name or because `Connection` names
    them."""
    dropped = _NOT_PASSED_ON
    if connections := values(headers, b"connection"):
        named = b",".join(connections).lower().split(b",")
        dropped = dropped | {name.strip() for name in named} - {b"host"}
    return [header for header in headers if header[0] not in dropped]


def trailers(headers: Headers) -> Headers:
    """Those that may follow a body: none that would change how it is parsed."""
    return [(name, value) for name, value in headers if name not in _NOT_IN_TRAILERS]


def framed(headers: Iterable[tuple[bytes, bytes]], length: int | None) -> Headers:
    """With exactly one length; None for chunks."""
    framing = (b"transfer-encoding", b"chunked") if length is None else (b"content-length", b"%d" % length)
    return [*headers, framing]


def written(first_line: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    lines = [b"%b: %b\r\n" % header for header in headers]
    return b"%b\r\n%b\r\n" % (first_line, b"".join(lines))


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def last_chunk(headers: Headers) -> bytes:
    return written(b"0", headers)
