"""Commands and their output in a console block."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.pages.console import digest_of, steps_of
from support.pages.markdown import Block, PageError


def block(text: str) -> Block:
    return Block("console", text, 10, ("Example", "Diagnosis"), Path("runbooks/Example.md"))


def test_each_command_has_the_output_below_it_and_its_line() -> None:
    first, second = steps_of(block("$ kubectl get llm\nNAME  STATE\n…\n\n$ true"))
    assert (first.command, first.output, first.place) == ("kubectl get llm", ("NAME  STATE", "…"), "Example.md:10")
    assert (second.command, second.output, second.place) == ("true", (), "Example.md:14")


def test_a_command_goes_on_after_a_backslash() -> None:
    [step] = steps_of(block("$ kubectl get llm \\\n    -o wide\nNAME"))
    assert step.command == "kubectl get llm \\\n    -o wide"
    assert step.output == ("NAME",)


def test_a_here_document_is_part_of_its_command() -> None:
    [step] = steps_of(block("$ kubectl apply -f - <<'EOF'\nkind: Pod\n$ not a command\nEOF\npod/x created"))
    assert step.command.endswith("kind: Pod\n$ not a command\nEOF")
    assert step.output == ("pod/x created",)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("NAME  STATE", "a console block starts with a command"),
        ("", "a console block starts with a command"),
        ("$ \nx", "there is no command"),
        ("$ kubectl get llm\n…", "the output is … alone, which any output matches"),
        ("$ kubectl get llm\n… …", "the output is … alone"),
        ("$ true\n$ kubectl get llm\n…\n\n…", "the output is … alone"),
    ],
)
def test_a_block_that_checks_nothing_is_an_error(text: str, complaint: str) -> None:
    with pytest.raises(PageError, match=complaint):
        steps_of(block(text))


def test_a_change_of_a_command_or_of_its_output_changes_the_digest() -> None:
    digests = {digest_of([block(text)]) for text in ("$ a\nb", "$ a\nc", "$ b\nb")}
    assert len(digests) == 3
    assert digest_of([block("$ a\nb")]) in digests
