"""How untrusted text is shown: shortened, and escaped so that a terminal or a status can't misinterpret it.

A model's files come from strangers, and errors in them end up in logs and statuses. Pure.
"""

from __future__ import annotations

import json

LONGEST_MESSAGE = 1000  # characters; a termination message has room for little more
LONGEST_VALUE = 60


def printable(text: str, most: int = LONGEST_MESSAGE) -> str:
    """Escapes line ends, escape sequences and invalid Unicode, such as half of a surrogate pair."""
    short = text if len(text) <= most else f"{text[:most]}…"
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in short)


def shown(value: object) -> str:
    """Returns a short form of a value; for a list or an object, which may have megabytes, only its type."""
    match value:
        case str():
            return f'"{printable(value, LONGEST_VALUE)}"'
        case list():
            return f"a list of {len(value)}"
        case dict():
            return "an object"
        case bool() | int() | float() | None:
            return printable(json.dumps(value), LONGEST_VALUE)
    return f"a {type(value).__name__}"
