"""The runbooks that come with the distribution: by name, and a section of one."""

from __future__ import annotations

import re
from dataclasses import dataclass

from slipway.contract.pages import PAGES
from slipway.contract.runbooks import Runbooks

from slipway_cli.data import folder

PUBLISHED = Runbooks("https://slipway.dev/docs/runbooks/{name}.html")
"""Of this version's own pages. An installation may have others: the status of a model has the link there."""


@dataclass(frozen=True)
class Runbook:
    name: str
    text: str

    @property
    def url(self) -> str:
        return PUBLISHED.pattern.format(name=self.name)

    @property
    def summary(self) -> str:
        """What is between the title and the first section."""
        return self.text.partition("\n## ")[0].partition("\n")[2].strip()

    def section(self, title: str) -> str:
        """Empty: it has none of that title."""
        found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", self.text, re.MULTILINE | re.DOTALL)
        return found[1].strip() if found else ""

    @property
    def sections(self) -> list[str]:
        return re.findall(r"^## (.+)$", self.text, re.MULTILINE)


def runbook(word: str) -> Runbook | None:
    """Of a reason, an error's code, an alert or a task; None: there is none."""
    name = PAGES.get(word, word)
    if not re.fullmatch(r"[A-Za-z0-9][-_A-Za-z0-9]*", name):
        return None
    file = folder("runbooks") / f"{name}.md"
    return Runbook(name, file.read_text(encoding="utf-8")) if file.is_file() else None


def names() -> list[str]:
    return sorted(file.stem for file in folder("runbooks").glob("*.md") if file.stem != "README")
