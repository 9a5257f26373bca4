"""Bytes in, events out: where in a message each byte belongs, for requests and responses alike. Pure.

httptools (llhttp) does the parsing. It gets one segment after the other: a line, or as much of a body as there is. So
nothing is parsed beyond the end of a message, and of each byte it is known whether it belongs to a head or to a body.
"""

from __future__ import annotations

import re
from enum import IntEnum, auto
from http import HTTPStatus
from typing import NamedTuple

from slipway.activator.http1.heads import (
    MOST_HEADERS,
    TWO_LENGTHS,
    Headers,
    MalformedMessageError,
    RequestHead,
    ResponseHead,
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

_CHUNK = re.compile(rb"([0-9a-fA-F]{1,8})\r\n")


class MessageEnd(NamedTuple):
    """The body is complete."""

    trailers: Headers


HttpEvent = RequestHead | ResponseHead | bytes | MessageEnd | MalformedMessageError


class MessageState(IntEnum):
    """What the next bytes are. A chunked body goes from SIZE to CHUNK and back, and with a size of 0 to TRAILERS; every
    message ends in DONE. OVER may follow any state, and nothing follows it."""

    HEAD = auto()  # the head, or empty lines before it
    BODY = auto()  # of a known length
    SIZE = auto()  # the line before a chunk
    CHUNK = auto()
    TRAILERS = auto()
    UNTIL_END = auto()  # a body that ends with the connection
    DONE = auto()  # the message is complete, and the next one hasn't been requested
    OVER = auto()  # discarded: a message was malformed, or the parser is released


HEAD, BODY, SIZE, CHUNK, TRAILERS, UNTIL_END, DONE, OVER = MessageState
"""To read a member of an enum's class takes four times as long as to read a constant (Python 3.11)."""

_CHUNKED = (SIZE, CHUNK)
_LINES = (HEAD, SIZE, TRAILERS)
_AT_REST = (DONE, OVER)


class StopParsingError(Exception):
    """Raised in a callback of llhttp: it stops, and the event that says why is already there."""


class MessageParser:
    """What requests and responses have in common. httptools calls the `on_…` methods, which only collect."""

    def __init__(self) -> None:
        self._raw = b""
        self._at = 0  # bytes of it that are parsed
        self._events: list[HttpEvent] = []
        self._pieces: list[bytes] = []
        self._headers: Headers = []
        self._state = HEAD
        self._left = 0  # bytes of the body, or of the chunk
        self._size = 0  # bytes and lines of the head, of the trailers, or of the line before a chunk
        self._lines = 0
        self._line = b""  # that has started
        self._first_line = b""  # of the head
        self.work = 0  # segments that the last call of `events` parsed

    @property
    def unparsed(self) -> int:
        """Bytes that were received and are not parsed."""
        return len(self._raw) - self._at

    @property
    def has_started_head(self) -> bool:
        """A part of one was received, and not all of it."""
        return self._state in (HEAD, DONE) and bool(self._size or self.unparsed)

    def take(self, data: bytes) -> None:
        """To be parsed by `events`."""
        if self._state is not OVER:
            self._raw = self._raw[self._at :] + data if self._at < len(self._raw) else data
            self._at = 0

    def events(self) -> list[HttpEvent]:
        """Parses some more of one message; empty if more bytes are needed, or some more must be parsed.

        After the MessageEnd of a message, nothing follows before the next call. The last event of all may be a
        MalformedMessageError.
        """
        self.work = 0
        if self._state is DONE:
            self._state = HEAD
        while self._at < len(self._raw) and self.work < MOST_SEGMENTS and self._state not in _AT_REST:
            self._parse()
        if self._state is BODY and 0 < self._left <= min(SHORT_BODY, len(self._raw) - self._at):
            self._parse()
        self._end_of_piece()
        events, self._events = self._events, []
        return events

    def eof(self) -> list[HttpEvent]:
        """The events that follow from the end of the connection, after all that was received before it is parsed."""
        return [MessageEnd([])] if self._state is UNTIL_END else []

    def release(self) -> None:
        """Nothing more will be parsed. llhttp's parser and this one refer to each other, so without this call only the
        garbage collector would free them."""
        self._state = OVER
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
        was = self._state
        if was is HEAD and not self._size and not self._line and self._gives_entire_head():
            return
        self.work += 1
        if was is BODY and self._left:
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
            self._fail(HTTPStatus.BAD_REQUEST, TWO_LENGTHS)
            return
        length = end - self._at
        if was in _LINES:
            self._line += self._raw[self._at : end]
            self._give(end)
            self._after_line(was, length)
        else:
            self._left -= length
            self._give(end)
            if self._state is CHUNK and not self._left:
                self._state = SIZE

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
        if self._state is HEAD:  # llhttp takes more as a part of it
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
            if self._state is CHUNK:
                step = min(self._left, len(self._raw) - end)
                end, self._left = end + step, self._left - step
                if self._left:
                    break
                self._state = SIZE
            if self._state is not SIZE or self._line or not (found := _CHUNK.match(self._raw, end)):
                break
            if not (size := int(found[1], 16)):
                break
            self.work += 1
            end = found.end()
            self._start_chunk(size)
        return end

    def _length(self) -> int:
        """Of the next segment."""
        if self._state is UNTIL_END:
            return self.unparsed
        if self._state not in _LINES:
            return min(self._left, self.unparsed)
        line_end = self._raw.find(b"\n", self._at) + 1 or len(self._raw)
        return min(line_end - self._at, LONGEST_HEAD - self._size)

    def _after_line(self, part: MessageState, length: int) -> None:
        """Or after a part of one."""
        line, is_complete = self._line, self._line.endswith(b"\n")
        if is_complete:
            self._line = b""
            self._first_line = self._first_line or line.strip()
            if part is SIZE and self._state is SIZE:
                self._start_chunk(int(line.partition(b";")[0], 16))
        if self._state is part:
            self._size += length
            self._lines += is_complete
            if self._size >= LONGEST_HEAD or self._lines > MOST_LINES:
                self._fail(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, TOO_MANY_HEADERS)

    def _start_chunk(self, size: int) -> None:
        self._state = CHUNK if size else TRAILERS
        self._left = size + 2  # and the end of its line
        self._size = self._lines = 0

    def _read(self, data: memoryview | bytes) -> None:
        raise NotImplementedError

    def on_message_begin(self) -> None:
        self._headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value.strip(b" \t")))
        if len(self._headers) > MOST_HEADERS:
            raise self._fail(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, TOO_MANY_HEADERS)

    def on_body(self, data: bytes) -> None:
        if data:
            self._pieces.append(data)

    def on_message_complete(self) -> None:
        self._end_of_piece()
        self._events.append(MessageEnd(self._headers))
        self._state = DONE
        self._size = self._lines = 0
        self._first_line = b""

    def _start_body(self, head: RequestHead | ResponseHead, *, until_end: bool = False) -> None:
        self._events.append(head)
        self._state = UNTIL_END if until_end else SIZE if head.length is None else BODY
        self._left = head.length or 0
        self._size = self._lines = 0
        self._headers = []

    def _end_of_piece(self) -> None:
        """Small chunks that arrived together are passed on together."""
        if self._pieces:
            self._events.append(b"".join(self._pieces))
            self._pieces = []

    def _fail(self, status: HTTPStatus, message: str) -> StopParsingError:
        """Adds the last event of all, if there is none yet; to be raised in a callback."""
        if self._state is not OVER:
            self._end_of_piece()
            self._events.append(MalformedMessageError(status, message))
            self._state = OVER
            self._raw, self._at = b"", 0
        return StopParsingError(message)
