"""The content of a build context decides whether an image is built again; builds reach packages as the host does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from slipway_devcluster import containerfiles
from slipway_devcluster.images import CA_BUNDLE

# --- what counts in a build context ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "patterns", "ignored"),
    [
        ("notes.md", ["*.md"], True),
        ("docs/notes.md", ["*.md"], False),
        ("docs/notes.md", ["**/*.md"], True),
        ("notes.md", ["**/*.md"], True),
        ("docs/deep/notes.md", ["docs"], True),
        ("docs/deep/notes.md", ["/docs/"], True),
        ("docs/notes.md", ["docs/**"], True),
        ("README.md", ["*.md", "!README.md"], False),
        ("README.md", ["!README.md", "*.md"], True),
        ("a.txt", ["?.txt"], True),
        ("ab.txt", ["?.txt"], False),
        ("a+b", ["a+b"], True),
        ("aab", ["a+b"], False),
    ],
)
def test_ignore_patterns_have_the_same_meaning_as_in_buildah(path: str, patterns: list[str], ignored: bool) -> None:
    assert containerfiles.is_ignored(Path(path), patterns) is ignored


@pytest.fixture
def containerfile(tmp_path: Path) -> Path:
    context = tmp_path / "context"
    (context / "package" / "__pycache__").mkdir(parents=True)
    (context / ".containerignore").write_text("# not for the image\n\n*.md\n")
    (context / "package" / "code.py").write_text("code")
    (context / "Containerfile").write_text("FROM scratch\n")
    return context / "Containerfile"


def hash_of(containerfile: Path) -> str:
    return containerfiles.context_hash(containerfile, containerfiles.ignore_patterns(containerfile.parent))


def change_code(context: Path) -> None:
    (context / "package" / "code.py").write_text("other code")


def add_file(context: Path) -> None:
    (context / "package" / "more.py").touch()


def make_executable(context: Path) -> None:
    (context / "package" / "code.py").chmod(0o755)


def change_steps(context: Path) -> None:
    (context / "Containerfile").write_text("FROM other\n")


@pytest.mark.parametrize("change", [change_code, add_file, make_executable, change_steps])
def test_a_change_of_what_an_image_contains_causes_a_build(containerfile: Path, change: Callable[[Path], None]) -> None:
    before = hash_of(containerfile)

    change(containerfile.parent)

    assert hash_of(containerfile) != before


@pytest.mark.parametrize("name", ["notes.md", "package/__pycache__/code.pyc"])
def test_a_change_of_an_ignored_file_causes_no_build(containerfile: Path, name: str) -> None:
    before = hash_of(containerfile)

    (containerfile.parent / name).write_text("something")

    assert hash_of(containerfile) == before


# --- how packages are reached ----------------------------------------------------------------------------------------


def test_pip_inside_a_build_trusts_the_authorities_of_the_machine() -> None:
    assert containerfiles.pip_configuration([], {}) == f"[global]\ncert = {CA_BUNDLE}\n"


def test_pip_inside_a_build_uses_the_index_of_the_host() -> None:
    file = "[global]\nindex-url = https://file.example/simple\ntimeout = 60\n[install]\nproxy = http://proxy.example\n"
    environment = {"PIP_INDEX_URL": "https://named.example/simple"}

    lines = containerfiles.pip_configuration([file], environment).splitlines()

    assert set(lines[2:]) == {
        "index-url = https://named.example/simple",
        "timeout = 60",
        "proxy = http://proxy.example",
    }


def test_pip_inside_a_build_gets_no_setting_with_a_folder_of_the_host() -> None:
    file = "[global]\nfind-links = /srv/wheels\ncert = /srv/ca.pem\n"

    assert "/srv" not in containerfiles.pip_configuration(
        [file], {"PIP_FIND_LINKS": "/srv/wheels", "PIP_CERT": "/srv/ca.pem"}
    )


# --- the content of a Containerfile ----------------------------------------------------------------------------------


def test_the_named_stages_of_a_containerfile_are_found() -> None:
    assert containerfiles.stages(
        "ARG BASE\nFROM ${BASE} AS packages\nRUN a\nFROM ${BASE}\nCOPY --from=packages /a /a\n"
    ) == ["packages"]
