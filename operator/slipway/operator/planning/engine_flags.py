"""Reads flags of extraArgs, which has one `--name` or `--name=VALUE` per item. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence


def whole(flags: Sequence[str], name: str) -> int | None:
    """The value of `--name=VALUE`, where it is a whole number that vLLM accepts, such as 4096 or 8k."""
    for flag in reversed(flags):
        given, _, value = flag.partition("=")
        if given.lstrip("-").replace("_", "-") == name and (found := re.fullmatch(r"([0-9]{1,9})([kK]?)", value)):
            return int(found[1]) * (1000 if found[2] == "k" else 1024 if found[2] else 1)
    return None


def has(flags: Sequence[str], name: str) -> bool:
    return any(flag.partition("=")[0].lstrip("-").replace("_", "-") == name for flag in flags)
