"""Commands of kubectl as a person would copy them, for the cluster that was looked at: without the flags that name it,
they would act on the current one. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

QUOTED = r"'[^']*'|\\'"
CALL = re.compile(rf"{QUOTED}|(?:^|(?<=&& )|(?<=\| ))kubectl (?:llm (?!plan)\w+|(?!llm)\w+)")
"""kubectl with its command, and what is in quotes; `plan` knows no cluster."""
IN_SENTENCE = re.compile(r"`(kubectl [^`]+)`")


def with_flags(command: str, flags: Sequence[str]) -> str:
    given = "".join(f" {shlex.quote(flag)}" for flag in flags)
    return CALL.sub(lambda call: call[0] + (given if call[0].startswith("kubectl") else ""), command)


def sentence_with_flags(sentence: str, flags: Sequence[str]) -> str:
    """Of each command that is in backticks."""
    return IN_SENTENCE.sub(lambda found: f"`{with_flags(found[1], flags)}`", sentence)
