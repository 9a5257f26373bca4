"""Credentials and their companions: from the files of a mounted Secret, else from environment variables.

A file of the Secret has the name of the variable, such as `HF_TOKEN`. Files come first: the folder was mounted for this
program, and variables may be there for others.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from slipway_fetcher.problem import FetchError, Reason

LARGEST = 1 << 20  # bytes; no Secret is larger
AUTHORITY = "ca.crt"


@dataclass(frozen=True, repr=False)  # never in a log or a traceback
class Settings:
    """What the program was given besides its arguments."""

    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    secret: Path | None = None
    anonymous: bool = False
    """Without credentials, although there may be some."""

    def credential(self, *names: str) -> str:
        """The same as `get`, for what shows a server who sends a request."""
        return "" if self.anonymous else self.get(*names)

    def credential_file(self, name: str) -> Path | None:
        return None if self.anonymous else self.file(name)

    def get(self, *names: str) -> str:
        """The first of these that is given; empty if none is."""
        for name in names:
            if value := self._from_secret(name) or self.environment.get(name, "").strip():
                return value
        return ""

    def file(self, name: str) -> Path | None:
        """A file of the Secret, such as a certificate."""
        found = self.secret / name if self.secret else None
        return found if found and found.is_file() else None

    def _from_secret(self, name: str) -> str:
        return read(found) if (found := self.file(name)) else ""


def read(file: Path) -> str:
    """The text of a small file, without the newline that editors add."""
    try:
        with file.open("rb") as opened:
            return opened.read(LARGEST).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise FetchError(
            Reason.ACCESS_DENIED,
            f"The credentials in {file} can't be read: {error}.",
            "Mount the Secret so that the user of this container can read it, and store text in it.",
        ) from error
