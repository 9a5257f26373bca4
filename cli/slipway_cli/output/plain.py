"""Text of a cluster without what would steer a terminal: a tenant writes logs, events and messages. Pure."""

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
