"""Why files can't be fetched: a word for programs, a sentence for people, one about what to do, and an exit code."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Words of runtime-image/contract/reasons.yaml, with the exit code of this program."""

    exit_code: int

    def __new__(cls, word: str, exit_code: int) -> Reason:
        found = str.__new__(cls, word)
        found._value_ = word
        found.exit_code = exit_code
        return found

    INTERNAL = "InternalError", 1
    INVALID = "InvalidSpec", 4
    NOT_FOUND = "ModelNotFound", 10
    ACCESS_DENIED = "ModelAccessDenied", 11
    CORRUPT = "ModelCorrupt", 12
    FAILED = "ModelDownloadFailed", 15
    PUSH_FAILED = "PushFailed", 60


class FetchError(Exception):
    """Final for this run: repeating the request doesn't help, or has been tried for long enough."""

    def __init__(self, reason: Reason, message: str, remedy: str) -> None:
        super().__init__(f"{message} {remedy}")
        self.reason, self.message, self.remedy = reason, message, remedy


class TemporaryError(Exception):
    """One request has failed in a way that may be over at the next try. The message is a clause without a full stop."""


class StoppedError(Exception):
    """Another thread has failed, so this one stops as well."""
