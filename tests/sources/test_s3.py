"""s3://: models in a real S3 server, with its signatures, accounts and policies."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from slipway_fetcher.sources.aws import Keys
from support.fakes.cloud_identities import TOKEN, Identities, identities
from support.faults.faulty_http import cut, faulty, flipped
from support.programs.fetcher import Outcome, content_of, fetch
from support.programs.object_store import READER, ROOT, ObjectStore, object_store

PART = 5 << 20  # bytes: the smallest that S3 allows
FILES = {"config.json": b"{}", "model.safetensors": os.urandom(1 << 20), "of two/tok+en izer.json": b"[1]"}
GGUF = b"GGUF of a few bytes"
SHA256 = hashlib.sha256(GGUF)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    with object_store(tmp_path_factory.mktemp("s3")) as store:
        store.make_bucket("models", readable_by="reader")
        for path, content in FILES.items():
            store.put("models", f"llama/{path}", content)
        store.put("models", "llama-large/config.json", b"another one")
        store.make_bucket("public", readable_by="*")
        store.put("public", "one/config.json", b"{}")
        store.make_bucket("secret")
        store.put("secret", "llama/config.json", b"{}")
        yield store


def fetched(store: ObjectStore | str, uri: str, folder: Path, *flags: str, keys: Keys | None = READER) -> Outcome:
    environment = {"AWS_ACCESS_KEY_ID": keys.identifier, "AWS_SECRET_ACCESS_KEY": keys.secret} if keys else {}
    url = store if isinstance(store, str) else store.url
    return fetch(uri, folder, "--endpoint", url, *flags, environment=environment)


def digests(folder: Path) -> dict[str, str | None]:
    record = json.loads((folder / ".slipway/fetched.json").read_text())
    return {file["path"]: file["digest"] for file in record["files"]}


@pytest.mark.parametrize("uri", ["s3://models/llama", "s3://models/llama/"])
def test_all_objects_below_the_path_are_fetched(store: ObjectStore, tmp_path: Path, uri: str) -> None:
    assert fetched(store, uri, tmp_path / "model").code == 0
    assert content_of(tmp_path / "model") == FILES


def test_one_object_is_fetched(store: ObjectStore, tmp_path: Path) -> None:
    assert fetched(store, "s3://models/llama/model.safetensors", tmp_path / "model").code == 0
    assert content_of(tmp_path / "model") == {"model.safetensors": FILES["model.safetensors"]}


def test_keys_of_a_mounted_secret_are_used(store: ObjectStore, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "AWS_ACCESS_KEY_ID").write_text(READER.identifier)
    (secret / "AWS_SECRET_ACCESS_KEY").write_text(READER.secret)
    (secret / "AWS_ENDPOINT_URL").write_text(store.url)
    assert fetch("s3://models/llama", tmp_path / "model", "--credentials", str(secret)).code == 0


def test_a_public_bucket_needs_no_keys(store: ObjectStore, tmp_path: Path) -> None:
    assert fetched(store, "s3://public/one", tmp_path / "one", keys=None).code == 0
    wrong = Keys("reader", "wrong")
    assert fetched(store, "s3://public/one", tmp_path / "two", "--anonymous", keys=wrong).code == 0


def test_a_small_object_is_compared_with_the_md5_of_its_etag(store: ObjectStore, tmp_path: Path) -> None:
    fetched(store, "s3://models/llama", tmp_path / "model")
    md5 = hashlib.md5(FILES["model.safetensors"], usedforsecurity=False).hexdigest()
    assert digests(tmp_path / "model")["model.safetensors"] == f"md5:{md5}"


def test_a_checksum_that_was_stored_with_an_object_is_preferred(store: ObjectStore, tmp_path: Path) -> None:
    checksum = base64.b64encode(SHA256.digest()).decode()
    store.put(
        "models", "checked/model.gguf", GGUF, x_amz_sdk_checksum_algorithm="SHA256", x_amz_checksum_sha256=checksum
    )
    fetched(store, "s3://models/checked", tmp_path / "model")
    assert digests(tmp_path / "model") == {"model.gguf": f"sha256:{SHA256.hexdigest()}"}


@pytest.mark.parametrize("sizes", [[PART, PART, 1000], [PART + 5, PART, 7]], ids=["equal parts", "unequal parts"])
def test_an_object_in_parts_is_compared_with_the_etag_of_its_parts(
    store: ObjectStore, tmp_path: Path, sizes: list[int]
) -> None:
    key = f"parts-{sizes[0]}/model.bin"
    store.put_in_parts("models", key, [os.urandom(size) for size in sizes])
    outcome = fetched(store, f"s3://models/parts-{sizes[0]}", tmp_path / "model")
    assert outcome.code == 0
    assert re.fullmatch(r"md5-parts:[0-9a-f]{32}-3", digests(tmp_path / "model")["model.bin"] or "")


def test_a_wrong_byte_of_an_object_in_parts_is_found(store: ObjectStore, tmp_path: Path) -> None:
    store.put_in_parts("models", "damaged/model.bin", [os.urandom(PART), os.urandom(1000)])
    with faulty(store.url) as proxy:
        proxy.fail("GET /models/damaged/model.bin", flipped)
        outcome = fetched(proxy.url, "s3://models/damaged", tmp_path / "model")
    assert (outcome.code, "doesn't have the digest" in outcome.sentence) == (12, True)


def test_a_cut_connection_is_continued_with_a_new_signature(store: ObjectStore, tmp_path: Path) -> None:
    with faulty(store.url) as proxy:
        proxy.fail("GET /models/llama/model", cut(500_000), times=1)
        assert fetched(proxy.url, "s3://models/llama", tmp_path / "model").code == 0
        assert proxy.sent < sum(map(len, FILES.values())) * 1.3
    assert content_of(tmp_path / "model") == FILES


def test_a_long_list_has_several_pages(store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slipway_fetcher.sources.s3.PAGE", 2)
    assert fetched(store, "s3://models/llama", tmp_path / "model").code == 0
    assert content_of(tmp_path / "model") == FILES


def test_the_version_follows_the_content(store: ObjectStore, tmp_path: Path) -> None:
    store.put("models", "moving/config.json", b"1")
    first = fetched(store, "s3://models/moving", tmp_path / "model").last["version"]
    assert fetched(store, "s3://models/moving", tmp_path / "model", "--refresh").last["version"] == first
    store.put("models", "moving/config.json", b"2")
    assert fetched(store, "s3://models/moving", tmp_path / "model").last["version"] == first  # the server isn't asked
    assert fetched(store, "s3://models/moving", tmp_path / "model", "--refresh").last["version"] != first
    assert content_of(tmp_path / "model") == {"config.json": b"2"}


@pytest.mark.parametrize(
    ("uri", "keys", "code", "says"),
    [
        ("s3://absent/llama", ROOT, 10, "has no bucket 'absent' (HTTP 404, NoSuchBucket). Correct the URI."),
        ("s3://models/absent", READER, 10, "There are no files at s3://models/absent."),
        (
            "s3://models/llama",
            Keys("reader", "wrong"),
            11,
            "refuses the credentials that were given for bucket 'models' ",
        ),
        ("s3://models/llama", Keys("stranger", "wrong"), 11, "(HTTP 403, InvalidAccessKeyId)"),
        ("s3://secret/llama", READER, 11, "(HTTP 403, AccessDenied). Correct the keys in the Secret, and allow them"),
        ("s3://models/llama", None, 11, "refuses requests without credentials for bucket 'models' (HTTP 403"),
    ],
)
def test_a_refusal_is_one_reason_and_a_remedy(
    store: ObjectStore, tmp_path: Path, uri: str, keys: Keys | None, code: int, says: str
) -> None:
    outcome = fetched(store, uri, tmp_path / "model", keys=keys)
    assert (outcome.code, says in outcome.sentence) == (code, True), outcome.sentence
    assert "wrong" not in str(outcome.lines)
    assert not (tmp_path / "model").exists()


def test_half_of_the_keys_is_a_mistake_in_the_secret(store: ObjectStore, tmp_path: Path) -> None:
    outcome = fetch("s3://models/llama", tmp_path / "model", environment={"AWS_ACCESS_KEY_ID": "reader"})
    assert (outcome.code, "have no AWS_SECRET_ACCESS_KEY" in outcome.sentence) == (11, True)


@pytest.fixture
def services() -> Iterator[Identities]:
    with identities() as services:
        services.keys = (READER.identifier, READER.secret)
        yield services


def of_a_role(services: Identities, token: Path) -> dict[str, str]:
    """As the annotation of a ServiceAccount makes it on EKS."""
    role = {"AWS_ROLE_ARN": "arn:aws:iam::1:role/reader", "AWS_WEB_IDENTITY_TOKEN_FILE": str(token)}
    return {**role, "AWS_ENDPOINT_URL_STS": services.url}


def of_a_pod(services: Identities, token: Path) -> dict[str, str]:
    url = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{services.url}/v1/credentials"}
    return {**url, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(token)}


@pytest.mark.parametrize("environment", [of_a_role, of_a_pod])
def test_a_pod_gets_keys_by_its_identity(
    store: ObjectStore,
    services: Identities,
    tmp_path: Path,
    environment: Callable[[Identities, Path], dict[str, str]],
) -> None:
    (token := tmp_path / "token").write_text(TOKEN)
    given = {**environment(services, token), "AWS_ENDPOINT_URL_S3": store.url}
    assert fetch("s3://models/llama", tmp_path / "model", environment=given).code == 0
    assert len(services.given) == 1
    token.write_text("of another pod")
    refused = fetch("s3://models/llama", tmp_path / "other", environment=given)
    assert (refused.code, "gives no keys for " in refused.sentence) == (11, True)
