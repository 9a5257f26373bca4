"""The messages of one connection, from bytes to events: a head, pieces of its body, its end. Pure.

llhttp refuses most of what request smuggling needs: two lengths, folded headers, lone line feeds, odd chunk sizes.
`heads` refuses the rest.
"""

from __future__ import annotations

from enum import IntEnum, auto
from http import HTTPStatus

import httptools

from slipway.activator.http1.framing import MessageParser
from slipway.activator.http1.heads import (
    WITHOUT_BODY,
    MalformedMessageError,
    ResponseHead,
    request_head,
    values,
    written,
)

WORK_OF_A_REQUEST = 128  # segments that take as long to parse as one request takes to handle

_UNUSED_REQUEST_PARSER, _UNUSED_RESPONSE_PARSER = httptools.HttpRequestParser(None), httptools.HttpResponseParser(None)


class RequestParser(MessageParser):
    def __init__(self) -> None:
        super().__init__()
        self._target = b""
        self._parser = httptools.HttpRequestParser(self)
        self._upgrade: bytes | None = None

    def _read(self, data: memoryview | bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._read_on(bytes(data[upgrade.args[0] :]))
        except httptools.HttpParserError as error:
            self._fail(HTTPStatus.BAD_REQUEST, f"The request isn't valid HTTP/1.1: {error}.")

    def release(self) -> None:
        super().release()
        self._parser = _UNUSED_REQUEST_PARSER

    def _read_on(self, rest: bytes) -> None:
        """The client offers another protocol. That may be ignored, so its request is parsed without the offer."""
        head, self._upgrade = self._upgrade, None
        self._parser = httptools.HttpRequestParser(self)
        if head:
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
                self._first_line.rpartition(b" ")[2],
                self._headers,
                keep_alive=parser.should_keep_alive(),
            )
        except MalformedMessageError as malformed:
            raise self._fail(malformed.status, malformed.message) from None
        self._start_body(head)
        self.work += WORK_OF_A_REQUEST

    def on_message_complete(self) -> None:
        if self._upgrade is None:
            super().on_message_complete()


class ResponseProgress(IntEnum):
    """How far the response to the last request is."""

    UNEXPECTED = auto()  # no request is without its response
    EXPECTED = auto()  # its head hasn't been received; interim responses (1xx) may precede it
    STARTED = auto()  # its head has been received


UNEXPECTED, EXPECTED, STARTED = ResponseProgress


class ResponseParser(MessageParser):
    """Parses the responses on one connection; `expect` names the method of the request that each belongs to."""

    def __init__(self) -> None:
        super().__init__()
        self._phrase = b""
        self._parser = httptools.HttpResponseParser(self)
        self._method = b""  # of the request
        self._response = UNEXPECTED

    def expect(self, method: bytes) -> None:
        self._method = method
        self._response = EXPECTED

    def _read(self, data: memoryview | bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserUpgrade, httptools.HttpParserError) as error:
            self._fail(HTTPStatus.BAD_GATEWAY, f"The replica's response isn't valid HTTP/1.1: {error}.")

    def release(self) -> None:
        super().release()
        self._parser = _UNUSED_RESPONSE_PARSER

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._phrase = b""
        if self._response is UNEXPECTED:
            raise self._fail(HTTPStatus.BAD_GATEWAY, "The replica sent a response without a request.")

    def on_status(self, phrase: bytes) -> None:
        self._phrase += phrase

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if not self._first_line.startswith(b"HTTP/"):  # llhttp also accepts RTSP and ICE
            raise self._fail(HTTPStatus.BAD_GATEWAY, "The replica's response isn't valid HTTP/1.1.")
        if 100 <= status < 200:
            self._first_line = b""
            return
        self._response = STARTED
        to_head_request = self._method == b"HEAD"
        codings = [coding.lower() for coding in values(self._headers, b"transfer-encoding")]
        if codings not in ([], [b"chunked"]):
            raise self._fail(
                HTTPStatus.BAD_GATEWAY, "The replica's response has a Transfer-Encoding that isn't supported."
            )
        lengths = values(self._headers, b"content-length")
        without_body = to_head_request or status in WITHOUT_BODY
        until_end = not (codings or lengths or without_body)
        keep_alive = self._parser.should_keep_alive() and not until_end and not to_head_request
        length = 0 if without_body else int(lengths[0]) if lengths and not codings else None
        head = ResponseHead(status, self._phrase, self._headers, length, keep_alive=keep_alive)
        self._start_body(head, until_end=until_end)
        if to_head_request:  # whatever length it names, no body follows
            self.on_message_complete()

    def on_message_complete(self) -> None:
        if self._response is STARTED:
            self._response = UNEXPECTED
            super().on_message_complete()
