"""How a stranger's words are told: shortened, and without what a terminal or a status would take for something else.

A model's files are written by strangers, and what is wrong with them ends in logs and statuses. Pure.
"""

from __future__ import annotations

import json

LONGEST_MESSAGE = 1000  # letters; a termination message has room for little more
LONGEST_VALUE = 60


def printable(text: str, most: int = LONGEST_MESSAGE) -> str:
    """Line ends, escape sequences and what is no Unicode, such as half a pair of surrogates, by their numbers."""
    short = text if len(text) <= most else f"{text[:most]}…"
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in short)


def shown(value: object) -> str:
    """A value in a few letters. Of a list or an object, which may be of megabytes, only what it is."""
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
