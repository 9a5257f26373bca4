"""Where the runbooks are, to which the status, events and error bodies link. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .pages import PAGES

NAME = "{name}"
LONGEST_PATTERN, LONGEST_URL = 400, 512  # characters; that of a runbook is in the status
_OF_HOST, _OF_PATH = (f"[!#%&(-{slash}0-;=?-\\[\\]-z|~]" for slash in (".", "/"))
PATTERN = rf"https?://{_OF_HOST}+/{_OF_PATH}*[{{]name[}}]{_OF_PATH}*"
"""ASCII without what ends a link, or is more than text to a shell or a template: whitespace, quotes, \\ < > $ { }. The
schema of the chart has the same."""


@dataclass(frozen=True)
class Runbooks:
    """`pattern`: the URL of a runbook, with `{name}` for its name. Empty: there are no links."""

    pattern: str = ""

    def __post_init__(self) -> None:
        if self.pattern and not is_pattern(self.pattern):
            raise ValueError(
                f"{self.pattern!r} is not where runbooks are: write a URL of at most {LONGEST_PATTERN} characters with "
                f"{NAME} in it once, such as https://wiki.example.com/slipway/{NAME}, or leave it empty for no links"
            )

    def of(self, word: str) -> str:
        """Returns the URL of the runbook of a reason or of an error's code; empty if there is none."""
        page = PAGES.get(word, "")
        return self.pattern.replace(NAME, page) if page else ""

    def linked(self, message: str, word: str, *, most: int | None = None) -> str:
        """Returns the message with the link at its end, where a person finds it. `most`: bytes in all; of a message
        that is longer, the end is left out, and never the link."""
        link = f" See {url}" if (url := self.of(word)) else ""
        if most is not None:
            message = message.encode(errors="replace")[: most - len(link.encode())].decode(errors="ignore")
        return message + link


NO_RUNBOOKS = Runbooks()


def is_pattern(text: str) -> bool:
    return len(text) <= LONGEST_PATTERN and bool(re.fullmatch(PATTERN, text))
