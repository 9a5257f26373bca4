"""What is read of a page."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.pages.markdown import PageError, parse

PATH = Path("runbooks/Example.md")
TEXT = """\
# Example

A sentence that
goes on.

More.

## Diagnosis

See [the other](Other.md#diagnosis), and `[not a link](x.md)`.

```console
$ kubectl get llm
# Not a heading
```

### If it is the folder

- in a list:

  ````yaml
  a: |
    ```
    b
    ```
  ````

## Mitigation

~~~console
$ true
~~~
"""
PAGE = parse(TEXT, PATH)


def test_headings_have_level_line_and_anchor() -> None:
    found = [(each.level, each.text, each.line, each.anchor) for each in PAGE.headings]
    assert found == [
        (1, "Example", 1, "example"),
        (2, "Diagnosis", 8, "diagnosis"),
        (3, "If it is the folder", 17, "if-it-is-the-folder"),
        (2, "Mitigation", 28, "mitigation"),
    ]
    assert PAGE.sections == ["Diagnosis", "Mitigation"]


def test_the_first_paragraph_says_what_the_page_is_about() -> None:
    assert PAGE.first_sentence == "A sentence that goes on."


def test_blocks_have_language_line_and_the_headings_above() -> None:
    assert [(each.language, each.line, each.below[1:]) for each in PAGE.blocks] == [
        ("console", 13, ("Diagnosis",)),
        ("yaml", 22, ("Diagnosis", "If it is the folder")),
        ("console", 31, ("Mitigation",)),
    ]


def test_a_block_in_a_list_loses_its_indentation_and_keeps_a_shorter_fence_inside() -> None:
    assert PAGE.blocks[1].text == "a: |\n  ```\n  b\n  ```"


def test_only_blocks_directly_below_a_heading_are_its_own() -> None:
    assert [each.line for each in PAGE.under("Diagnosis")] == [13]
    assert PAGE.under("Diagnosis", "If it is the folder", language="yaml") == [PAGE.blocks[1]]
    assert not PAGE.under("Prevention")


def test_links_are_those_outside_code() -> None:
    assert [(each.text, each.target, each.line) for each in PAGE.links] == [("the other", "Other.md#diagnosis", 10)]
    assert PAGE.runbooks == {"Other"}


def test_a_link_and_code_may_go_on_in_the_next_line() -> None:
    page = parse("# A\n\nSee\n[the\nother](B.md), `no\n[link](C.md)`,\n[two](D.md\n'E').\n", PATH)
    assert [(each.text, each.target, each.line) for each in page.links] == [
        ("the other", "B.md", 4),
        ("two", "D.md", 7),
    ]


@pytest.mark.parametrize(
    "text", ["- a `b\n- [c](D.md)", "| `a |\n| [c](D.md) |", "a `b\n\n[c](D.md) `", "1. `b\n2. [c](D.md)"]
)
def test_code_that_is_never_closed_hides_no_link_of_the_next_paragraph(text: str) -> None:
    assert [each.target for each in parse(f"# A\n\n{text}\n", PATH).links] == ["D.md"]


def test_an_open_block_is_an_error_with_its_line() -> None:
    with pytest.raises(PageError, match=r"Example.md:3: the block is never closed"):
        parse("# Example\n\n```sh\nls\n", PATH)
