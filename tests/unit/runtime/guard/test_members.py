"""Whoever takes a newer llama.cpp is told which members of requests it reads that nobody has judged."""

from __future__ import annotations

import mmap
import re
from importlib.util import find_spec
from pathlib import Path

import pytest

RECORDED = Path(__file__).parent / "recorded/llamacpp-members.txt"
NEAR = 1 << 14  # bytes: its server's texts lie together, those of how a request is read in the middle
TEXTS = re.compile(rb"(?<=\0)[\x20-\x7e\n]{3,}(?=\0)")
MEMBER, SENTENCE = re.compile(r"[a-z][a-z0-9_.]+"), re.compile(r"[A-Z].* .*")


def read_by_llamacpp() -> set[str]:
    """Names that may be those of members, and the sentences by which it describes its own to itself.

    A short name may be in no text of a library, but as numbers in its code; its sentence is one in any case.
    """
    spec = find_spec("xllamacpp")
    assert spec
    assert spec.origin
    library = next(Path(spec.origin).parent.glob("xllamacpp*.so"))
    with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        sentence = data.find(b"Include __verbose field in the response")
        texts = data[max(0, sentence - 3 * NEAR) : sentence + NEAR]
    words = {word.decode().strip() for word in TEXTS.findall(texts)}
    return {word for word in words if MEMBER.fullmatch(word) or SENTENCE.fullmatch(word)}


def test_llamacpp_reads_no_member_that_nobody_has_judged() -> None:
    new = read_by_llamacpp() - set(RECORDED.read_text().splitlines())
    if new:
        pytest.fail(
            "This version of llama.cpp has texts that the one had not by which guard/members.py was judged. Where they "
            f"are members of requests, judge them there; then add all of them to {RECORDED.name}:\n"
            + "\n".join(sorted(new))
        )


def test_the_record_is_of_what_is_looked_for() -> None:
    """It has names and sentences: else the library has been read wrongly."""
    read = read_by_llamacpp()
    assert {"grammar_triggers", "preserved_tokens", "repeat_last_n", "dry_sequence_breakers"} <= read
    assert sum("Set " in word for word in read) >= 8
