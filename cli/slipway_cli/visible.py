"""Strings of tenants, such as messages and logs, without what would act on a terminal: move its cursor, change what was
printed before, or reverse the direction of a line. Pure."""

from __future__ import annotations

import re
import unicodedata

SPACES = str.maketrans(dict.fromkeys("\t\n\r\v\f\x85\u2028\u2029", " "))
COLOUR = re.compile(r"(\x1b\[[\d;]*m)")
REVERSING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def visible(text: str) -> str:
    """On one line, with control characters as their numbers."""
    if text.isprintable():
        return text
    return "".join(map(_shown, text.translate(SPACES)))


def of_log(text: str) -> str:
    """A line of a log, which may have colours of its own."""
    if text.isprintable():
        return text
    parts = COLOUR.split(text.replace("\t", "    "))
    ends = "\x1b[m" if len(parts) > 1 else ""
    return "".join(part if at % 2 else visible(part) for at, part in enumerate(parts)) + ends


def _shown(letter: str) -> str:
    is_control = unicodedata.category(letter) == "Cc" or letter in REVERSING
    return f"\\x{ord(letter):02x}" if is_control else letter
