"""When output is as on the page, and where it first differs."""

from __future__ import annotations

import pytest
from support.pages.matching import Difference, difference, shows

VALUES = {"NAME": "llama", "NAMESPACE": "chat"}


def differs(page: str, output: str) -> Difference | None:
    return difference(page.splitlines(), output.splitlines(), VALUES)


@pytest.mark.parametrize(
    ("page", "output"),
    [
        ("", ""),
        ("a\nb", "a\nb"),
        ("NAME    STATE\nNAME    Failed", "NAME   STATE\nllama  Failed"),
        ("a … c", "a b b c"),
        ("a … c", "a c"),
        ("a…", "abc"),
        ("…\nb\n…", "a\nb\nc\nd"),
        ("…\nb\n…", "b"),
        ("a\n…\nb\n…\nb", "a\nb\nx\nb"),
        ("  Reason:  x.y (z)*", "Reason: x.y (z)*"),
        ("llm/NAME in NAMESPACE patched", "llm/llama in chat patched"),
    ],
)
def test_it_matches(page: str, output: str) -> None:
    assert differs(page, output) is None


@pytest.mark.parametrize(
    ("page", "output", "expected"),
    [
        ("a", "", Difference(0, None)),
        ("", "a", Difference(None, 0)),
        ("a\nb", "a\nc", Difference(1, 1)),
        ("a", "a\nb", Difference(None, 1)),
        ("a\n…\nc", "a\nb", Difference(2, 1)),
        ("x.y", "xzy", Difference(0, 0)),
        ("a b", "ab", Difference(0, 0)),
        ("a … b", "ab", Difference(0, 0)),
        ("a … b", "a xb", Difference(0, 0)),
        ("llm/NAME patched", "llm/other patched", Difference(0, 0)),
        ("Failed", "Failed: no such file", Difference(0, 0)),
    ],
)
def test_it_differs_there(page: str, output: str, expected: Difference) -> None:
    assert differs(page, output) == expected


def test_a_line_is_shown_only_in_words_of_its_own() -> None:
    error = 'Error from server (NotFound): secrets "keys" not found'
    assert shows(["…", "Error from server (NotFound): …"], error, VALUES)
    assert shows(["no"], "no", VALUES)
    assert not shows(["no…"], "no", VALUES)
    assert not shows(["…"], error, VALUES)
    assert not shows(["… …", "…d"], error, VALUES)
    assert not shows(["Error from server (Forbidden): …"], error, VALUES)
