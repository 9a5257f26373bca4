"""Whether llama.cpp can safely be given a grammar, or a pattern in a schema, that a client wrote.

llama.cpp reads brackets recursively and unrolls repetitions: `a{2,1}` never ends there. For each token it follows all
ways in which the text can be derived, and there may be as many as the grammar has choices.
"""

from __future__ import annotations

import re

MOST_BRACKETS = 256
MOST_CHOICES = 64
MOST_TIMES = 1000

_TOKEN = re.compile(
    r"""
    "(?:[^"\\]|\\.)*+"? | \[(?:[^\]\\]|\\.)*+\]? | \#[^\r\n]*+  # what is meant as text, and comments
    | (?P<bracket>\() | (?P<times>\{[^}]*+\}?) | (?P<choice>[|?*+])
    | [^"\[\#({|?*+]++
    """,
    re.DOTALL | re.VERBOSE,
)
_TOKEN_OF_PATTERN = re.compile(
    r"""
    \\. | \[(?:[^\]\\]|\\.)*+\]?  # what is meant as text
    | (?P<bracket>\() | (?P<times>\{[^}]*+\}?)
    | [^\\\[({]++ | .
    """,
    re.DOTALL | re.VERBOSE,
)
_TIMES = re.compile(r"\{ *([0-9]{1,9}) *(?:(,) *([0-9]{1,9})? *)?\}")


def wrong_in(grammar: str) -> str:
    """Returns what is too much in it, in words that follow "has"; an empty string if nothing is."""
    if grammar.lstrip().startswith("%"):
        return "another notation than GBNF"
    return _wrong(grammar, _TOKEN)


def wrong_in_pattern(pattern: str) -> str:
    return _wrong(pattern, _TOKEN_OF_PATTERN)


def _wrong(text: str, tokens: re.Pattern[str]) -> str:
    brackets = choices = 0
    for token in tokens.finditer(text):
        match token.lastgroup:
            case "bracket":
                brackets += 1
            case "choice":
                choices += 1
            case "times":
                choices += 1
                if why := _wrong_times(token["times"]):
                    return why
    if brackets > MOST_BRACKETS:
        return f"more than {MOST_BRACKETS} brackets"
    return f"more than {MOST_CHOICES} choices ('|', '?', '*', '+' and '{{}}')" if choices > MOST_CHOICES else ""


def _wrong_times(written: str) -> str:
    match = _TIMES.fullmatch(written)
    if match is None:
        return f"{written[:40]!r}, which isn't like '{{1,5}}'"
    least, most = int(match[1]), int(match[3] or match[1])
    if max(least, most) > MOST_TIMES:
        return f"{written[:40]!r}, which is more than {MOST_TIMES} times"
    return f"{written[:40]!r}, which has no end below its beginning" if most < least else ""
