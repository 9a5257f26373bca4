"""Bytes in, events out: a head, pieces of its body, its end. Pure; httptools (llhttp) does the parsing.

llhttp refuses most of what request smuggling needs: two lengths, folded headers, lone line feeds, odd chunk sizes.
`heads` refuses the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import IntEnum, auto
from http import HTTPStatus
from typing import NamedTuple

import httptools

from slipway.activator.http1.heads import (
    MOST_HEADERS,
    TWO_LENGTHS,
    WITHOUT_BODY,
    Headers,
    MalformedMessageError,
    RequestHead,
    ResponseHead,
    request_head,
    values,
    written,
)

LONGEST_HEAD = 32 * 1024
"""Bytes of a head, of the trailers, and of the line before a chunk; each is counted on its own."""
TOO_MANY_HEADERS = (
    f"The headers are too many or too long: at most {MOST_HEADERS} and {LONGEST_HEAD >> 10} KiB are accepted."
)
MOST_LINES = MOST_HEADERS + 8  # of a head, including its first and last one, and empty ones before it
MOST_SEGMENTS = 128
"""Lines, chunks and pieces of a body that are parsed in one go: less than a millisecond."""
SHORT_BODY = 4 * 1024  # bytes of one that is parsed together with its head, if it has been received
WORK_OF_A_REQUEST = 128  # to handle one takes as long as to parse so many segments

_UNUSED_REQUEST_PARSER, _UNUSED_RESPONSE_PARSER = httptools.HttpRequestParser(None), httptools.HttpResponseParser(None)

_CHUNK = re.compile(rb"([0-9a-fA-F]{1,8})\r\n")


class MessageEnd(NamedTuple):
    """The body is complete."""

    trailers: Headers


HttpEvent = RequestHead | ResponseHead | bytes | MessageEnd | MalformedMessageError


class _Section(IntEnum):
    """What the next bytes belong to."""

    HEAD = auto()
    BODY = auto()  # of a known length
    SIZE = auto()  # the line before a chunk
    CHUNK = auto()
    TRAILERS = auto()
    ALL = auto()  # until the connection ends


_CHUNKED = (_Section.SIZE, _Section.CHUNK)
_LINES = (_Section.HEAD, _Section.SIZE, _Section.TRAILERS)


class _MessageParser:
    """What requests and responses have in common.

    llhttp gets one segment after the other: a line, or as much of a body as there is. So nothing is parsed beyond the
    end of a message, and of each byte it is known whether it belongs to a head or to a body. httptools calls the `on_…`
    methods, which only collect.
    """

    def __init__(self) -> None:
        self._raw = b""
        self._at = 0  # bytes of it that are parsed
        self._events: list[HttpEvent] = []
        self._pieces: list[bytes] = []
        self._headers: Headers = []
        self._next = _Section.HEAD
        self._left = 0  # bytes of the body, or of the chunk
        self._size = 0  # bytes and lines of the head, of the trailers, or of the line before a chunk
        self._lines = 0
        self._line = b""  # that has started
        self._first_line = b""  # of the head
        self._is_done = False  # a message is complete, and the next one hasn't been requested
        self._broken = False
        self._is_released = False
        self.work = 0  # segments that the last call of `events` parsed

    @property
    def unparsed(self) -> int:
        """Bytes that were received and are not parsed."""
        return len(self._raw) - self._at

    @property
    def has_started_head(self) -> bool:
        """A part of one was received, and not all of it."""
        return self._next is _Section.HEAD and bool(self._size or self.unparsed)

    def take(self, data: bytes) -> None:
        """To be parsed by `events`."""
        if not (self._broken or self._is_released):
            self._raw = self._raw[self._at :] + data if self._at < len(self._raw) else data
            self._at = 0

    def events(self) -> list[HttpEvent]:
        """Parses some more of one message; empty if more bytes are needed, or some more must be parsed.

        After the MessageEnd of a message, nothing follows before the next call. The last event of all may be a
        MalformedMessageError.
        """
        self._is_done, self.work = False, 0
        while self._at < len(self._raw) and self.work < MOST_SEGMENTS and not (self._is_done or self._broken):
            self._parse()
        if self._next is _Section.BODY and 0 < self._left <= min(SHORT_BODY, len(self._raw) - self._at):
            self._parse()
        self._end_of_piece()
        events, self._events = self._events, []
        return events

    def release(self) -> None:
        """Nothing more will be parsed. llhttp's parser and this one refer to each other, so without this call only the
        garbage collector would free them."""
        self._is_released = True
        self._raw, self._at = b"", 0

    def feed(self, data: bytes) -> list[HttpEvent]:
        """All events of these bytes."""
        self.take(data)
        events = self.events()
        while self.unparsed:
            events += self.events()
        return events

    def _parse(self) -> None:
        """The next segment; or an entire head or several chunks in one go, which is quicker."""
        if self._next is _Section.HEAD and not self._size and not self._line and self._gives_entire_head():
            return
        self.work += 1
        was = self._next
        if was is _Section.BODY and self._left:
            end = min(self._at + self._left, len(self._raw))
            self._left -= end - self._at
            self._give(end)
            return
        end = self._end_of_chunks() if was in _CHUNKED else self._at
        if end > self._at:
            self._give(end)
            return
        end += self._length()
        if end == self._at:  # llhttp waits for a body where there is none
            self._fail(
                HTTPStatus.BAD_REQUEST,
                TWO_LENGTHS,
            )
            return
        length = end - self._at
        if was in _LINES:
            self._line += self._raw[self._at : end]
            self._give(end)
            self._after_line(was, length)
        else:
            self._left -= length
            self._give(end)
            if was is _Section.CHUNK and not self._left:
                self._next = _Section.SIZE

    def _gives_entire_head(self) -> bool:
        """A head that has been received, if its lines are such that no parser could see its end elsewhere."""
        raw, at = self._raw, self._at
        end = raw.find(b"\r\n\r\n", at) + 4
        length, lines = end - at, raw.count(b"\n", at, end)
        if not 4 < length < LONGEST_HEAD or lines > MOST_LINES or lines > MOST_SEGMENTS - self.work:
            return False
        first_line = raw[at : raw.find(b"\n", at)].strip()
        if not first_line or raw.count(b"\r\n", at, end) != lines:
            return False
        self.work += lines
        self._first_line = first_line
        self._give(end)
        if self._next is _Section.HEAD and not self._is_done:  # llhttp takes more as a part of it
            self._size, self._lines = length, lines
        return True

    def _give(self, end: int) -> None:
        """Gives llhttp the bytes up to there."""
        segment = memoryview(self._raw)[self._at : end]
        self._at = end
        self._read(segment)

    def _end_of_chunks(self) -> int:
        """Where the chunks end that have been received, except for the last one; only plain ones are handled here."""
        end = self._at
        while self.work < MOST_SEGMENTS:
            if self._next is _Section.CHUNK:
                step = min(self._left, len(self._raw) - end)
                end, self._left = end + step, self._left - step
                if self._left:
                    break
                self._next = _Section.SIZE
            if self._next is not _Section.SIZE or self._line or not (found := _CHUNK.match(self._raw, end)):
                break
            if not (size := int(found[1], 16)):
                break
            self.work += 1
            end = found.end()
            self._start_chunk(size)
        return end

    def _length(self) -> int:
        """Of the next segment."""
        if self._next is _Section.ALL:
            return self.unparsed
        if self._next not in _LINES:
            return min(self._left, self.unparsed)
        line_end = self._raw.find(b"\n", self._at) + 1 or len(self._raw)
        return min(line_end - self._at, LONGEST_HEAD - self._size)

    def _after_line(self, part: _Section, length: int) -> None:
        """Or after a part of one."""
        line, is_complete = self._line, self._line.endswith(b"\n")
        if is_complete:
            self._line = b""
            self._first_line = self._first_line or line.strip()
            if part is _Section.SIZE and not self._broken:
                self._start_chunk(int(line.partition(b";")[0], 16))
        if self._next is part and not self._is_done:
            self._size += length
            self._lines += is_complete
            if self._size >= LONGEST_HEAD or self._lines > MOST_LINES:
                self._fail(
                    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
                    TOO_MANY_HEADERS,
                )

    def _start_chunk(self, size: int) -> None:
        self._next = _Section.CHUNK if size else _Section.TRAILERS
        self._left = size + 2  # and the end of its line
        self._size = self._lines = 0

    def _read(self, data: memoryview | bytes) -> None:
        raise NotImplementedError

    def on_message_begin(self) -> None:
        self._headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value.strip(b" \t")))
        if len(self._headers) > MOST_HEADERS:
            self._fail(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
                TOO_MANY_HEADERS,
            )

    def on_body(self, data: bytes) -> None:
        if data:
            self._pieces.append(data)

    def on_message_complete(self) -> None:
        self._end_of_piece()
        self._emit(MessageEnd(self._headers))
        self._is_done = True
        self._next = _Section.HEAD
        self._size = self._lines = 0
        self._first_line = b""

    def _start_body(self, head: RequestHead | ResponseHead, *, until_end: bool = False) -> None:
        self._emit(head)
        self._next = _Section.ALL if until_end else _Section.SIZE if head.length is None else _Section.BODY
        self._left = head.length or 0
        self._size = self._lines = 0
        self._headers = []

    def _end_of_piece(self) -> None:
        """Small chunks that arrived together are passed on together."""
        if self._pieces:
            self._emit(b"".join(self._pieces))
            self._pieces = []

    def _fail(self, status: HTTPStatus, message: str) -> None:
        self._emit(MalformedMessageError(status, message))
        self._broken = True
        self._raw, self._at = b"", 0

    def _emit(self, event: HttpEvent) -> None:
        if not self._broken:
            self._events.append(event)


class RequestParser(_MessageParser):
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
            self._end_of_piece()
            self._fail(HTTPStatus.BAD_REQUEST, f"The request isn't valid HTTP/1.1: {error}.")

    def release(self) -> None:
        super().release()
        self._parser = _UNUSED_REQUEST_PARSER

    def _read_on(self, rest: bytes) -> None:
        """The client offers another protocol. That may be ignored, so its request is parsed without the offer."""
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
                self._first_line.rpartition(b" ")[2],
                self._headers,
                keep_alive=parser.should_keep_alive(),
            )
        except MalformedMessageError as malformed:
            self._fail(malformed.status, malformed.message)
        else:
            self._start_body(head)
            self.work += WORK_OF_A_REQUEST

    def on_message_complete(self) -> None:
        if self._upgrade is None:
            super().on_message_complete()


class ResponseParser(_MessageParser):
    """Parses the responses on one connection; `expect` names the method of the request that each belongs to."""

    def __init__(self) -> None:
        super().__init__()
        self._phrase = b""
        self._parser = httptools.HttpResponseParser(self)
        self._until_end = False
        self._to_head_request = False
        self._is_interim = False
        self._complete = True

    def expect(self, method: bytes) -> None:
        self._to_head_request = method == b"HEAD"
        self._complete = False

    def eof(self) -> Iterator[HttpEvent]:
        """The connection has ended, which is how some responses end."""
        if self._until_end and not self._complete and not self._broken:
            self._complete = True
            yield MessageEnd([])

    def _read(self, data: memoryview | bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserUpgrade, httptools.HttpParserError) as error:
            self._end_of_piece()
            self._fail(HTTPStatus.BAD_GATEWAY, f"The replica's response isn't valid HTTP/1.1: {error}.")

    def release(self) -> None:
        super().release()
        self._parser = _UNUSED_RESPONSE_PARSER

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._phrase = b""
        if self._complete:
            self._fail(HTTPStatus.BAD_GATEWAY, "The replica sent a response without a request.")

    def on_status(self, phrase: bytes) -> None:
        self._phrase += phrase

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if not self._first_line.startswith(b"HTTP/"):  # llhttp also accepts RTSP and ICE
            self._fail(HTTPStatus.BAD_GATEWAY, "The replica's response isn't valid HTTP/1.1.")
        self._is_interim = 100 <= status < 200
        if self._is_interim:
            self._first_line = b""
            return
        codings = [coding.lower() for coding in values(self._headers, b"transfer-encoding")]
        if codings not in ([], [b"chunked"]):
            self._fail(HTTPStatus.BAD_GATEWAY, "The replica's response has a Transfer-Encoding that isn't supported.")
        lengths = values(self._headers, b"content-length")
        without_body = self._to_head_request or status in WITHOUT_BODY
        self._until_end = not (codings or lengths or without_body)
        keep_alive = self._parser.should_keep_alive() and not self._until_end and not self._to_head_request
        length = 0 if without_body else int(lengths[0]) if lengths and not codings else None
        head = ResponseHead(status, self._phrase, self._headers, length, keep_alive=keep_alive)
        self._start_body(head, until_end=self._until_end)
        if self._to_head_request:  # whatever length it names, no body follows
            self._finish()

    def on_message_complete(self) -> None:
        if not self._is_interim and not self._complete:
            self._finish()

    def _finish(self) -> None:
        super().on_message_complete()
        self._complete = True
