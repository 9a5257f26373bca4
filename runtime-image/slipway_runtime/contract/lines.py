"""The lines of an engine's log without what surrounds the words, and which of them say something. Pure.

This file is the same on both sides of the pod, so its imports are relative: `make generate` copies it from
runtime-image/slipway_runtime/contract to operator/slipway/contract.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from . import sentences

COLOURS = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
PREFIXES = re.compile(rf"^(?:{'|'.join(sentences.PREFIXES)})")
NOISE = re.compile("|".join(sentences.NOISE))
QUOTES_CLIENTS = re.compile("|".join(sentences.QUOTES_CLIENTS))
EXCEPTION = re.compile(r"^(?:[\w.]+\.)?[A-Z]\w*(?:Error|Exception|Exit|Interrupt|Warning)\b(?:: |$)")


def plain(line: str) -> str:
    """The line without colours, and without the process and the time that the engine writes before it."""
    line = COLOURS.sub("", line).rstrip()
    while found := PREFIXES.match(line):
        line = line[found.end() :]
    return line


def quotes_clients(line: str) -> bool:
    """Whether the line contains words that a client chose. It is never a cause, and no sign of life of the engine."""
    return bool(QUOTES_CLIENTS.search(line))


def telling(lines: Iterable[str]) -> list[str]:
    """The plain lines that say something on their own, in their order, without those that quote clients."""
    ours = (plain(line) for line in lines if not quotes_clients(line))
    return [line for line in ours if not NOISE.search(line)]


def last_words(lines: Iterable[str]) -> str:
    """The last exception; if there is none, the last line that says something; otherwise nothing."""
    said = telling(lines)
    exceptions = [line for line in said if EXCEPTION.match(line)]
    return (exceptions or said or [""])[-1].strip()
