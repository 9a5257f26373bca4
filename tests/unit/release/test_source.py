"""A release names its commit, date and repository, and nothing about who made it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from slipway_devcluster.errors import Refusal
from slipway_release import source
from slipway_release.source import Release, Source

IDENTITY = {
    "GIT_AUTHOR_NAME": "n",
    "GIT_AUTHOR_EMAIL": "n@example.com",
    "GIT_AUTHOR_DATE": "2026-11-29T12:00:00Z",
    "GIT_COMMITTER_NAME": "n",
    "GIT_COMMITTER_EMAIL": "n@example.com",
    "GIT_COMMITTER_DATE": "2026-11-29T12:00:00Z",
    "GIT_CONFIG_GLOBAL": "/dev/null",
}
NOON = 1795953600


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, **IDENTITY})
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    git(tmp_path, "init", "--quiet")
    (tmp_path / "VERSION").write_text("0.2.0\n")
    (tmp_path / ".gitignore").write_text("__pycache__/\n")
    git(tmp_path, "add", "--all")
    git(tmp_path, "commit", "--quiet", "--message=first")
    return tmp_path


def source_of(checkout: Path, environment: Mapping[str, str] | None = None) -> Source:
    return source.look(checkout, environment=environment or {})


def test_the_source_is_the_commit_with_its_time(checkout: Path) -> None:
    found = source_of(checkout)
    assert (found.version, found.revision, found.epoch) == ("0.2.0", git(checkout, "rev-parse", "HEAD"), NOON)
    assert found.created == "2026-11-29T12:00:00Z"


def test_source_date_epoch_sets_another_time(checkout: Path) -> None:
    assert source_of(checkout, {"SOURCE_DATE_EPOCH": "86400"}).created == "1970-01-02T00:00:00Z"


@pytest.mark.parametrize("moment", ["yesterday", "-1", "1e9", "²"])
def test_an_invalid_time_is_refused(checkout: Path, moment: str) -> None:
    with pytest.raises(Refusal, match="must be a number of seconds since 1970"):
        source_of(checkout, {"SOURCE_DATE_EPOCH": moment})


@pytest.mark.parametrize("file", ["VERSION", "new"])
def test_uncommitted_files_are_reported(checkout: Path, file: str) -> None:
    (checkout / file).write_text("0.3.0")
    assert source_of(checkout).is_dirty


def test_ignored_files_are_not_a_difference(checkout: Path) -> None:
    (checkout / "__pycache__").mkdir()
    (checkout / "__pycache__/code.pyc").touch()
    assert not source_of(checkout).is_dirty


def test_without_a_commit_there_is_nothing_to_release(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="is not a Git checkout with a commit"):
        source_of(tmp_path)


@pytest.mark.parametrize(
    ("remote", "url"),
    [
        ("https://git.example.com/llm/slipway.git", "https://git.example.com/llm/slipway"),
        ("https://me:secret@git.example.com/llm/slipway", "https://git.example.com/llm/slipway"),
        ("git@git.example.com:llm/slipway.git", "https://git.example.com/llm/slipway"),
        ("ssh://git@git.example.com:2222/llm/slipway.git", "https://git.example.com/llm/slipway"),
        ("/srv/git/slipway.git", ""),
        ("file:///srv/git/slipway.git", ""),
        ("../slipway", ""),
        ("", ""),
    ],
)
def test_the_url_of_the_repository_is_public_and_without_credentials(remote: str, url: str) -> None:
    assert source.public_url(remote) == url


def test_labels_say_only_what_is_known() -> None:
    labels = Source("0.2.0", "abc", NOON).labels()
    assert labels == {
        "org.opencontainers.image.version": "0.2.0",
        "org.opencontainers.image.revision": "abc",
        "org.opencontainers.image.created": "2026-11-29T12:00:00Z",
    }
    assert "org.opencontainers.image.source" in Source("0.2.0", "abc", NOON, "https://git.example.com/slipway").labels()


def test_an_image_is_tagged_with_the_version_unless_another_tag_is_set() -> None:
    made_from = Source("0.2.0", "abc", NOON)
    assert (
        Release("localhost:5000/x", made_from).image_name("slipway-operator")
        == "localhost:5000/x/slipway-operator:0.2.0"
    )
    assert Release("localhost", made_from, "next").image_name("slipway-operator") == "localhost/slipway-operator:next"


def test_the_files_are_those_that_git_tracks_or_would_track(checkout: Path) -> None:
    for name in ("new", "__pycache__/code.pyc"):
        (checkout / name).parent.mkdir(exist_ok=True)
        (checkout / name).touch()
    (checkout / "VERSION").unlink()
    assert source.files(checkout) == [Path(".gitignore"), Path("new")]
