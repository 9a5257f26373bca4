"""Runbooks in a terminal: prose is wrapped, commands and tables are not."""

from __future__ import annotations

import pytest
from slipway_cli.offline.runbooks import names, runbook
from slipway_cli.output.prose import FENCE, lines_of

TEXT = """\
A paragraph with some words that
goes over two lines.

- an item with more words than fit
  into one line here
- short

1. first
2. second

```console
$ kubectl get pods --namespace NAMESPACE --output wide --show-labels
```

| a | b |
|---|---|
| a cell that is long | and another one |
"""


def test_paragraphs_and_items_are_wrapped_and_commands_are_not() -> None:
    assert lines_of(TEXT, 30) == [
        "A paragraph with some words",
        "that goes over two lines.",
        "",
        "- an item with more words than",
        "  fit into one line here",
        "- short",
        "",
        "1. first",
        "2. second",
        "",
        "    $ kubectl get pods --namespace NAMESPACE --output wide --show-labels",
        "",
        "| a | b |",
        "|---|---|",
        "| a cell that is long | and another one |",
    ]


def test_without_a_width_the_text_stays() -> None:
    assert "\n".join(lines_of(TEXT, None)) + "\n" == TEXT


@pytest.mark.parametrize("name", names())
def test_no_word_of_a_runbook_is_lost(name: str) -> None:
    book = runbook(name)
    assert book is not None
    without_fences = "\n".join(line for line in book.text.splitlines() if not FENCE.match(line))
    assert " ".join(lines_of(book.text, 60)).split() == without_fences.split()
