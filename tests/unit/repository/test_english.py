"""The English lint: what it reads in a file, what it reports, and what it leaves out."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest
from repository import english

RULES = """
Some rules.

| not this | but that |
|---|---|
| `yore` | again |
| `an erst`, `ersts are` | a request |

More of them.
"""
TABLE = english.words(RULES)


def found(name: str, text: str) -> list[tuple[int, str, str]]:
    return [(hit.line, hit.found, hit.remedy) for hit in english.hits(Path(name), dedent(text), TABLE)]


def test_a_report_names_file_line_word_and_remedy() -> None:
    (hit,) = english.hits(Path("a/b.md"), "One.\nIt starts yore.\n", TABLE)
    assert str(hit) == "a/b.md:2: not 'yore', but: again"


def test_the_table_of_the_repository_is_read_and_no_phrase_is_in_it_twice() -> None:
    phrases = [word.pattern.pattern for word in english.words((english.ROOT / english.RULES).read_text())]
    assert len(phrases) > 20
    assert len(phrases) == len(set(phrases))


def test_rules_without_a_table_are_an_error() -> None:
    with pytest.raises(ValueError, match="has no table that starts with"):
        english.words("# Rules\n")


def test_comments_docstrings_and_strings_of_python_are_read() -> None:
    code = '''\
        """Starts yore."""

        log.info("It starts yore")  # and begins yore
        '''
    assert [line for line, *_ in found("a.py", code)] == [1, 3, 3]


@pytest.mark.parametrize(
    "code",
    ["yore = 1", "self.yore(yore=2)", 'x["yore"]', 'f"starts {yore} now"', '"the field `yore` of it"', '"an", "erst"'],
)
def test_names_in_python_are_not_read(code: str) -> None:
    assert found("a.py", code + "\n") == []


def test_a_phrase_may_continue_in_the_next_line() -> None:
    code = '''\
        # This is an
        # erst, and
        log.info(
            "this is an "
            f"erst of {x}"
        )
        """Here is an
        erst."""
        '''
    assert [line for line, *_ in found("a.py", code)] == [1, 4, 7]


def test_a_phrase_ends_with_its_paragraph() -> None:
    assert found("a.md", "## This is an\n\nErst of it.\n") == []


@pytest.mark.parametrize(
    "text",
    [
        "`yore`",
        "``yore ` yore``",
        "```\nyore\n```",
        "[again](yore.md)",
        "https://example.com/a/yore",
        "test_yore",
        "an-yore",
    ],
)
def test_names_in_markdown_are_not_read(text: str) -> None:
    assert found("a.md", f"Text.\n\n{text}\n") == []


def test_prose_after_code_is_read() -> None:
    assert found("a.md", "```sh\nyore\n```\nStart `it` Yore\n") == [(4, "Yore", "again")]


def test_other_files_are_read_with_all_that_is_in_them() -> None:
    assert [line for line, *_ in found("a.yaml", "message: yore\n# yore\n")] == [1, 2]


@pytest.mark.parametrize("before", ["  # english: a field of vLLM", "\n# english: a field of vLLM\n"])
def test_a_line_with_a_reason_is_not_reported(before: str) -> None:
    own, _, above = before.partition("\n")
    assert found("a.py", f"{above}x = 'start yore'{own}\n") == []


def test_an_escape_needs_a_reason() -> None:
    assert len(found("a.py", "x = 'start yore'  # english:\n")) == 1


def test_locked_and_generated_files_are_not_read() -> None:
    listed = {str(path) for path in english.files([english.ROOT])}
    assert not [path for path in listed if path.endswith(("uv.lock", "_pb2.py", "LICENSE", ".json"))]


def test_the_checker_itself_passes(capsys: pytest.CaptureFixture[str]) -> None:
    assert english.main(["tests/repository", "tests/unit/repository"]) == 0
    assert capsys.readouterr().out == ""
