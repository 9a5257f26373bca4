"""slipway-push: images of models in a real registry, which slipway-fetch can read again."""

from __future__ import annotations

import json
import os
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from slipway_devcluster import pki
from slipway_fetcher import images
from slipway_fetcher.folder.target import Record, Target
from slipway_fetcher.oci import uploading
from support.faults.faulty_http import answers, cut, faulty
from support.programs.fetcher import content_of, fetch, pushed
from support.programs.registry_process import (
    RunningRegistry,
    docker_config,
    running,
    token_service,
    with_passwords,
    with_tls,
)

LARGE = os.urandom(3 << 20)
FILES = {"config.json": b"{}", "tokenizer/vocabulary.txt": b"a b c", "model.safetensors": LARGE}
REPOSITORY = "team/caches"  # for which the token service gives its tokens


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a small file is sent as a large one."""
    monkeypatch.setattr(images, "LARGE", 1 << 20)
    monkeypatch.setattr(uploading, "AT_ONCE", 1 << 20)
    monkeypatch.setattr(uploading, "PIECES", (1 << 20,))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    with running(tmp_path_factory.mktemp("registry") / "registry") as server:
        yield server


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return made(tmp_path / "model", FILES)


def made(folder: Path, files: dict[str, bytes]) -> Path:
    """As slipway-fetch leaves it."""
    target = Target(folder)
    target.check()
    target.begin()
    for name, content in files.items():
        (target.model / name).parent.mkdir(exist_ok=True)
        (target.model / name).write_bytes(content)
    request = {"uri": "hf://a/b", "revision": "", "files": [], "endpoint": ""}
    target.publish(Record(request, "7", tuple({"path": name, "size": len(files[name])} for name in files)))
    return folder


def secret(folder: Path, config: str | None = None, authority: pki.Authority | None = None) -> Path:
    folder.mkdir()
    if config:
        (folder / ".dockerconfigjson").write_text(config)
    if authority:
        (folder / "ca.crt").write_bytes(authority.own.certificate)
    return folder


def fetched(server: RunningRegistry, reference: str, folder: Path) -> dict[str, bytes]:
    outcome = fetch(f"oci://{reference}", folder, "--endpoint", f"http://{server.address}")
    assert outcome.code == 0, outcome.last
    return content_of(folder)


def test_what_was_pushed_is_what_was_there(server: RunningRegistry, model: Path, tmp_path: Path) -> None:
    outcome = pushed(f"{server.address}/one/model:a", model)
    assert outcome.code == 0, outcome.last
    assert outcome.events("layers")[0]["layers"] == 2
    assert fetched(server, outcome.last["image"], tmp_path / "again") == FILES
    assert outcome.last["version"] == "7"
    assert outcome.last["sent"] == outcome.last["bytes"]


def test_what_a_volume_has_is_complete_where_the_image_is_mounted_instead(
    server: RunningRegistry, tmp_path: Path
) -> None:
    volume = tmp_path / "volume"
    made(volume / "0123", FILES)
    made(volume / "4567", {"adapter_config.json": b"{}"})
    (volume / ".0123.lock").touch()
    image = pushed(f"{server.address}/volume/model:a", volume, "--volume").last["image"]
    folder = unpacked(server, image, tmp_path / "mounted")
    assert sorted(each.name for each in folder.iterdir()) == ["0123", "4567"]
    assert Target(folder / "0123").record() == Target(volume / "0123").record()
    assert content_of(folder / "0123") == FILES
    before = sorted(folder.rglob("*"))
    assert fetch("hf://a/b", folder / "0123").last["event"] == "present"  # no request, and nothing is written
    assert sorted(folder.rglob("*")) == before


def unpacked(server: RunningRegistry, image: str, into: Path) -> Path:
    """As a node does it."""
    _, repository, digest = re.fullmatch(r"([^/]+)/(.+)@(.+)", image).groups()  # type: ignore[union-attr]
    url = f"http://{server.address}/v2/{repository}"
    accepts = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
    with urlopen(Request(f"{url}/manifests/{digest}", headers=accepts)) as response:
        layers = json.load(response)["layers"]
    for layer in layers:
        with (
            urlopen(f"{url}/blobs/{layer['digest']}") as response,
            tarfile.open(fileobj=response, mode="r|") as archive,
        ):
            archive.extractall(into, filter="data")
    return into


def test_the_digest_is_in_the_termination_message(server: RunningRegistry, model: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.touch()
    image = pushed(f"{server.address}/two/model:a", model, f"--termination-log={log}").last["image"]
    start, _, said = log.read_text().partition(":")
    assert (start, json.loads(said)["image"]) == ("slipway-pushed-1", image)


def test_a_second_push_and_one_of_another_copy_send_nothing(
    server: RunningRegistry, model: Path, tmp_path: Path
) -> None:
    first = pushed(f"{server.address}/three/model:a", model)
    for folder in (model, made(tmp_path / "copy", FILES)):
        again = pushed(f"{server.address}/three/model:a", folder)
        assert (again.last["sent"], again.last["image"]) == (0, first.last["image"])


def test_a_changed_tokenizer_does_not_send_the_weights_again(
    server: RunningRegistry, model: Path, tmp_path: Path
) -> None:
    pushed(f"{server.address}/four/model:a", model)
    changed = made(tmp_path / "changed", {**FILES, "tokenizer/vocabulary.txt": b"a b d"})
    assert pushed(f"{server.address}/four/model:a", changed).last["sent"] < 100_000


@pytest.mark.parametrize("fault", [answers(503), answers(429, Retry_After="1"), cut(0)])
def test_a_large_layer_goes_on_where_the_registry_has_it(
    server: RunningRegistry, model: Path, tmp_path: Path, fault: object, request: pytest.FixtureRequest
) -> None:
    repository = f"faults/{abs(hash(request.node.name))}"
    with faulty(f"http://{server.address}") as proxy:
        proxy.fail("PATCH", lambda _, answer: answer, times=1)
        proxy.fail("PATCH .*", fault, times=2)  # type: ignore[arg-type]
        outcome = pushed(f"{proxy.url.removeprefix('http://')}/{repository}:a", model)
        assert outcome.code == 0, outcome.last
        assert proxy.count("POST .*uploads") == 3  # of two layers and the config: no session was started again
    _, _, digest = outcome.last["image"].partition("@")
    assert fetched(server, f"{server.address}/{repository}@{digest}", tmp_path / "again") == FILES


def test_a_push_that_is_cut_off_leaves_no_tag(server: RunningRegistry, model: Path) -> None:
    with faulty(f"http://{server.address}") as proxy:
        proxy.fail("POST .*uploads", lambda _, answer: answer, times=2)  # the layers
        proxy.fail("POST .*uploads", answers(403))
        outcome = pushed(f"{proxy.url.removeprefix('http://')}/cut/model:a", model)
    assert (outcome.code, outcome.last["reason"]) == (60, "PushFailed")
    missing = fetch(f"oci://{server.address}/cut/model:a", model.parent / "n", "--endpoint", f"http://{server.address}")
    assert missing.last["reason"] == "ModelNotFound"


def test_only_the_right_password_is_accepted_and_that_is_known_before_anything_is_fetched(
    model: Path, tmp_path: Path
) -> None:
    with running(tmp_path / "registry", auth=with_passwords(tmp_path)) as server:
        image = f"{server.address}/{REPOSITORY}:a"
        right = secret(tmp_path / "right", docker_config(server.address))
        wrong = secret(tmp_path / "wrong", docker_config(server.address, "guessed"))
        assert pushed(image, f"--credentials={wrong}").last["reason"] == "PushFailed"
        assert "none were given" in pushed(image).sentence
        assert pushed(image, f"--credentials={right}").last["event"] == "accessible"
        assert pushed(image, model, f"--credentials={right}").code == 0


def test_tokens_and_tls_work(model: Path, tmp_path: Path) -> None:
    authority = pki.Authority("one")
    with (
        token_service(tmp_path) as auth,
        running(tmp_path / "registry", auth=auth, http=with_tls(tmp_path, authority)) as server,
    ):
        given = secret(tmp_path / "secret", docker_config(server.address), authority)
        assert pushed(f"{server.address}/{REPOSITORY}:a", model, f"--credentials={given}").code == 0


def test_a_folder_that_is_not_complete_is_not_pushed(server: RunningRegistry, model: Path) -> None:
    (model / "config.json").unlink()
    outcome = pushed(f"{server.address}/five/model:a", model)
    assert (outcome.code, outcome.last["reason"]) == (4, "InvalidSpec")


def test_progress_says_what_is_computed_and_ends_at_all_bytes(
    server: RunningRegistry, model: Path, tmp_path: Path
) -> None:
    file = tmp_path / "progress"
    for _ in ("all is sent", "all is there"):
        outcome = pushed(f"{server.address}/six/model:a", model, f"--progress-file={file}")
        assert "digests" in outcome.events("progress")[0]["waiting"]
        assert json.loads(file.read_text())["percent"] == 100
