"""Images pushed to a real registry, Go's distribution: with passwords, with tokens, with TLS."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import tarfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from slipway_devcluster import pki
from slipway_runtime.oci import File, Image, Layer, Reference, RegistryError, Settings, image_of, push, uploading
from support.programs.registry_process import (
    RunningRegistry,
    docker_config,
    running,
    token_service,
    with_passwords,
    with_tls,
)

SIZE = 10 << 20
QUICK = (0.01, 0.01)


@pytest.fixture
def content(tmp_path: Path) -> Path:
    file = tmp_path / "content.tar"
    file.write_bytes(os.urandom(SIZE))
    return file


@pytest.fixture
def image(content: Path) -> Image:
    return image_of([Layer([File("key/content.tar", content)])])


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningRegistry]:
    """Without passwords and without TLS."""
    with running(tmp_path / "registry") as server:
        yield server


def reference(server: RunningRegistry) -> Reference:
    return Reference.parse(f"{server.address}/team/caches:llama")


def secret(folder: Path, config: str | None = None, authority: pki.Authority | None = None) -> Path:
    folder.mkdir()
    if config:
        (folder / ".dockerconfigjson").write_text(config)
    if authority:
        (folder / "ca.crt").write_bytes(authority.own.certificate)
    return folder


def stored(server: RunningRegistry, path: str) -> bytes:
    accepts = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
    request = urllib.request.Request(f"http://{server.address}/v2/team/caches/{path}", headers=accepts)
    with urllib.request.urlopen(request) as response:
        found: bytes = response.read()
        return found


def test_an_image_is_stored_as_it_was_made(server: RunningRegistry, image: Image, content: Path) -> None:
    pushed = push(image, reference(server), Settings())
    assert pushed.name == f"{server.address}/team/caches@{image.digest}"
    assert stored(server, "manifests/llama") == stored(server, f"manifests/{image.digest}") == image.manifest.content
    layer = stored(server, f"blobs/{image.layers[0].digest}")
    with tarfile.open(fileobj=io.BytesIO(layer), mode="r:") as archive:
        found = archive.extractfile("key/content.tar")
        assert found is not None
        assert hashlib.sha256(found.read()).digest() == hashlib.sha256(content.read_bytes()).digest()


def test_a_second_push_sends_nothing(server: RunningRegistry, image: Image) -> None:
    push(image, reference(server), Settings())
    assert push(image, reference(server), Settings()).sent == 0


def test_another_image_with_the_same_layer_sends_only_what_differs(server: RunningRegistry, image: Image) -> None:
    push(image, reference(server), Settings())
    other = image_of(image.layers, labels={"another": "image"})
    assert push(other, reference(server), Settings()).sent == other.config.size + other.manifest.size


def test_a_blob_in_pieces_is_the_same_blob(
    server: RunningRegistry, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploading, "_at_once", lambda registry, blob: uploading._in_pieces(registry, blob, 3 << 20))
    push(image, reference(server), Settings())
    assert hashlib.sha256(stored(server, f"blobs/{image.layers[0].digest}")).hexdigest() in image.layers[0].digest
    assert server.requests("PATCH") == 4 + 1  # the layer in four pieces, and the config


def test_a_file_that_changed_is_refused_by_the_registry(server: RunningRegistry, image: Image, content: Path) -> None:
    assert image.digest
    content.write_bytes(os.urandom(SIZE))
    with pytest.raises(RegistryError, match="DIGEST_INVALID"):
        push(image, reference(server), Settings())


def test_a_registry_with_passwords_accepts_the_right_one_alone(image: Image, tmp_path: Path) -> None:
    with running(tmp_path / "registry", auth=with_passwords(tmp_path)) as server:
        right = Settings(secret=secret(tmp_path / "right", docker_config(server.address)))
        wrong = Settings(secret=secret(tmp_path / "wrong", docker_config(server.address, "guessed")))
        with pytest.raises(RegistryError, match=r"refuses the credentials \(HTTP 401\)"):
            push(image, reference(server), wrong)
        with pytest.raises(RegistryError, match="requires credentials, and none were given"):
            push(image, reference(server), Settings())
        assert push(image, reference(server), right).sent == image.size


def test_a_registry_with_tokens_accepts_those_of_its_service(image: Image, tmp_path: Path) -> None:
    with token_service(tmp_path) as auth, running(tmp_path / "registry", auth=auth) as server:
        right = Settings(secret=secret(tmp_path / "right", docker_config(server.address)))
        wrong = Settings(secret=secret(tmp_path / "wrong", docker_config(server.address, "guessed")))
        with pytest.raises(RegistryError, match="refuses the credentials"):
            push(image, reference(server), wrong)
        with pytest.raises(RegistryError, match="none were given"):
            push(image, reference(server), Settings())
        assert push(image, reference(server), right).sent == image.size
        other = Reference.parse(f"{server.address}/other/caches:llama")
        with pytest.raises(RegistryError, match="HTTP 401"):  # the token doesn't allow it
            push(image, other, right)


def test_a_registry_with_tls_needs_its_authority(image: Image, tmp_path: Path) -> None:
    authority, another = pki.Authority("one"), pki.Authority("two")
    with running(tmp_path / "registry", http=with_tls(tmp_path, authority)) as server:
        trusting = Settings(secret=secret(tmp_path / "right", authority=authority))
        assert push(image, reference(server), trusting).sent == image.size
        strange = Settings(secret=secret(tmp_path / "strange", authority=another))
        with pytest.raises(RegistryError, match=r"is not trusted: .*\. Put the certificate"):
            push(image, reference(server), strange)


def test_a_registry_without_tls_is_not_spoken_to_in_clear(
    server: RunningRegistry, image: Image, tmp_path: Path
) -> None:
    secured = Settings(secret=secret(tmp_path / "secret", docker_config(server.address), pki.Authority("one")))
    with pytest.raises(RegistryError, match="doesn't speak TLS"):
        push(image, reference(server), secured)


def test_a_registry_whose_disk_is_full_says_so(image: Image, tmp_path: Path, small_disk: Path) -> None:
    storage = {"filesystem": {"rootdirectory": str(small_disk)}}
    with (
        running(tmp_path / "registry", storage=storage) as server,
        pytest.raises(RegistryError, match="has no room"),
    ):
        push(image, reference(server), Settings(pauses=QUICK))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    if os.geteuid():
        pytest.skip("only root can mount a small disk")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)
