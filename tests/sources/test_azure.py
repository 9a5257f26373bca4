"""az://: models in Azurite, with keys of the account, shared access signatures and public containers."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.faults.faulty_http import cut, faulty, flipped
from support.programs.blob_storage import ACCOUNT, KEY, BlobStorage, blob_storage
from support.programs.fetcher import Outcome, content_of, fetch

pytestmark = pytest.mark.slow  # `make test` has the Hub's, S3 and a registry
FILES = {"config.json": b"{}", "model.safetensors": os.urandom(1 << 20), "of two/tok+en izer.json": b"[1]"}
RIGHT = {"AZURE_STORAGE_ACCESS_KEY": KEY}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BlobStorage]:
    with blob_storage(tmp_path_factory.mktemp("azurite")) as store:
        store.make_container("models")
        store.make_container("public", public=True)
        for path, content in FILES.items():
            store.put("models", f"llama/{path}", content)
            store.put("public", f"llama/{path}", content)
        store.put("models", "llama-large/config.json", b"another one")
        yield store


def fetched(url: str, path: str, folder: Path, environment: dict[str, str]) -> Outcome:
    return fetch(f"az://{ACCOUNT}/{path}", folder, "--endpoint", url, environment=environment)


def test_all_blobs_below_the_path_are_fetched_with_the_key_of_the_account(store: BlobStorage, tmp_path: Path) -> None:
    assert fetched(store.url, "models/llama", tmp_path / "model", RIGHT).code == 0
    assert content_of(tmp_path / "model") == FILES


def test_one_blob_is_fetched(store: BlobStorage, tmp_path: Path) -> None:
    assert fetched(store.url, "models/llama/model.safetensors", tmp_path / "model", RIGHT).code == 0
    assert content_of(tmp_path / "model") == {"model.safetensors": FILES["model.safetensors"]}


def test_a_shared_access_signature_is_enough_and_is_not_printed(store: BlobStorage, tmp_path: Path) -> None:
    signature = store.shared_access_signature()
    outcome = fetched(store.url, "models/llama", tmp_path / "model", {"AZURE_STORAGE_SAS_TOKEN": f"?{signature}"})
    assert outcome.code == 0
    assert signature.partition("sig=")[2] not in str(outcome.lines)


def test_a_public_container_needs_no_credentials(store: BlobStorage, tmp_path: Path) -> None:
    assert fetched(store.url, "public/llama", tmp_path / "model", {}).code == 0


def test_a_blob_is_compared_with_its_md5(store: BlobStorage, tmp_path: Path) -> None:
    fetched(store.url, "models/llama", tmp_path / "model", RIGHT)
    record = json.loads((tmp_path / "model/.slipway/fetched.json").read_text())
    digests = {file["path"]: file["digest"] for file in record["files"]}
    md5 = hashlib.md5(FILES["model.safetensors"], usedforsecurity=False).hexdigest()
    assert digests["model.safetensors"] == f"md5:{md5}"
    with faulty(store.url.removesuffix(f"/{ACCOUNT}")) as proxy:
        proxy.fail("GET .*safetensors", flipped)
        assert fetched(f"{proxy.url}/{ACCOUNT}", "models/llama", tmp_path / "wrong", RIGHT).code == 12


def test_a_cut_connection_is_continued_with_a_new_signature(store: BlobStorage, tmp_path: Path) -> None:
    with faulty(store.url.removesuffix(f"/{ACCOUNT}")) as proxy:
        proxy.fail("GET .*safetensors", cut(500_000), times=1)
        assert fetched(f"{proxy.url}/{ACCOUNT}", "models/llama", tmp_path / "model", RIGHT).code == 0
        assert proxy.count(r"bytes=[1-9]") == 1
    assert content_of(tmp_path / "model") == FILES


@pytest.mark.parametrize(
    ("path", "environment", "code", "says"),
    [
        ("models/absent", RIGHT, 10, f"There are no files at az://{ACCOUNT}/models/absent"),
        ("absent/llama", RIGHT, 10, "has no container 'absent' (HTTP 404, ContainerNotFound)"),
        ("models/llama", {"AZURE_STORAGE_ACCESS_KEY": "d3Jvbmc="}, 11, "refuses the credentials that were given"),
        ("models/llama", {"AZURE_STORAGE_ACCESS_KEY": "wrong!"}, 11, "is not a key of a storage account"),
        ("models/llama", {"AZURE_STORAGE_SAS_TOKEN": "sv=1&sig=x"}, 11, "refuses the credentials that were given"),
        ("models/llama", {}, 11, "refuses requests without credentials for container 'models'"),
    ],
)
def test_a_refusal_is_one_reason_and_a_remedy(
    store: BlobStorage, tmp_path: Path, path: str, environment: dict[str, str], code: int, says: str
) -> None:
    outcome = fetched(store.url, path, tmp_path / "model", environment)
    assert (outcome.code, says in outcome.sentence) == (code, True), outcome.sentence
