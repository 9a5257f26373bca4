"""One run: what is there already → what the source has → download → verify → unpack → the folder appears."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway_fetcher.download.downloading import Downloading, Received
from slipway_fetcher.download.journal import Journal
from slipway_fetcher.download.transfer import Context
from slipway_fetcher.folder.lock import if_free, locked
from slipway_fetcher.folder.others import mark_as_wanted, remove_others
from slipway_fetcher.folder.space import check_room
from slipway_fetcher.folder.target import Record, Target
from slipway_fetcher.folder.unpacking import unpack, unpack_layer
from slipway_fetcher.folder.waiting import relayed
from slipway_fetcher.problem import FetchError, Reason
from slipway_fetcher.progress import Progress
from slipway_fetcher.request import Request
from slipway_fetcher.sources.base import Listing, RemoteFile, Source
from slipway_fetcher.web.client import Client
from slipway_fetcher.web.repeating import Patience

FOLDER_IN_IMAGES = "models/"  # as KServe's images of models have it


@dataclass(frozen=True)
class Options:
    """How, not what."""

    connections: int = 8
    refresh: bool = False  # asks the source whether there is another version, although one is there
    replace: bool = False  # a folder that has another model
    remove_others: float | None = None  # next to it, that were not wanted for this many seconds; None: they stay
    keep: tuple[str, ...] = ()  # of these


class Fetching:
    """Of one model into one folder. `source` is only made if it is needed: it may need credentials."""

    def __init__(
        self,
        request: Request,
        target: Target,
        progress: Progress,
        options: Options,
        *,
        client: Client,
        patience: Patience,
        stop: threading.Event,
        source: Callable[[], Source],
    ) -> None:
        self._request, self._target, self._progress, self._options = request, target, progress, options
        self._client, self._patience, self._stop, self._make_source = client, patience, stop, source

    def run(self) -> Record:
        started = time.monotonic()
        present = self._present()
        if present and not self._options.refresh:
            self._remove_others()
            return self._already(present)
        self._target.check()
        self._remove_others()
        with locked(self._target.lock, lambda holder: relayed(holder, self._target, self._progress)):
            self._progress.waits("")
            present = self._present()  # the one that had the lock may have fetched it
            if present and not self._options.refresh:
                self._target.clean()
                return self._already(present)
            self._progress.write_to(self._target.progress)
            return self._fetched(present, started)

    def _present(self) -> Record | None:
        """A complete folder with the model that is wanted. Any other one isn't touched unless that is allowed."""
        record = self._target.record()
        if record and record.request == self._request.as_json():
            return record
        if not self._target.is_free(record) and not self._options.replace:
            what = f"has {record.request.get('uri')}" if record else "has files that this program hasn't fetched"
            raise FetchError(
                Reason.INVALID,
                f"{self._target.folder} {what}, and {self._request.uri} is wanted.",
                "Name another folder, since running pods may use this one; or replace it with --replace.",
            )
        return None

    def _remove_others(self) -> None:
        options = self._options
        if options.remove_others is not None:
            for name in remove_others(self._target, options.keep, options.remove_others):
                self._progress.event("removed", name=name)

    def _already(self, record: Record) -> Record:
        mark_as_wanted(self._target)
        if self._target.has_leftovers:
            with if_free(self._target.lock) as taken:
                if taken:
                    self._target.clean()
        self._progress.event("present", version=record.version, bytes=record.size, files=len(record.files))
        return record

    def _fetched(self, present: Record | None, started: float) -> Record:
        try:
            source = self._make_source()
            self._client.gates.keep_in(self._target.begin() / "busy.json")
            listing = source.resolve()
        except FetchError as error:
            if not present or error.reason is not Reason.FAILED:
                raise
            self._target.clean()
            self._progress.event("unrefreshed", version=present.version, message=error.message)
            return present
        if present and present.version == listing.version:
            self._target.clean()
            return self._already(present)
        self._progress.event("resolved", version=listing.version, bytes=listing.size, files=len(listing.files))
        self._progress.begin(listing.size)
        received = self._downloaded(source, listing)
        record = Record(self._request.as_json(), listing.version, tuple(self._files(listing, received)))
        self._target.publish(record)
        seconds = round(time.monotonic() - started, 1)
        self._progress.event(
            "fetched", version=record.version, bytes=record.size, files=len(record.files), seconds=seconds
        )
        return record

    def _downloaded(self, source: Source, listing: Listing) -> list[Received]:
        journal = Journal(self._target.staging / "journal")
        try:
            self._prune(listing)
            check_room(self._target.staging, self._needed(listing, journal))
            context = Context(
                source=source,
                client=self._client,
                patience=self._patience,
                journal=journal,
                stop=self._stop,
                arrived=self._progress.arrived,
                present=self._progress.present,
                says=self._progress.says,
            )
            self._patience.received()
            return Downloading(context, self._place, self._options.connections).run(listing.files)
        finally:
            journal.close()

    def _place(self, file: RemoteFile) -> Path:
        return (self._target.archives if file.unpack else self._target.model) / file.path

    def _needed(self, listing: Listing, journal: Journal) -> int:
        """Bytes that are still to be written; what is unpacked needs its size twice, or more if it is compressed."""
        needed = 0
        for file in listing.files:
            size, known = file.size or 0, journal.known(file)
            needed += size - (size if known.verified else known.size)
            needed += size if file.unpack else 0
        return needed

    def _prune(self, listing: Listing) -> None:
        """Removes what an earlier run has left of another version."""
        wanted = {self._place(file) for file in listing.files}
        for root in (self._target.model, self._target.archives):
            for path in sorted(root.rglob("*"), reverse=True):
                if path.is_dir() and not path.is_symlink():
                    if not any(path.iterdir()):
                        path.rmdir()
                elif path not in wanted:
                    path.unlink()

    def _files(self, listing: Listing, received: Iterable[Received]) -> list[dict[str, Any]]:
        if not any(file.unpack for file in listing.files):
            return [{"path": each.remote.path, "size": each.size, "digest": each.digest} for each in received]
        self._progress.event("unpacking", files=len(listing.files))
        model = self._target.model
        shutil.rmtree(model, ignore_errors=True)
        model.mkdir()
        for file in listing.files:
            if file.unpack == "layer":
                unpack_layer(self._place(file), model, self._request.wants, FOLDER_IN_IMAGES)
            else:
                unpack(self._place(file), model, self._request.wants)
        found = sorted(path for path in model.rglob("*") if path.is_file())
        if not found:
            raise FetchError(
                Reason.NOT_FOUND,
                f"{self._request.uri} contains no wanted files.",
                f"Correct `files`, or store the model below /{FOLDER_IN_IMAGES} of the image.",
            )
        return [{"path": str(path.relative_to(model)), "size": path.stat().st_size, "digest": None} for path in found]
