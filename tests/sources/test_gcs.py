"""gs://: models in a server with Google Cloud Storage's protocol, behind a proxy that checks tokens."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from support.fakes.google_tokens import TokenService, token_service
from support.faults.faulty_http import cut, faulty, flipped
from support.programs.cloud_storage import CloudStorage, cloud_storage
from support.programs.fetcher import Outcome, content_of, fetch

pytestmark = pytest.mark.slow  # of all sources, `make test` has the Hub's, S3 and a registry
FILES = {"config.json": b"{}", "model.safetensors": os.urandom(1 << 20), "of two/tok+en izer.json": b"[1]"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudStorage]:
    with cloud_storage(tmp_path_factory.mktemp("gcs")) as store:
        store.make_bucket("models")
        for path, content in FILES.items():
            store.put("models", f"llama/{path}", content)
        store.put("models", "llama-large/config.json", b"another one")
        yield store


@pytest.fixture
def tokens() -> Iterator[TokenService]:
    with token_service() as service:
        yield service


def secret(folder: Path, key: str) -> Path:
    folder.mkdir()
    (folder / "gcloud-application-credentials.json").write_text(key)
    return folder


def fetched(url: str, uri: str, folder: Path, *flags: str) -> Outcome:
    return fetch(uri, folder, "--endpoint", url, "--give-up-after=5", *flags)


def test_all_objects_below_the_path_are_fetched(store: CloudStorage, tmp_path: Path) -> None:
    assert fetched(store.url, "gs://models/llama", tmp_path / "model", "--anonymous").code == 0
    assert content_of(tmp_path / "model") == FILES


def test_one_object_is_fetched(store: CloudStorage, tmp_path: Path) -> None:
    uri = "gs://models/llama/model.safetensors"
    assert fetched(store.url, uri, tmp_path / "model", "--anonymous").code == 0
    assert content_of(tmp_path / "model") == {"model.safetensors": FILES["model.safetensors"]}


def test_an_object_that_was_composed_is_compared_by_its_crc32c(store: CloudStorage, tmp_path: Path) -> None:
    store.put("models", "parts/1", os.urandom(1000))
    store.put("models", "parts/2", os.urandom(1000))
    store.compose("models", "composed/model.bin", ["parts/1", "parts/2"])
    with faulty(store.url) as proxy:
        assert fetched(proxy.url, "gs://models/composed", tmp_path / "right", "--anonymous").code == 0
        record = json.loads((tmp_path / "right/.slipway/fetched.json").read_text())
        proxy.fail("alt=media", flipped)
        assert fetched(proxy.url, "gs://models/composed", tmp_path / "wrong", "--anonymous").code == 12
    assert record["files"][0]["digest"].partition(":")[0] in ("crc32c", "md5")


def test_a_cut_connection_is_continued(store: CloudStorage, tmp_path: Path) -> None:
    with faulty(store.url) as proxy:
        proxy.fail("safetensors.*alt=media", cut(500_000), times=1)
        assert fetched(proxy.url, "gs://models/llama", tmp_path / "model", "--anonymous").code == 0
        assert proxy.count(r"bytes=[1-9]") == 1
    assert content_of(tmp_path / "model") == FILES


def test_a_service_account_gets_a_token_by_its_key(store: CloudStorage, tokens: TokenService, tmp_path: Path) -> None:
    with faulty(store.url, allows=tokens.allows) as proxy:
        key = secret(tmp_path / "secret", tokens.key())
        outcome = fetched(proxy.url, "gs://models/llama", tmp_path / "model", "--credentials", str(key))
    assert (outcome.code, tokens.given) == (0, 1)
    assert content_of(tmp_path / "model") == FILES
    assert tokens.token not in str(outcome.lines)


def test_a_pod_gets_a_token_from_the_metadata_server(store: CloudStorage, tokens: TokenService, tmp_path: Path) -> None:
    environment = {"GCE_METADATA_HOST": tokens.url.removeprefix("http://")}
    with faulty(store.url, allows=tokens.allows) as proxy:
        outcome = fetch("gs://models/llama", tmp_path / "model", "--endpoint", proxy.url, environment=environment)
    assert outcome.code == 0


def test_a_key_of_another_account_is_refused(store: CloudStorage, tokens: TokenService, tmp_path: Path) -> None:
    key = secret(tmp_path / "secret", tokens.key(rsa.generate_private_key(65537, 2048)))
    outcome = fetched(store.url, "gs://models/llama", tmp_path / "model", "--credentials", str(key))
    assert outcome.code == 11
    assert "gives no token for reader@project.iam.gserviceaccount.com (HTTP 400)" in outcome.sentence
    assert "PRIVATE KEY" not in str(outcome.lines)


@pytest.mark.parametrize("key", ["{}", "not JSON", '{"type": "authorized_user"}'])
def test_what_is_no_key_is_named(store: CloudStorage, tmp_path: Path, key: str) -> None:
    flags = ("--credentials", str(secret(tmp_path / "secret", key)))
    outcome = fetched(store.url, "gs://models/llama", tmp_path / "model", *flags)
    assert (outcome.code, "is not the key of a service account" in outcome.sentence) == (11, True)


def test_without_an_identity_a_bucket_that_needs_one_is_refused(
    store: CloudStorage, tokens: TokenService, tmp_path: Path
) -> None:
    with faulty(store.url, allows=tokens.allows) as proxy:
        outcome = fetched(proxy.url, "gs://models/llama", tmp_path / "model", "--anonymous")
    assert (outcome.code, "refuses requests without credentials" in outcome.sentence) == (11, True)


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("gs://absent/llama", "has no bucket 'absent'"),
        ("gs://models/absent", "There are no files at gs://models/absent"),
    ],
)
def test_what_is_absent_is_named(store: CloudStorage, tmp_path: Path, uri: str, says: str) -> None:
    outcome = fetched(store.url, uri, tmp_path / "model", "--anonymous")
    assert (outcome.code, says in outcome.sentence) == (10, True), outcome.sentence
