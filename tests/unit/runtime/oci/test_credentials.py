"""Which entry of a docker config.json counts for a repository."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from slipway_runtime.oci import RegistryError
from slipway_runtime.oci.credentials import Credentials, credentials_for, from_folder


def auth(user: str, password: str = "") -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def config(**entries: dict[str, str]) -> str:
    return json.dumps({"auths": entries})


@pytest.mark.parametrize(
    ("entry", "registry"),
    [
        ("r.example.com", "r.example.com"),
        ("https://r.example.com", "r.example.com"),
        ("https://r.example.com/v2/", "r.example.com"),
        ("r.example.com:5000", "r.example.com:5000"),
        ("r.example.com/team", "r.example.com"),
        ("*.example.com", "r.example.com"),
        ("https://index.docker.io/v1/", "docker.io"),
        ("docker.io", "docker.io"),
    ],
)
def test_an_entry_counts_for_its_registry(entry: str, registry: str) -> None:
    assert credentials_for(config(**{entry: auth("me")}), registry, "team/caches").user == "me"


@pytest.mark.parametrize(
    "entry",
    [
        "example.com",
        "r.example.com:5000",
        "r.example.com/other",
        "r.example.com/tea",
        "*.com",
        "r.example.com.evil.net",
    ],
)
def test_an_entry_counts_for_nothing_else(entry: str) -> None:
    with pytest.raises(RegistryError, match=r"no credentials for r\.example\.com/team/caches"):
        credentials_for(config(**{entry: auth("me")}), "r.example.com", "team/caches")


def test_what_else_the_secret_has_is_counted_but_not_named() -> None:
    """The sentence gets into the status, which more people may read than the Secret."""
    entries = {"internal.example.com": auth("me"), "r.example.com/payments": auth("me")}
    with pytest.raises(RegistryError, match="it has 2 for others") as raised:
        credentials_for(config(**entries), "r.example.com", "team/caches")
    assert not any(name in f"{raised.value}" for name in ("internal", "payments"))


def test_the_longest_path_counts() -> None:
    entries = {
        "r.example.com": auth("host"),
        "*.example.com": auth("pattern"),
        "https://r.example.com/team": auth("team"),
        "r.example.com/team/caches": auth("repository"),
    }
    assert credentials_for(config(**entries), "r.example.com", "team/caches").user == "repository"
    assert credentials_for(config(**entries), "r.example.com", "team/models").user == "team"
    assert credentials_for(config(**entries), "r.example.com", "other").user == "host"
    assert credentials_for(config(**entries), "q.example.com", "other").user == "pattern"


def test_passwords_may_have_colons_and_tokens_are_kept() -> None:
    assert credentials_for(config(**{"r.io": auth("me", "a:b")}), "r.io", "x") == Credentials("me", "a:b")
    found = credentials_for(json.dumps({"auths": {"r.io": {"username": "u", "password": "p"}}}), "r.io", "x")
    assert (found.user, found.password) == ("u", "p")
    assert credentials_for(config(**{"r.io": {"identitytoken": "t"}}), "r.io", "x") == Credentials("", "", "t")


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"auths": 1}', '{"auths": {"r.io": 1}}', '{"auths": {"r.io": {"auth": "%%"}}}', "[" * 100_000],
)
def test_damaged_configs_are_one_sentence(text: str) -> None:
    with pytest.raises(RegistryError, match="is not valid"):
        credentials_for(text, "r.io", "x")


def test_a_credential_helper_is_named_as_the_reason() -> None:
    with pytest.raises(RegistryError, match="credential helper"):
        credentials_for('{"credsStore": "desktop"}', "r.io", "x")


def test_a_secret_without_a_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match=r"has no \.dockerconfigjson"):
        from_folder(tmp_path, "r.io", "x")


def test_passwords_are_in_no_traceback() -> None:
    assert "secret" not in repr(Credentials("me", "secret"))
