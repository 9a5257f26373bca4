"""Links and lists of the repository's pages, as the site needs them; and the navigation."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from staging import Links, Repository, StagingError, expanded, repository_at, sources

HERE = Repository(
    frozenset(
        [
            "README.md",
            "LICENSE",
            "docs/install.md",
            "docs/images/wake.svg",
            "charts/slipway/README.md",
            "charts/slipway/values.yaml",
            "tests/cluster/test_a.py",
            "tests/conftest.py",
        ]
    )
)


def rewritten(text: str, page: str = "docs/install.md") -> str:
    return Links(HERE).rewritten(page, text)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("[a](../README.md#two)", "[a](../README.md#two)"),
        ("[a](images/wake.svg)", "[a](images/wake.svg)"),
        ("[a](https://a.example/b.py)", "[a](https://a.example/b.py)"),
        ("[a](mailto:a@a.example)", "[a](mailto:a@a.example)"),
        ("[a](#here)", "[a](#here)"),
        ("[a](../tests/conftest.py)", "[a](../source/tests/conftest.py.md)"),
        (
            '[`a[0]`](../LICENSE) and [b](../LICENSE "c")',
            '[`a[0]`](../source/LICENSE.md) and [b](../source/LICENSE.md "c")',
        ),
        ("[a](../tests/)", "[a](../source/tests/index.md)"),
        ("[a](../charts/slipway)", "[a](../charts/slipway/README.md)"),
        ("```\n[a](../LICENSE)\n```", "```\n[a](../LICENSE)\n```"),
    ],
)
def test_a_link_leads_to_a_page_of_the_site(before: str, after: str) -> None:
    assert rewritten(before) == after


def test_a_link_of_the_front_page_leads_to_a_source_file() -> None:
    assert rewritten("[a](tests/conftest.py)", "README.md") == "[a](source/tests/conftest.py.md)"


def test_a_list_after_a_paragraph_gets_the_empty_line_that_it_needs() -> None:
    assert rewritten("Both:\n- a\n- b\n\n1. c") == "Both:\n\n- a\n- b\n\n1. c"


def test_files_and_folders_that_are_linked_have_pages_and_so_has_what_these_link_to() -> None:
    links = Links(HERE)
    links.rewritten("README.md", "[a](tests)")
    made = sources(links, HERE, lambda path: f"content of {path}")
    assert {*made} == {
        "source/tests/index.md",
        "source/tests/cluster/index.md",
        "source/tests/conftest.py.md",
        "source/tests/cluster/test_a.py.md",
    }
    assert "``````python\ncontent of tests/conftest.py\n``````" in made["source/tests/conftest.py.md"]
    assert "[cluster/](cluster/index.md)" in made["source/tests/index.md"]


def test_only_tracked_files_get_onto_the_site(tmp_path: Path) -> None:
    for name in ("page.md", "draft.md"):
        (tmp_path / name).write_text("# A\n")
    for command in (["init", "-q"], ["add", "page.md"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    assert repository_at(tmp_path).pages == ["page.md"]


def test_a_folder_without_git_is_an_error_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(StagingError, match=r"not a git repository.*Build in a clone of the repository"):
        repository_at(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StagingError, match=r"Build in a clone of the repository, with git\."):
        repository_at(tmp_path)


PAGES = {"README.md": "# Slipway\n", "docs/b.md": "# `B`\n", "docs/a.md": "# A\n", "docs/guides/c.md": "# C\n"}


def test_the_navigation_has_each_page_once_with_its_title() -> None:
    nav = [{"Start": ["README.md", "docs/none.md"]}, {"Guides": ["docs/guides/*"]}, {"All": ["docs/b.md", "docs/*"]}]
    assert expanded(nav, PAGES) == [
        {"Start": [{"Slipway": "README.md"}]},
        {"Guides": [{"C": "docs/guides/c.md"}]},
        {"All": [{"B": "docs/b.md"}, {"A": "docs/a.md"}]},
    ]


def test_a_part_without_pages_is_left_out() -> None:
    assert expanded([{"Concepts": ["docs/concepts/*"]}], PAGES) == []
