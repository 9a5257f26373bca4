"""Files that a command line names, on each system."""

from __future__ import annotations

import codecs
from pathlib import Path


def text_of(path: Path) -> str:
    """Also of a file that `>` of Windows' PowerShell wrote, in UTF-16 or with a mark at its start."""
    content = path.read_bytes()
    is_wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode("utf-16" if is_wide else "utf-8-sig")
