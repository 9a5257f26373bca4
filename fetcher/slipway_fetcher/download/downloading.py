"""All files of a listing, on several connections.

Once a server is known to send ranges, a file is divided among them; the thread that receives its last one verifies it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from slipway_fetcher.download.digests import matches
from slipway_fetcher.download.journal import Range, missing
from slipway_fetcher.download.transfer import Context, LocalFile, Transfer
from slipway_fetcher.folder.space import unwritable
from slipway_fetcher.folder.target import sync
from slipway_fetcher.problem import FetchError, Reason, StoppedError
from slipway_fetcher.sources.base import RemoteFile

RANGE = 64 << 20  # bytes of one request


@dataclass
class _Work:
    """A file that isn't verified yet."""

    file: LocalFile
    tries: int = 1
    rest: list[Range] = field(default_factory=list)  # waits until the server is known to send ranges
    open_ranges: int = 0


@dataclass(frozen=True)
class Received:
    """A file that is complete; the digest is None where the source has none, and then only the size was compared."""

    remote: RemoteFile
    path: Path
    size: int
    digest: str | None


class Downloading:
    """One run. `place` says where a file is written."""

    def __init__(self, context: Context, place: Callable[[RemoteFile], Path], connections: int) -> None:
        self._context, self._place, self._connections = context, place, connections
        self._changed = threading.Condition()
        self._queue: deque[tuple[_Work, int, int | None, bool]] = deque()
        self._left = 0  # files
        self._received: list[Received] = []
        self._failure: BaseException | None = None

    def run(self, files: Iterable[RemoteFile]) -> list[Received]:
        for file in sorted(files, key=lambda each: -(each.size or 0)):
            self._begin(file)
        threads = [threading.Thread(target=self._work, daemon=True) for _ in range(self._connections)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self._failure:
            raise self._failure
        return sorted(self._received, key=lambda each: each.remote.path)

    def _begin(self, file: RemoteFile, tries: int = 1) -> None:
        path, known = self._place(file), self._context.journal.known(file)
        try:
            present = path.stat().st_size
        except OSError:
            present = -1
        if known.verified and (present == file.size or (file.size is None and present >= 0)):
            self._received.append(Received(file, path, present, known.digest))
            self._context.present(present)
            return
        if present < 0 and known.ranges:
            self._context.journal.dropped(file)
        with self._changed:
            self._left += 1
        self._schedule(_Work(LocalFile(file, path), tries))

    def _schedule(self, work: _Work) -> None:
        file = work.file.remote
        known = self._context.journal.known(file)
        self._context.present(known.size)
        ranges: list[tuple[int, int | None]] = [(0, None)]
        if file.size is not None:
            ranges = [*missing(known, file.size, RANGE)] or [(file.size, file.size)]
        first, *rest = ranges
        work.rest = [(start, end) for start, end in rest if end is not None]
        self._add(work, *first, is_only=True)

    def _add(self, work: _Work, start: int, end: int | None, *, is_only: bool) -> None:
        with self._changed:
            work.open_ranges += 1
            self._queue.append((work, start, end, is_only))
            self._changed.notify()

    def _work(self) -> None:
        try:
            while taken := self._take():
                self._transfer(*taken)
        except StoppedError:
            pass
        except BaseException as error:
            with self._changed:
                self._failure = self._failure or error
        finally:
            with self._changed:
                if self._failure:
                    self._context.stop.set()
                self._changed.notify_all()

    def _take(self) -> tuple[_Work, int, int | None, bool] | None:
        with self._changed:
            while not self._queue:
                if not self._left or self._context.stop.is_set():
                    return None
                self._changed.wait(1.0)
            return None if self._context.stop.is_set() else self._queue.popleft()

    def _transfer(self, work: _Work, start: int, end: int | None, is_only: bool) -> None:
        transfer = Transfer(self._context, work.file, start, end)
        transfer.is_only = is_only
        transfer.found_ranges = lambda: self._divide(work, transfer)
        position = start if start == end else transfer.run()
        if start == end:
            work.file.path.parent.mkdir(parents=True, exist_ok=True)
            work.file.path.touch()
        with self._changed:
            work.open_ranges -= 1
            is_last = not work.open_ranges
        if is_last:
            self._complete(work, position)

    def _divide(self, work: _Work, transfer: Transfer) -> None:
        """The server sends ranges, so other connections may receive the rest of the file."""
        transfer.is_only = False
        rest, work.rest = work.rest, []
        for start, end in rest:
            self._add(work, start, end, is_only=False)

    def _complete(self, work: _Work, position: int) -> None:
        file, path = work.file.remote, work.file.path
        size = position if file.size is None else file.size
        fits, digest = self._verified(file, path, size)
        if not fits:
            self._again(work, size, digest)
            return
        try:
            sync(path)
            self._context.journal.verified(file, digest or None)
        except OSError as error:
            raise unwritable(path, error) from error
        with self._changed:
            self._received.append(Received(file, path, size, digest or None))
            self._left -= 1
            self._changed.notify_all()

    def _verified(self, file: RemoteFile, path: Path, size: int) -> tuple[bool, str]:
        """Whether the content is what the source has, and by which digest; empty: the source has none for it."""
        if path.stat().st_size != size:
            return False, f"of {size:,} bytes"
        named = ""
        for digest in self._context.source.digests(file):
            named = str(digest)
            if matches(path, digest):
                return True, named
        return not named, named

    def _again(self, work: _Work, size: int, digest: str) -> None:
        """Once: a disk, a proxy or a crash may have changed the bytes on the way."""
        file, path = work.file.remote, work.file.path
        if work.tries > 1:
            raise FetchError(
                Reason.CORRUPT,
                f"{file.path} doesn't have the digest that its source names ({digest[:80]}), at the second try either.",
                "Store the file again at the source, or check the proxies and mirrors on the way.",
            )
        self._context.says(f"{file.path} doesn't have its digest, and is received again")
        self._context.present(-size)
        self._context.journal.dropped(file)
        path.unlink(missing_ok=True)
        self._begin(file, tries=work.tries + 1)
        with self._changed:
            self._left -= 1
