"""hf://: models of a Hugging Face Hub, with what it redirects to, refuses, and limits."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.fakes.hub import LARGE, FakeHub, Repository, hub
from support.programs.fetcher import content_of, fetch

WEIGHTS = os.urandom(3 * LARGE)
FILES = {
    "config.json": b'{"architectures": []}',
    "model.safetensors": WEIGHTS,
    "tokenizer/tokenizer.json": os.urandom(LARGE),
    "empty.txt": b"",
}


@pytest.fixture
def server() -> Iterator[FakeHub]:
    with hub(model=Repository(dict(FILES))) as server:
        yield server


def test_all_files_of_the_commit_are_fetched(server: FakeHub, tmp_path: Path) -> None:
    outcome = fetch("hf://org/model", tmp_path / "model", "--endpoint", server.url)
    assert (outcome.code, outcome.last["event"]) == (0, "fetched")
    assert outcome.last["version"] == server.repositories["org/model"].commit
    assert content_of(tmp_path / "model") == FILES


def test_nothing_else_is_left_next_to_the_folder(server: FakeHub, tmp_path: Path) -> None:
    fetch("hf://org/model", tmp_path / "model", "--endpoint", server.url)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".model.lock", "model"]


def test_a_complete_folder_is_used_without_a_request(server: FakeHub, tmp_path: Path) -> None:
    fetch("hf://org/model", tmp_path / "model", "--endpoint", server.url)
    server.requests.clear()
    outcome = fetch("hf://org/model", tmp_path / "model", "--endpoint", server.url)
    assert (outcome.code, outcome.last["event"], server.requests) == (0, "present", [])


def test_a_complete_folder_is_used_while_the_hub_is_down(server: FakeHub, tmp_path: Path) -> None:
    fetch("hf://org/model", tmp_path / "model", "--endpoint", server.url)
    outcome = fetch("hf://org/model", tmp_path / "model", "--endpoint", "http://127.0.0.1:9")
    assert (outcome.code, outcome.last["event"]) == (0, "present")


def test_a_folder_that_has_lost_a_file_is_fetched_again(server: FakeHub, tmp_path: Path) -> None:
    fetch("hf://org/model", tmp_path / "model", "--endpoint", server.url)
    (tmp_path / "model/model.safetensors").unlink()
    assert fetch("hf://org/model", tmp_path / "model", "--endpoint", server.url).last["event"] == "fetched"
    assert content_of(tmp_path / "model") == FILES


def test_a_folder_with_another_model_is_not_replaced_unless_that_is_wanted(server: FakeHub, tmp_path: Path) -> None:
    server.repositories["org/other"] = Repository({"config.json": b"{}"})
    fetch("hf://org/model", tmp_path / "model", "--endpoint", server.url)
    outcome = fetch("hf://org/other", tmp_path / "model", "--endpoint", server.url)
    assert outcome.code == 4
    assert "has hf://org/model, and hf://org/other is wanted. Name another folder" in outcome.sentence
    assert content_of(tmp_path / "model") == FILES
    assert fetch("hf://org/other", tmp_path / "model", "--endpoint", server.url, "--replace").code == 0
    assert content_of(tmp_path / "model") == {"config.json": b"{}"}


def test_a_folder_of_someone_else_is_not_replaced(server: FakeHub, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model/thesis.txt").write_text("important")
    outcome = fetch("hf://org/model", tmp_path / "model", "--endpoint", server.url)
    assert (outcome.code, server.requests) == (4, [])
    assert "files that this program hasn't fetched" in outcome.sentence


def test_a_refresh_fetches_another_version_and_no_second_time_the_same(server: FakeHub, tmp_path: Path) -> None:
    fetch("hf://org/model", tmp_path / "model", "--endpoint", server.url)
    again = fetch("hf://org/model", tmp_path / "model", "--endpoint", server.url, "--refresh")
    assert again.last["event"] == "present"
    server.repositories["org/model"].files["config.json"] = b'{"new": true}'
    newer = fetch("hf://org/model", tmp_path / "model", "--endpoint", server.url, "--refresh")
    assert newer.last["version"] == server.repositories["org/model"].commit
    assert content_of(tmp_path / "model")["config.json"] == b'{"new": true}'


def test_a_refresh_keeps_what_is_there_while_the_hub_is_down(server: FakeHub, tmp_path: Path) -> None:
    fetch("hf://org/model", tmp_path / "model", "--endpoint", server.url)
    flags = ("--endpoint", "http://127.0.0.1:9", "--refresh", "--give-up-after=1")
    outcome = fetch("hf://org/model", tmp_path / "model", *flags)
    assert (outcome.code, outcome.last["event"]) == (0, "unrefreshed")
    assert content_of(tmp_path / "model") == FILES


def test_the_token_is_sent_to_the_hub_and_to_no_other_server(server: FakeHub, tmp_path: Path) -> None:
    environment = {"HF_TOKEN": server.token, "HF_ENDPOINT": server.url}
    server.repositories["org/model"].private = True
    assert fetch("hf://org/model", tmp_path / "model", environment=environment).code == 0
    assert server.authorizations == {server.url: {f"Bearer {server.token}"}, server.storage: {""}}


def test_the_token_of_a_mounted_secret_comes_before_the_environment(server: FakeHub, tmp_path: Path) -> None:
    server.repositories["org/model"].private = True
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/HF_TOKEN").write_text(f"{server.token}\n")
    flags = ("--endpoint", server.url, "--credentials", str(tmp_path / "secret"))
    assert fetch("hf://org/model", tmp_path / "model", *flags, environment={"HF_TOKEN": "wrong"}).code == 0


def test_neither_a_token_nor_a_signature_is_printed(server: FakeHub, tmp_path: Path) -> None:
    server.signed_until = 0.0  # each signed URL is refused
    environment = {"HF_TOKEN": server.token}
    outcome = fetch("hf://org/model", tmp_path / "model", "--endpoint", server.url, environment=environment)
    assert outcome.code == 11
    assert server.token not in str(outcome.lines)
    assert "secret-" not in str(outcome.lines)


def test_a_signed_url_is_used_for_all_ranges_of_a_file(
    server: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slipway_fetcher.download.downloading.RANGE", LARGE)
    fetch("hf://org/model", tmp_path / "model", "--endpoint", server.url)
    assert content_of(tmp_path / "model") == FILES
    assert server.count("GET /storage/") == 3 + 1
    assert server.count("resolve/.*safetensors") == 1


def test_a_long_list_of_files_has_several_pages(server: FakeHub, tmp_path: Path) -> None:
    server.page = 2
    fetch("hf://org/model", tmp_path / "model", "--endpoint", server.url)
    assert content_of(tmp_path / "model") == FILES


def test_only_the_files_that_match_are_fetched(server: FakeHub, tmp_path: Path) -> None:
    flags = ("--endpoint", server.url, "--files", "*.json")
    fetch("hf://org/model", tmp_path / "model", *flags)
    assert sorted(content_of(tmp_path / "model")) == ["config.json", "tokenizer/tokenizer.json"]


def test_patterns_that_match_nothing_are_answered_with_what_there_is(server: FakeHub, tmp_path: Path) -> None:
    outcome = fetch("hf://org/model", tmp_path / "model", "--endpoint", server.url, "--files", "*.gguf")
    assert outcome.code == 10
    assert "matches '*.gguf'. Correct `files`; there are config.json, empty.txt" in outcome.sentence


@pytest.mark.parametrize(
    ("uri", "flags", "code", "says"),
    [
        ("hf://org/absent", [], 10, "has no model org/absent that can be read without a token"),
        ("hf://org/private", [], 10, "has no model org/private that can be read without a token"),
        ("hf://org/gated", [], 11, "org/gated is a gated model, and .* doesn't allow access without a token"),
        ("hf://org/model", ["--revision", "v9"], 10, "org/model at .* has no revision 'v9'"),
        ("hf://org", [], 4, "Write hf://ORGANIZATION/MODEL"),
    ],
)
def test_a_refusal_is_one_reason_and_a_remedy(
    server: FakeHub, tmp_path: Path, uri: str, flags: list[str], code: int, says: str
) -> None:
    server.repositories["org/private"] = Repository({}, private=True)
    server.repositories["org/gated"] = Repository({}, gated=True)
    outcome = fetch(uri, tmp_path / "model", "--endpoint", server.url, *flags)
    assert outcome.code == code
    assert re.search(says, outcome.sentence), outcome.sentence
    assert not (tmp_path / "model").exists()
