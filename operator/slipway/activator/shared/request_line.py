"""The first line of a request, as an engine's server reads it, and patterns of such lines. Pure.

Both may be long, and each request is compared with patterns several times: so each is parsed once.
"""

from __future__ import annotations

import re
from binascii import a2b_qp
from dataclasses import dataclass
from functools import lru_cache

from slipway.activator.http1.heads import RequestHead

MOST_PARTS = 128
"""Of a path; the API server admits no pattern with more."""
KEPT = 32  # lines of the latest requests: each takes 70 KiB at most

_ESCAPE = re.compile(rb"%(?=[0-9A-Fa-f]{2})")
_NO_NAMES = ("", ".", "..")


@dataclass(frozen=True, eq=False)
class RequestLine:
    method: str
    path: str  # without the query, and decoded once
    parts: tuple[str, ...]  # of the path, up to MOST_PARTS
    is_longer: bool  # the path has more parts


@dataclass(frozen=True)
class LinePattern:
    method: str
    parts: tuple[str, ...]  # a * stands for any part
    is_open: bool  # the last * stands for any number of parts

    def fits(self, line: RequestLine) -> bool:
        return self.method == line.method and self.fits_path(line)

    def fits_path(self, line: RequestLine) -> bool:
        parts = len(line.parts)
        if parts < len(self.parts) or (not self.is_open and (parts > len(self.parts) or line.is_longer)):
            return False
        for wanted, part in zip(self.parts, line.parts, strict=False):
            if wanted != part and (wanted != "*" or part in _NO_NAMES):
                return False
        return True


@dataclass(frozen=True, eq=False)
class LinePatterns:
    all: tuple[LinePattern, ...]

    def any_fits(self, line: RequestLine) -> bool:
        return _any_fits(self, line)


def of(head: RequestHead) -> RequestLine:
    return _of(head.method, head.target.partition(b"?")[0])


def line(method: str, path: str) -> RequestLine:
    parts = path.split("/", MOST_PARTS)
    return RequestLine(method, path, tuple(parts[:MOST_PARTS]), is_longer=len(parts) > MOST_PARTS)


def pattern(text: str, *, may_be_open: bool = False) -> LinePattern:
    method, _, path = text.partition(" ")
    return LinePattern(method, tuple(path.split("/")), is_open=may_be_open and path.endswith("*"))


@lru_cache(maxsize=KEPT)
def _of(method: bytes, path: bytes) -> RequestLine:
    return line(method.decode("latin-1"), decoded(path))


@lru_cache(maxsize=KEPT)
def _any_fits(patterns: LinePatterns, line: RequestLine) -> bool:
    """This takes a third of a millisecond for the most and the longest patterns that a spec can have."""
    return any(each.fits(line) for each in patterns.all)


def decoded(path: bytes) -> str:
    """Does what urllib's `unquote` does, which takes milliseconds for the longest path. Except for the sign, such a
    path is quoted-printable, for which there is a decoder in C."""
    if b"%" not in path:
        return path.decode("latin-1")
    return a2b_qp(_ESCAPE.sub(b"=", path.replace(b"=", b"=3D"))).decode("utf-8", "replace")
