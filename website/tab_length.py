"""For Python-Markdown: two spaces continue an item of a list, as on GitHub. Without it they would be four."""

from __future__ import annotations

from markdown import Extension, Markdown


class TabLength(Extension):
    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802 - the name of the interface
        md.tab_length = 2


def makeExtension(**options: object) -> TabLength:  # noqa: N802 - the name of the interface
    return TabLength(**options)
