"""Diagrams are drawn once, and a page shows the picture of the diagram that it has now."""

from __future__ import annotations

import pytest
from diagrams import NotDrawnError, diagrams, picture, with_pictures

SOURCE = "flowchart LR\n    a --> b\n"
PAGE = f"# A page\n\n```mermaid\n{SOURCE}```\n\nMore.\n"


def test_the_picture_stands_where_the_diagram_stood() -> None:
    text = with_pictures("docs/contribute/a.md", PAGE, {picture(SOURCE)})
    assert text == f"# A page\n\n![Diagram](../../{picture(SOURCE)})\n\nMore.\n"


def test_other_blocks_stay() -> None:
    text = PAGE.replace("```mermaid", "```text")
    assert diagrams(text) == []
    assert with_pictures("a.md", text, ()) == text


def test_a_diagram_that_was_changed_and_not_drawn_again_is_an_error() -> None:
    changed = PAGE.replace("a --> b", "a --> c")
    with pytest.raises(NotDrawnError, match="begins with 'flowchart LR' was changed"):
        with_pictures("README.md", changed, {picture(SOURCE)})
