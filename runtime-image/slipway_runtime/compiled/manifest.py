"""What an entry says of itself: for which start it was compiled, and which file has its content."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

FORMAT = 2
NAME = "manifest.json"
LARGEST = 256 << 10  # bytes
MOST_FILES = 50_000
LONGEST = 1e6  # seconds of a start
MOST_BYTES = 2 << 30
DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class Manifest:
    key: Mapping[str, str]
    digest: str
    """SHA-256 of the content, which is also in its file's name."""
    size: int  # bytes
    files: int
    filled: Mapping[str, float] = field(default_factory=dict)
    """`compileSeconds` and `startSeconds` of the start that has compiled it."""

    @property
    def content(self) -> str:
        return content_name(self.digest)

    @classmethod
    def read(cls, text: bytes) -> Self | None:
        """Returns None if it isn't a manifest, or exceeds a limit."""
        try:
            told: dict[str, Any] = json.loads(text)
            if told.pop("format") != FORMAT:
                return None
            found = cls(**told)
            return found if found._is_valid() else None
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None

    def as_json(self) -> bytes:
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1).encode()

    def _is_valid(self) -> bool:
        return (
            _are(self.key, str)
            and _are(self.filled, int | float)
            and all(0 <= each < LONGEST for each in self.filled.values())
            and isinstance(self.digest, str)
            and DIGEST.fullmatch(self.digest) is not None
            and _is_number(self.size, MOST_BYTES)
            and _is_number(self.files, MOST_FILES)
        )


def content_name(digest: str) -> str:
    return f"content-{digest}.tar"


def _are(mapping: object, kind: Any) -> bool:
    return isinstance(mapping, dict) and all(isinstance(each, kind) for each in mapping.values())


def _is_number(value: object, most: int) -> bool:
    return isinstance(value, int) and 0 <= value <= most
