"""oci://: models in a real registry, as images and as artifacts, with passwords, tokens and TLS."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from slipway_devcluster import pki
from slipway_runtime.oci import File, Layer, Reference, Settings, image_of, push
from support.faults.faulty_http import cut, faulty, flipped
from support.programs.fetcher import Outcome, content_of, fetch
from support.programs.registry_process import (
    RunningRegistry,
    docker_config,
    running,
    token_service,
    with_passwords,
    with_tls,
)

WEIGHTS, OTHER = os.urandom(1 << 20), os.urandom(1 << 10)
REPOSITORY = "team/caches"  # for which the token service gives its tokens


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    folder = tmp_path_factory.mktemp("registry")
    with running(folder / "registry") as server:
        push_model(server, folder)
        yield server


def push_model(server: RunningRegistry, folder: Path, settings: Settings | None = None) -> str:
    """An image of two layers, of which the second changes a file; returns its digest."""
    first, second = folder / "first", folder / "second"
    first.write_bytes(WEIGHTS)
    second.write_bytes(OTHER)
    below = [File("models/config.json", first), File("models/model.gguf", first), File("etc/passwd", second)]
    layers = [Layer(below), Layer([File("models/config.json", second)])]
    image = image_of(layers)
    push(image, Reference.parse(f"{server.address}/{REPOSITORY}:llama"), settings or Settings())
    return image.digest


def fetched(server: RunningRegistry, folder: Path, *flags: str, reference: str = ":llama") -> Outcome:
    endpoint = [] if "--endpoint" in flags else ["--endpoint", f"http://{server.address}"]
    return fetch(f"oci://{server.address}/{REPOSITORY}{reference}", folder, *endpoint, *flags)


def test_the_files_below_models_are_fetched_as_the_last_layer_has_them(server: RunningRegistry, tmp_path: Path) -> None:
    assert fetched(server, tmp_path / "model").code == 0
    assert content_of(tmp_path / "model") == {"config.json": OTHER, "model.gguf": WEIGHTS}


def test_the_version_is_the_digest_by_which_the_same_is_fetched(server: RunningRegistry, tmp_path: Path) -> None:
    digest = fetched(server, tmp_path / "by-tag").last["version"]
    assert fetched(server, tmp_path / "by-digest", reference=f"@{digest}").last["version"] == digest
    assert content_of(tmp_path / "by-digest") == content_of(tmp_path / "by-tag")


def test_only_the_files_that_match_are_unpacked(server: RunningRegistry, tmp_path: Path) -> None:
    assert fetched(server, tmp_path / "model", "--files", "*.gguf").code == 0
    assert content_of(tmp_path / "model") == {"model.gguf": WEIGHTS}


def test_a_cut_connection_is_continued(server: RunningRegistry, tmp_path: Path) -> None:
    with faulty(f"http://{server.address}") as proxy:
        proxy.fail("GET /v2/.*/blobs/", cut(500_000))
        assert fetched(server, tmp_path / "model", "--endpoint", proxy.url).code == 0
        assert proxy.count(r"blobs/.*bytes=[1-9]")


def test_a_layer_with_wrong_bytes_is_not_unpacked(server: RunningRegistry, tmp_path: Path) -> None:
    with faulty(f"http://{server.address}") as proxy:
        proxy.fail("GET /v2/.*/blobs/", flipped)
        outcome = fetched(server, tmp_path / "model", "--endpoint", proxy.url)
    assert (outcome.code, "doesn't have the digest" in outcome.sentence) == (12, True)
    assert not (tmp_path / "model").exists()


def test_a_manifest_with_wrong_bytes_is_refused(server: RunningRegistry, tmp_path: Path) -> None:
    digest = fetched(server, tmp_path / "model").last["version"]
    with faulty(f"http://{server.address}") as proxy:
        proxy.fail("GET /v2/.*/manifests/", lambda _, answer: with_body(answer, answer.body + b" "))
        outcome = fetched(server, tmp_path / "other", "--endpoint", proxy.url, reference=f"@{digest}")
    assert (outcome.code, "has another digest" in outcome.sentence) == (12, True)


def with_body(answer: Any, body: bytes) -> Any:
    answer.body = body
    return answer


def test_files_of_an_artifact_are_fetched_by_their_titles(server: RunningRegistry, tmp_path: Path) -> None:
    layers = [
        descriptor(server, "application/octet-stream", content, {"org.opencontainers.image.title": name})
        for name, content in {"config.json": b"{}", "weights/model.gguf": WEIGHTS}.items()
    ]
    kind = "application/vnd.oci.image.manifest.v1+json"
    config = descriptor(server, "application/vnd.oci.empty.v1+json", b"{}")
    manifest = {"schemaVersion": 2, "mediaType": kind, "config": config, "layers": layers}
    put(server, f"/v2/{REPOSITORY}/manifests/artifact", json.dumps(manifest).encode(), kind)
    assert fetched(server, tmp_path / "model", reference=":artifact").code == 0
    assert content_of(tmp_path / "model") == {"config.json": b"{}", "weights/model.gguf": WEIGHTS}


def descriptor(
    server: RunningRegistry, kind: str, content: bytes, annotations: dict[str, str] | None = None
) -> dict[str, Any]:
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    started = Request(f"http://{server.address}/v2/{REPOSITORY}/blobs/uploads/", b"", method="POST")
    with urlopen(started) as response:
        location = response.headers["Location"]
    put(server, f"{location}&digest={digest}".removeprefix(f"http://{server.address}"), content, OCTETS)
    return {"mediaType": kind, "digest": digest, "size": len(content), "annotations": annotations or {}}


OCTETS = "application/octet-stream"


def put(server: RunningRegistry, path: str, content: bytes, kind: str) -> None:
    request = Request(f"http://{server.address}{path}", content, {"Content-Type": kind}, method="PUT")
    with urlopen(request) as response:
        assert response.status == 201


@pytest.mark.parametrize(
    ("reference", "code", "says"),
    [
        (":absent", 10, "has not got the image absent in team/caches. Correct the URI, or push the image."),
        (f"@sha256:{'0' * 64}", 10, "has not got the image sha256:000"),
        (":not a tag", 4, "Write oci://REGISTRY/REPOSITORY:TAG or, better,"),
    ],
)
def test_a_refusal_is_one_reason_and_a_remedy(
    server: RunningRegistry, tmp_path: Path, reference: str, code: int, says: str
) -> None:
    outcome = fetched(server, tmp_path / "model", reference=reference)
    assert (outcome.code, says in outcome.sentence) == (code, True), outcome.sentence


def secret(folder: Path, address: str, password: str) -> Path:
    folder.mkdir()
    (folder / ".dockerconfigjson").write_text(docker_config(address, password))
    return folder


@pytest.mark.parametrize("kind", ["passwords", "tokens"])
def test_a_registry_accepts_the_right_credentials_alone(tmp_path: Path, kind: str) -> None:
    (tmp_path / "server").mkdir()
    with token_service(tmp_path / "server") as tokens:
        auth = tokens if kind == "tokens" else with_passwords(tmp_path / "server")
        with running(tmp_path / "registry", auth=auth) as server:
            right = secret(tmp_path / "right", server.address, "secret")
            wrong = secret(tmp_path / "wrong", server.address, "guessed")
            push_model(server, tmp_path, Settings(secret=right))
            assert fetched(server, tmp_path / "model", "--credentials", str(right)).code == 0
            refused = fetched(server, tmp_path / "other", "--credentials", str(wrong))
            assert (refused.code, "refuses the credentials" in refused.sentence) == (11, True), refused.sentence
            without = fetched(server, tmp_path / "other")
            assert (without.code, "refuses requests without credentials" in without.sentence) == (11, True)
            assert "guessed" not in str(refused.lines)


def test_a_registry_with_tls_needs_its_authority(tmp_path: Path) -> None:
    authority = pki.Authority("authority")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/ca.crt").write_bytes(authority.own.certificate)
    with running(tmp_path / "registry", http=with_tls(tmp_path, authority)) as server:
        push_model(server, tmp_path, Settings(secret=tmp_path / "secret"))
        uri = f"oci://{server.address}/{REPOSITORY}:llama"
        assert fetch(uri, tmp_path / "model", "--credentials", str(tmp_path / "secret")).code == 0
        assert "is not trusted" in fetch(uri, tmp_path / "other").sentence
