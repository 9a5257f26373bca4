"""Bytes in, events out: a head, pieces of its body, its end. Pure; httptools (llhttp) does the reading.

llhttp refuses most of what smuggling is made of: two lengths, folded headers, lone line feeds, odd chunk sizes. What it
leaves open is closed in `heads`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus

import httptools

from .heads import (
    MOST_HEADERS,
    AnswerHead,
    Headers,
    MalformedError,
    RequestHead,
    request_head,
    values,
    written,
)

LONGEST_HEAD = 32 * 1024


@dataclass(frozen=True)
class End:
    """The body is complete."""

    trailers: Headers


Event = RequestHead | AnswerHead | bytes | End | MalformedError


class _Parser:
    """What both directions share. httptools calls the `on_…` methods; they only collect."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._pieces: list[bytes] = []
        self._headers: Headers = []
        self._head_size = 0
        self._in_body = False
        self._broken = False

    def feed(self, data: bytes) -> list[Event]:
        """The events of these bytes. The last may be a MalformedError; after it, nothing is read any more."""
        if not self._broken:
            self._read(data)
            self._end_of_piece()
            if not self._in_body:
                self._head_size += len(data)
                if self._head_size > LONGEST_HEAD:
                    self._fail(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "The headers are too large.")
        events, self._events = self._events, []
        return events

    def _read(self, data: bytes) -> None:
        raise NotImplementedError

    def on_message_begin(self) -> None:
        self._headers = []
        self._head_size = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value.strip(b" \t")))
        self._head_size += len(name) + len(value)
        if len(self._headers) > MOST_HEADERS or self._head_size > LONGEST_HEAD:
            self._fail(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "There are too many headers, or they are too large.")

    def on_body(self, data: bytes) -> None:
        if data:
            self._pieces.append(data)

    def on_message_complete(self) -> None:
        self._end_of_piece()
        self._in_body = False
        self._emit(End(self._headers))

    def _start_body(self, head: RequestHead | AnswerHead) -> None:
        self._emit(head)
        self._in_body = True
        self._headers = []
        self._head_size = 0

    def _end_of_piece(self) -> None:
        """Small chunks that came together go on together."""
        if self._pieces:
            self._emit(b"".join(self._pieces))
            self._pieces = []

    def _fail(self, status: HTTPStatus, message: str) -> None:
        self._emit(MalformedError(status, message))
        self._broken = True

    def _emit(self, event: Event) -> None:
        if not self._broken:
            self._events.append(event)


class RequestParser(_Parser):
    def __init__(self) -> None:
        super().__init__()
        self._target = b""
        self._parser = httptools.HttpRequestParser(self)
        self._upgrade: bytes | None = None

    def _read(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._read_on(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            self._end_of_piece()
            self._fail(HTTPStatus.BAD_REQUEST, f"This isn't HTTP/1.1: {error}.")

    def _read_on(self, rest: bytes) -> None:
        """The client would like another protocol, which it need not get: its request is read as if it had not asked."""
        head, self._upgrade = self._upgrade, None
        self._parser = httptools.HttpRequestParser(self)
        if head and not self._broken:
            self._read(head + rest)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._target = b""

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_headers_complete(self) -> None:
        parser = self._parser
        method = parser.get_method()
        if parser.should_upgrade() and method != b"CONNECT":
            headers = ((name, value) for name, value in self._headers if name != b"upgrade")
            version = parser.get_http_version().encode()
            self._upgrade = written(b"%b %b HTTP/%b" % (method, self._target, version), headers)
            return
        try:
            head = request_head(
                method,
                self._target,
                parser.get_http_version(),
                self._headers,
                keep_alive=parser.should_keep_alive(),
            )
        except MalformedError as malformed:
            self._fail(malformed.status, malformed.message)
        else:
            self._start_body(head)

    def on_message_complete(self) -> None:
        if self._upgrade is None:
            super().on_message_complete()


class AnswerParser(_Parser):
    """Reads the answers on one connection; `expect` says what each is the answer to."""

    def __init__(self) -> None:
        super().__init__()
        self._phrase = b""
        self._parser = httptools.HttpResponseParser(self)
        self._until_end = False
        self._to_head = False
        self._is_interim = False
        self._complete = True

    def expect(self, method: bytes) -> None:
        self._to_head = method == b"HEAD"
        self._complete = False

    def eof(self) -> Iterator[Event]:
        """The connection has ended, which is how some answers end."""
        if self._until_end and not self._complete and not self._broken:
            self._complete = True
            yield End([])

    def _read(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserUpgrade, httptools.HttpParserError) as error:
            self._end_of_piece()
            self._fail(HTTPStatus.BAD_GATEWAY, f"The replica's answer isn't HTTP/1.1: {error}.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._phrase = b""
        if self._complete:
            self._fail(HTTPStatus.BAD_GATEWAY, "The replica has said more than it was asked.")

    def on_status(self, phrase: bytes) -> None:
        self._phrase += phrase

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        self._is_interim = 100 <= status < 200
        if self._is_interim:
            return
        codings = [coding.lower() for coding in values(self._headers, b"transfer-encoding")]
        if codings not in ([], [b"chunked"]):
            self._fail(HTTPStatus.BAD_GATEWAY, "The replica's answer has a Transfer-Encoding that isn't known.")
        lengths = values(self._headers, b"content-length")
        without_body = self._to_head or status in (204, 304)
        self._until_end = not (codings or lengths or without_body)
        keep_alive = self._parser.should_keep_alive() and not self._until_end and not self._to_head
        length = 0 if without_body else int(lengths[0]) if lengths and not codings else None
        self._start_body(AnswerHead(status, self._phrase, self._headers, length, keep_alive=keep_alive))
        if self._to_head:  # whatever length it names, nothing follows
            self._finish()

    def on_message_complete(self) -> None:
        if not self._is_interim and not self._complete:
            self._finish()

    def _finish(self) -> None:
        super().on_message_complete()
        self._complete = True
