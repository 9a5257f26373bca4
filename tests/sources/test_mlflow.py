"""mlflow://: versions and aliases of a real MLflow registry, with their artifacts in S3 or passed on by the server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.faults.faulty_http import cut, faulty
from support.programs.fetcher import Outcome, content_of, fetch
from support.programs.mlflow_server import MlflowServer, mlflow_server
from support.programs.object_store import ROOT, ObjectStore, object_store

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
]  # of all sources, `make test` has the Hub's, S3 and a registry
FILES = {"MLmodel": b"flavors: {}", "model/model.safetensors": os.urandom(1 << 20)}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    with object_store(tmp_path_factory.mktemp("s3")) as store:
        store.make_bucket("models")
        for path, content in FILES.items():
            store.put("models", f"llama/{path}", content)
        yield store


@pytest.fixture(scope="module")
def server(store: ObjectStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    with mlflow_server(tmp_path_factory.mktemp("mlflow"), store) as server:
        yield server


def fetched(server: MlflowServer | str, store: ObjectStore, uri: str, folder: Path, *flags: str) -> Outcome:
    url = server if isinstance(server, str) else server.url
    keys = {"AWS_ACCESS_KEY_ID": ROOT.identifier, "AWS_SECRET_ACCESS_KEY": ROOT.secret}
    environment = {**keys, "AWS_ENDPOINT_URL": store.url, "MLFLOW_TRACKING_URI": url}
    return fetch(uri, folder, *flags, environment=environment)


def test_a_version_in_s3_is_fetched_from_there(server: MlflowServer, store: ObjectStore, tmp_path: Path) -> None:
    version = server.register("in-s3", "s3://models/llama")
    outcome = fetched(server, store, f"mlflow://models:/in-s3/{version}", tmp_path / "model")
    assert outcome.code == 0
    assert outcome.last["version"].startswith(f"models:/in-s3/{version} ")
    assert content_of(tmp_path / "model") == FILES


def test_a_version_of_a_run_is_passed_on_by_the_server(
    server: MlflowServer, store: ObjectStore, tmp_path: Path
) -> None:
    run = server.run()
    server.upload(f"{server.artifact_uri(run)}/llama", FILES)
    version = server.register("of-a-run", f"runs:/{run}/llama", run_id=run)
    assert fetched(server, store, f"mlflow://models:/of-a-run/{version}", tmp_path / "model").code == 0
    assert content_of(tmp_path / "model") == FILES


def test_a_version_of_a_logged_model_is_passed_on_by_the_server(
    server: MlflowServer, store: ObjectStore, tmp_path: Path
) -> None:
    made = server.post("logged-models", experiment_id="0", name="llama")["model"]["info"]
    server.upload(made["artifact_uri"], FILES)
    version = server.register("logged", f"models:/{made['model_id']}", model_id=made["model_id"])
    assert fetched(server, store, f"mlflow://models:/logged/{version}", tmp_path / "model").code == 0
    assert content_of(tmp_path / "model") == FILES


def test_a_file_that_is_passed_on_is_received_again_after_a_cut(
    server: MlflowServer, store: ObjectStore, tmp_path: Path
) -> None:
    run = server.run()
    server.upload(f"{server.artifact_uri(run)}/llama", FILES)
    version = server.register("cut", f"runs:/{run}/llama", run_id=run)
    with faulty(server.url) as proxy:
        proxy.fail("GET .*safetensors", cut(500_000), times=1)
        assert fetched(proxy.url, store, f"mlflow://models:/cut/{version}", tmp_path / "model").code == 0
    assert content_of(tmp_path / "model") == FILES


def test_an_alias_leads_to_its_version_and_a_moved_one_is_followed_by_a_refresh_only(
    server: MlflowServer, store: ObjectStore, tmp_path: Path
) -> None:
    store.put("models", "second/MLmodel", b"2")
    first, second = (server.register("moving", f"s3://models/{path}") for path in ("llama", "second"))
    uri, folder = "mlflow://models:/moving@champion", tmp_path / "model"
    server.post("registered-models/alias", name="moving", alias="champion", version=first)
    assert fetched(server, store, uri, folder).last["version"].startswith(f"models:/moving/{first} ")
    server.post("registered-models/alias", name="moving", alias="champion", version=second)
    assert fetched(server, store, uri, folder).last["version"].startswith(f"models:/moving/{first} ")
    assert fetched(server, store, uri, folder, "--refresh").last["version"].startswith(f"models:/moving/{second} ")
    assert content_of(folder) == {"MLmodel": b"2"}


@pytest.mark.parametrize(
    ("uri", "code", "says"),
    [
        ("mlflow://models:/absent/1", 10, "has no version 1 of model 'absent'."),
        ("mlflow://models:/known/99", 10, "has no version 99 of model 'known'."),
        ("mlflow://models:/known@absent", 10, "has no alias 'absent' of model 'known'."),
        (
            "mlflow://models:/on-disk/1",
            4,
            "are at 'dbfs:/models/llama', which can't be fetched. Register",
        ),
        ("mlflow://known/1", 4, "Write mlflow://models:/NAME/VERSION or"),
    ],
)
def test_a_refusal_is_one_reason_and_a_remedy(
    server: MlflowServer, store: ObjectStore, tmp_path: Path, uri: str, code: int, says: str
) -> None:
    server.register("known", "s3://models/llama")
    server.register("on-disk", "dbfs:/models/llama")
    outcome = fetched(server, store, uri, tmp_path / "model")
    assert (outcome.code, says in outcome.sentence) == (code, True), outcome.sentence


def test_without_an_address_the_field_is_named(tmp_path: Path) -> None:
    outcome = fetch("mlflow://models:/llama/1", tmp_path / "model")
    assert (outcome.code, "Set spec.model.endpoint, or MLFLOW_TRACKING_URI in the Secret" in outcome.sentence) == (
        4,
        True,
    )
