"""Strings of tenants, such as messages and logs, without what would act on a terminal: move its cursor, change what was
printed before, set its title, or reverse the direction of a line. Pure."""

from __future__ import annotations

import re

_SEQUENCES = re.compile(
    r"(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?"  # titles, links, clipboards
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"  # colours, and moves of the cursor
    r"|\x1b[ -/]*[0-~]?"
)
# Besides controls, letters that aren't seen or that reorder others, and halves of letters, which UTF-8 can't have.
_CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"
    "\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
    "\ud800-\udfff]"
)


def plain(text: str) -> str:
    """Only newlines and tabs are left of all control characters."""
    return _CONTROLS.sub("", _SEQUENCES.sub("", text))


_SPACES = str.maketrans("\n\t", "  ")
_COLOUR = re.compile(r"(\x1b\[[\d;]*m)")


def visible(text: str) -> str:
    """On one line."""
    return text if text.isprintable() else plain(text).translate(_SPACES)


def of_log(text: str) -> str:
    """A line of a log, which may have colours of its own."""
    if text.isprintable():
        return text
    parts = _COLOUR.split(text)
    ends = "\x1b[m" if len(parts) > 1 else ""
    return "".join(part if at % 2 else visible(part) for at, part in enumerate(parts)) + ends
