"""The compile cache of one start: what was read before it, where the engine writes, and what became of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self, cast

from slipway_runtime.compiled.key import in_folder
from slipway_runtime.compiled.publishing import Outcome, Request
from slipway_runtime.compiled.reading import Reader, Reading
from slipway_runtime.compiled.scratch import Scratch
from slipway_runtime.compiled.store import name_of
from slipway_runtime.contract.pod import (
    COMPILE_CACHE_FILLED,
    COMPILE_CACHE_FILLING,
    COMPILE_CACHE_OFF,
    COMPILE_CACHE_UNAVAILABLE,
    COMPILE_CACHE_USED,
)

STATES = {
    COMPILE_CACHE_USED: "An entry was read. If something was compiled nevertheless, `newFiles` and the reason say so.",
    COMPILE_CACHE_FILLING: "There was no entry. This start compiles, and hasn't published an entry yet.",
    COMPILE_CACHE_FILLED: "This start has compiled, and has published an entry for those that follow.",
    COMPILE_CACHE_UNAVAILABLE: "This start has compiled, and the next one will have to, for the reason that is given.",
    COMPILE_CACHE_OFF: "There is no store, or the engine compiles nothing.",
}
FIELDS = {
    "state": "one of the states above",
    "reason": "a sentence for people",
    "key": "the entry's name in the store, a digest of everything that compiled code depends on",
    "bytes": "the size of what was read or published",
    "files": "the number of files in it",
    "readSeconds": "the time that reading took; the checks before the start run meanwhile",
    "publishSeconds": "the time that publishing took, while the engine served",
    "compileSeconds": "the time from the loaded weights to the end of the profile run, in which vLLM compiles",
    "startSeconds": "the time from the start of the process until the pod was ready",
    "newFiles": "the number of files that this start has compiled",
    "newest": "the newest of them",
    "filledBy": "`compileSeconds` and `startSeconds` of the start that had compiled what was read",
}


@dataclass(frozen=True, kw_only=True)
class Report:
    """What /info shows; FIELDS explains it."""

    state: str
    reason: str
    key: str | None = None
    bytes: int | None = None
    files: int | None = None
    read_seconds: float | None = None
    publish_seconds: float | None = None
    compile_seconds: float | None = None
    start_seconds: float | None = None
    new_files: int | None = None
    newest: tuple[str, ...] = ()
    filled_by: Mapping[str, float] | None = None

    def as_json(self) -> dict[str, object]:
        return {_camel(name): _rounded(value) for name, value in asdict(self).items()}


EXAMPLE = Report(
    state=COMPILE_CACHE_USED,
    reason="",
    bytes=1,
    read_seconds=1.0,
    publish_seconds=1.0,
    compile_seconds=1.0,
    new_files=0,
)
"""One with all metrics, for the reference."""


class CompileCache:
    """It lives as long as the start's process 1."""

    def __init__(self, report: Report, *, root: Path | None = None, key: Mapping[str, str] | None = None) -> None:
        self.report = report
        self._root, self._key = root, key or {}
        self._limit = 0
        self._scratch: Scratch | None = None
        self._reader: Reader | None = None
        self._filled: Mapping[str, float] = {}
        self._why_compiled = ""
        self._published = 0  # files that this start has compiled and published
        self._unpublished = ""

    @classmethod
    def off(cls, reason: str) -> Self:
        return cls(Report(state=COMPILE_CACHE_OFF, reason=reason))

    @classmethod
    def open(cls, root: Path, key: Mapping[str, str], *, within: Path, limit: int) -> Self:
        """Starts to read the entry. `within`: the folder for the scratch folder."""
        try:
            scratch = Scratch.within(within)
        except OSError as error:
            reason = f"The scratch folder in {within} can't be made: {error.strerror}."
            return cls(Report(state=COMPILE_CACHE_UNAVAILABLE, reason=reason, key=name_of(key)), root=root, key=key)
        key = in_folder(key, scratch.folder)
        cache = cls(Report(state=COMPILE_CACHE_FILLING, reason="", key=name_of(key)), root=root, key=key)
        cache._limit, cache._scratch = limit, scratch
        try:
            cache._reader = Reader(root, key, scratch)
        except OSError as error:
            cache._set_reading(Reading(reason=f"The store {root} wasn't read: {error.strerror}."))
        return cache

    def wait(self) -> None:
        """Returns when the entry was read, or can't be."""
        if self._reader:
            try:
                reading = self._reader.result()
            except OSError as error:
                reading = Reading(reason=f"The store {self._root} wasn't read: {error.strerror}.")
            self._set_reading(reading)
            self._reader = None

    def environment(self, names: Mapping[str, str]) -> dict[str, str]:
        """Returns variables that lead into the scratch folder, given by the path in it; none without such a folder."""
        return {name: str(self._scratch.files / path) for name, path in names.items()} if self._scratch else {}

    @property
    def is_on(self) -> bool:
        """Whether something can be published."""
        return self._scratch is not None

    @property
    def is_off(self) -> bool:
        return self.report.state == COMPILE_CACHE_OFF

    @property
    def was_read(self) -> bool:
        return self.report.state == COMPILE_CACHE_USED

    @property
    def missing(self) -> str:
        """Why the store lacks something that this start has compiled; empty if it doesn't."""
        return self.report.reason if self.report.state == COMPILE_CACHE_UNAVAILABLE else self._unpublished

    def started(self, *, compile_seconds: float | None, start_seconds: float) -> None:
        self.report = replace(self.report, compile_seconds=compile_seconds, start_seconds=start_seconds)
        if not self._filled:
            self._filled = {"startSeconds": round(start_seconds, 3)}
            if compile_seconds is not None:
                self._filled = {"compileSeconds": round(compile_seconds, 3), **self._filled}

    def request(self, *, nice: int) -> str:
        """Returns what the publisher gets, where something can be published."""
        scratch = cast("Scratch", self._scratch)
        request = Request(
            root=str(self._root),
            key=self._key,
            files=str(scratch.files),
            snapshot=str(scratch.snapshot),
            limit=self._limit,
            filled=self._filled,
            nice=nice,
        )
        return json.dumps(asdict(request))

    def publishing_ended(self, outcome: Outcome) -> None:
        changes: dict[str, object] = {"new_files": self._published + outcome.new}
        if outcome.new:
            changes["newest"] = tuple(outcome.newest)
        if outcome.published:
            self._published += outcome.new
            changes |= {"bytes": outcome.bytes, "files": outcome.files, "publish_seconds": outcome.seconds}
        self._unpublished = outcome.reason
        state, reason = self._after(outcome)
        self.report = replace(self.report, state=state, reason=reason, **changes)  # type: ignore[arg-type]

    def _after(self, outcome: Outcome) -> tuple[str, str]:
        """Returns the state and the reason after a try to publish."""
        state = self.report.state
        if state == COMPILE_CACHE_USED:
            in_spite_of_it = outcome.new or outcome.reason
            return state, _in_spite_of_the_cache(outcome) if in_spite_of_it else self.report.reason
        if outcome.published:
            return COMPILE_CACHE_FILLED, f"{self._why_compiled} {outcome.files} files were published."
        if outcome.reason:
            failed = COMPILE_CACHE_FILLED if self._published else COMPILE_CACHE_UNAVAILABLE
            return failed, f"{self._why_compiled} {outcome.reason}"
        return state, self.report.reason

    def close(self) -> None:
        if self._scratch:
            self._scratch.close()
            self._scratch = None

    def _set_reading(self, reading: Reading) -> None:
        self._why_compiled = reading.reason
        self.report = replace(self.report, reason=reading.reason)
        if reading.found:
            self._filled = reading.filled
            self.report = replace(
                self.report,
                state=COMPILE_CACHE_USED,
                bytes=reading.bytes,
                files=reading.files,
                read_seconds=reading.seconds,
                filled_by=reading.filled or None,
            )


def _in_spite_of_the_cache(outcome: Outcome) -> str:
    if not outcome.new:
        return f"The entry was read. {outcome.reason}"
    newest = ", ".join(outcome.newest)
    then = outcome.reason or "The entry was published again."
    return f"The entry was read, but {outcome.new} files that it lacked were compiled, such as {newest}. {then}"


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(map(str.capitalize, rest))


def _rounded(value: object) -> object:
    return round(value, 3) if isinstance(value, float) else value
