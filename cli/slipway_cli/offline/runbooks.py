"""The runbooks that come with the distribution: by name, and a section of one."""

from __future__ import annotations

import re
from dataclasses import dataclass

from slipway_cli.data import folder

SITE = "https://slipway.dev/docs/runbooks/{name}.html"


@dataclass(frozen=True)
class Runbook:
    name: str
    text: str

    @property
    def url(self) -> str:
        return SITE.format(name=self.name)

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


def runbook(name: str) -> Runbook | None:
    """None: there is none of that name."""
    if not re.fullmatch(r"[A-Za-z0-9][-A-Za-z0-9]*", name):
        return None
    file = folder("runbooks") / f"{name}.md"
    return Runbook(name, file.read_text(encoding="utf-8")) if file.is_file() else None


def names() -> list[str]:
    return sorted(file.stem for file in folder("runbooks").glob("*.md") if file.stem != "README")
