"""What is an API key, and which one a request shows: by the rules of the guard (`slipway_runtime.guard.keys`). Pure.

Tests compare the two.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from slipway.activator.http1.heads import RequestHead

SHORTEST, LONGEST = 8, 512  # bytes
MOST_KEYS = 1000  # of a Secret; further ones, in the order of its entries' names, count for nothing
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LINE = re.compile(rb"[^\r\n]+")


def shown_key(head: RequestHead) -> bytes:
    """Of a header that is there more than once, the first. Empty: none is shown."""
    scheme, _, key = (head.get(b"authorization") or b"").partition(b" ")
    if scheme.lower() != b"bearer":
        shown = head.get(b"x-api-key")
        key = (head.get(b"api-key") or b"") if shown is None else shown
    return key.strip()


def lines_in(entry: bytes) -> Iterator[bytes]:
    """Of one entry of the Secret, those that aren't empty: a key is a line."""
    return (line[0].strip() for line in _LINE.finditer(entry.removeprefix(BYTE_ORDER_MARK)))


def forms_of(line: bytes) -> set[bytes]:
    """In which a client may show the key; none if it isn't one.

    Letters beyond ASCII are sent as UTF-8 by some clients, and as Latin-1 by others.
    """
    if not SHORTEST <= len(line) <= LONGEST:
        return set()
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return {line, line.decode("latin-1").encode()}
    try:
        return {line, text.encode("latin-1")}
    except UnicodeEncodeError:
        return {line}
