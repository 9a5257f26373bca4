"""What counts as an API key, and which one a request has: the rules of the guard (`slipway_runtime.guard.keys`). Pure.

Tests compare the two.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from slipway.activator.http1.heads import RequestHead

SHORTEST, LONGEST = 8, 512  # bytes
MOST_KEYS = 1000  # of a Secret; further ones, in the order of its entries' names, don't count
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LINE = re.compile(rb"[^\r\n]+")


def key_of(head: RequestHead) -> bytes:
    """Of a header that is repeated, the first counts. Empty: the request has no key."""
    scheme, _, key = (head.get(b"authorization") or b"").partition(b" ")
    if scheme.lower() != b"bearer":
        sent = head.get(b"x-api-key")
        key = (head.get(b"api-key") or b"") if sent is None else sent
    return key.strip()


def lines_in(entry: bytes) -> Iterator[bytes]:
    """The lines of one entry of the Secret that aren't empty: a key is a line."""
    return (line[0].strip() for line in _LINE.finditer(entry.removeprefix(BYTE_ORDER_MARK)))


def forms_of(line: bytes) -> set[bytes]:
    """The bytes that a client may send for the key; empty if the line isn't a key.

    Some clients send letters beyond ASCII as UTF-8, and others as Latin-1.
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
