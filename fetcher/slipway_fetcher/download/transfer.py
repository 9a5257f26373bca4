"""One range of one file: requested, received, and written. A connection that breaks is continued where it broke."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from slipway_fetcher.download.journal import Journal
from slipway_fetcher.folder.space import unwritable
from slipway_fetcher.problem import FetchError, Reason, StoppedError, TemporaryError
from slipway_fetcher.sources.base import RemoteFile, Source
from slipway_fetcher.web.call import Call
from slipway_fetcher.web.client import Client, Response
from slipway_fetcher.web.repeating import Patience

PIECE = 1 << 17  # bytes in memory, for each connection; what of them has arrived when it breaks is lost
NOTED_EVERY = 16 << 20  # bytes; after a crash, at most these are received again by each connection
CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
STALE = (401, 403, 404, 410)  # what a signed URL answers that has expired


@dataclass
class Context:
    """What all transfers share."""

    source: Source
    client: Client
    patience: Patience
    journal: Journal
    stop: threading.Event
    arrived: Callable[[int], None]  # bytes
    present: Callable[[int], None]  # bytes of earlier; negative: these are received again
    says: Callable[[str], None]


@dataclass
class LocalFile:
    """A file that is being received."""

    remote: RemoteFile
    path: Path
    location: Call | None = None  # where a redirect has led, so that the source isn't asked for each range
    lock: threading.Lock = field(default_factory=threading.Lock)

    def locate(self, source: Source) -> tuple[Call, bool]:
        """The request for its bytes, and whether it is one that an earlier redirect has led to."""
        with self.lock:
            return (self.location, True) if self.location else (source.call(self.remote), False)

    def is_at(self, call: Call | None) -> None:
        with self.lock:
            self.location = call


class NoRangesError(Exception):
    """The server sends the file from its start, whatever range is requested."""


class Transfer:
    """Of a range of bytes; `end` is None where the size isn't known. `found_ranges` is called once it is clear that the
    server sends ranges; until then this is the only transfer of the file."""

    def __init__(self, context: Context, file: LocalFile, start: int, end: int | None) -> None:
        self._context, self._file, self.position, self.end = context, file, start, end
        self._noted = start
        self.is_only = False
        self.found_ranges: Callable[[], None] = lambda: None

    def run(self) -> int:
        """Returns where it has ended."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
        try:
            self._file.path.parent.mkdir(parents=True, exist_ok=True)
            output = os.open(self._file.path, flags, 0o644)
        except OSError as error:
            raise unwritable(self._file.path, error) from error
        try:
            self._context.patience.repeat(lambda: self._attempt(output), self._context.says)
            if self.end is None:
                os.ftruncate(output, self.position)
        except NoRangesError:
            self._restart()
            self._context.patience.repeat(lambda: self._attempt(output), self._context.says)
        finally:
            os.close(output)
        return self.position

    def _restart(self) -> None:
        """The whole file in one piece, from its start."""
        self._context.present(-self._context.journal.known(self._file.remote).size)
        self._context.journal.dropped(self._file.remote)
        self.position = self._noted = 0
        self.end = self._file.remote.size

    def _attempt(self, output: int) -> None:
        if self.end is None:
            self._context.present(-self.position)
            self.position = 0
        call, is_remembered = self._file.locate(self._context.source)
        with self._context.client.send(self._with_range(call)) as response:
            self._check(response, is_remembered)
            if response.call.url != call.url:
                self._file.is_at(_without_range(response.call))
            try:
                self._receive(response, output)
            finally:
                self._note(output)
        if self.end is not None and self.position < self.end:
            raise TemporaryError(f"{call.origin} ended its response {self.end - self.position:,} bytes early")

    def _with_range(self, call: Call) -> Call:
        if self.end is None or (self.position == 0 and self.end == self._file.remote.size):
            return call
        return call.with_headers(Range=f"bytes={self.position}-{self.end - 1}")

    def _check(self, response: Response, is_remembered: bool) -> None:
        if response.status == 206:
            self._check_range(response)
            self.found_ranges()
            return
        if response.status == 200:
            if self.position == 0 and (self.is_only or self.end in (None, self._file.remote.size)):
                self._restart()
                return
            if self.is_only:
                raise NoRangesError
            raise TemporaryError(
                f"{response.call.origin} ignores that only a part of {self._file.remote.path} is requested"
            )
        if is_remembered and response.status in STALE:
            self._file.is_at(None)
            raise TemporaryError(f"the signed URL of {self._file.remote.path} is no longer valid")
        if response.status in (412, 416):
            raise FetchError(
                Reason.FAILED,
                f"{self._file.remote.path} has changed at its source during the download.",
                "Start again; pin a version that doesn't change.",
            )
        raise self._context.source.refusal(self._file.remote, response.status, response.read(1 << 14))

    def _check_range(self, response: Response) -> None:
        found = CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
        size = self._file.remote.size
        if (
            not found
            or int(found[1]) != self.position
            or (found[3] != "*" and size is not None and int(found[3]) != size)
        ):
            raise TemporaryError(
                f"{response.call.origin} sent other bytes of {self._file.remote.path} than were requested"
            )

    def _receive(self, response: Response, output: int) -> None:
        while self.end is None or self.position < self.end:
            piece = response.read(PIECE if self.end is None else min(PIECE, self.end - self.position))
            if not piece:
                return
            self._write(output, piece)
            self.position += len(piece)
            self._context.arrived(len(piece))
            self._context.patience.received()
            if self.position - self._noted >= NOTED_EVERY:
                self._note(output)
            if self._context.stop.is_set():
                raise StoppedError

    def _write(self, output: int, piece: bytes) -> None:
        try:
            written = 0
            while written < len(piece):
                written += os.pwrite(output, piece[written:] if written else piece, self.position + written)
        except OSError as error:
            raise unwritable(self._file.path, error) from error

    def _note(self, output: int) -> None:
        """Bytes of a file whose size isn't known are never continued, so they aren't noted."""
        if self.end is not None and self.position > self._noted:
            try:
                os.fdatasync(output)
                self._context.journal.received(self._file.remote, self._noted, self.position)
            except OSError as error:
                raise unwritable(self._file.path, error) from error
            self._noted = self.position


def _without_range(call: Call) -> Call:
    return Call(call.url, call.method, {k: v for k, v in call.headers.items() if k != "Range"}, None, call.authorize)
