"""A newer llama.cpp may read new members of requests: this test lists those that `guard/members.py` hasn't judged."""

from __future__ import annotations

import mmap
import re
from importlib.util import find_spec
from pathlib import Path

import pytest

RECORDED = Path(__file__).parent / "recorded/llamacpp-members.txt"
NEAR = 1 << 14  # bytes: the server's strings are next to each other, and those for parsing requests are in the middle
TEXTS = re.compile(rb"(?<=\0)[\x20-\x7e\n]{3,}(?=\0)")
MEMBER, SENTENCE = re.compile(r"[a-z][a-z0-9_.]+"), re.compile(r"[A-Z].* .*")


def read_by_llamacpp() -> set[str]:
    """Names that may be those of members, and the descriptions that llama.cpp has of its own members.

    A short name may be an immediate value in the code instead of a string; its description is always a string.
    """
    spec = find_spec("xllamacpp")
    assert spec
    assert spec.origin
    library = next(Path(spec.origin).parent.glob("xllamacpp*.so"))
    with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        sentence = data.find(b"Include __verbose field in the response")
        strings = data[max(0, sentence - 3 * NEAR) : sentence + NEAR]
    words = {word.decode().strip() for word in TEXTS.findall(strings)}
    return {word for word in words if MEMBER.fullmatch(word) or SENTENCE.fullmatch(word)}


def test_llamacpp_reads_no_member_that_was_not_judged() -> None:
    new = read_by_llamacpp() - set(RECORDED.read_text().splitlines())
    if new:
        pytest.fail(
            "This version of llama.cpp has strings that the version judged in guard/members.py had not. Where they "
            f"are members of requests, judge them there; then add all of them to {RECORDED.name}:\n"
            + "\n".join(sorted(new))
        )


def test_the_record_contains_what_the_search_finds() -> None:
    """It has names and descriptions; otherwise the library was read wrongly."""
    read = read_by_llamacpp()
    assert {"grammar_triggers", "preserved_tokens", "repeat_last_n", "dry_sequence_breakers"} <= read
    assert sum("Set " in word for word in read) >= 8
