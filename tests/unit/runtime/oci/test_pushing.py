"""Pushing: what is sent, in which order, and again when something fails; and what is said when it can't succeed."""

from __future__ import annotations

import base64
import json
import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from slipway_runtime.oci import (
    File,
    Image,
    Layer,
    Pushed,
    Reference,
    RegistryError,
    Settings,
    image_of,
    push,
    uploading,
)
from support.fakes.oci_registry import Fault, Handler, Registry, answers, breaks_after, error, registry

SIZE = 300_000
Slept = list[float]


@pytest.fixture
def server() -> Iterator[Registry]:
    with registry() as server:
        yield server


@pytest.fixture
def slept() -> Slept:
    return []


@pytest.fixture
def settings(slept: Slept) -> Settings:
    return Settings(sleep=slept.append)


@pytest.fixture
def image(tmp_path: Path) -> Image:
    file = tmp_path / "content"
    file.write_bytes(os.urandom(SIZE))
    return image_of([Layer([File("key/content.tar", file)])])


def reference(server: Registry) -> Reference:
    return Reference.parse(f"{server.address}/team/caches:llama")


def refused(image: Image, server: Registry, settings: Settings) -> RegistryError:
    with pytest.raises(RegistryError) as raised:
        push(image, reference(server), settings)
    return raised.value


def secret(folder: Path, server: Registry, **entry: str) -> Path:
    folder.mkdir()
    given = entry or {"auth": base64.b64encode(b"me:secret").decode()}
    (folder / ".dockerconfigjson").write_text(json.dumps({"auths": {server.address: given}}))
    return folder


def is_stored(image: Image, server: Registry) -> bool:
    return server.manifests.get("llama") == image.manifest.content and all(
        server.blobs.get(blob.digest) == b"".join(blob.read()) for blob in image.blobs
    )


# --- what is sent ----------------------------------------------------------------------------------------------------


def test_an_image_is_stored_with_everything_it_names_and_its_tag(
    server: Registry, image: Image, settings: Settings
) -> None:
    pushed = push(image, reference(server), settings)
    assert is_stored(image, server)
    assert pushed == Pushed(f"{server.address}/team/caches@{image.digest}", image.size, image.size)
    assert json.loads(server.manifests["llama"])["config"]["digest"] == image.config.digest
    assert json.loads(server.blobs[image.config.digest])["rootfs"]["diff_ids"] == [image.layers[0].digest]


def test_the_tag_is_set_last(server: Registry, image: Image, settings: Settings) -> None:
    push(image, reference(server), settings)
    writes = [each for each in server.requests if each.startswith("PUT")]
    assert "manifests" not in "".join(writes[:-1])
    assert writes[-1] == "PUT /v2/team/caches/manifests/llama"


def test_what_the_registry_has_is_not_sent_again(server: Registry, image: Image, settings: Settings) -> None:
    push(image, reference(server), settings)
    server.requests.clear()
    assert push(image, reference(server), settings).sent == 0
    assert not server.count("^(POST|PUT|PATCH)")


def test_a_tag_that_means_something_else_is_moved(server: Registry, image: Image, settings: Settings) -> None:
    server.manifests["llama"] = b"{}"
    push(image, reference(server), settings)
    assert server.manifests["llama"] == image.manifest.content


def test_a_registry_that_stores_another_manifest_is_noticed(server: Registry, image: Image, settings: Settings) -> None:
    server.digest_of_manifests = lambda _: "sha256:" + "0" * 64
    assert "doesn't have it" in str(refused(image, server, settings))


# --- failures that pass ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "request_", ["HEAD .*blobs", "POST .*uploads", "PUT .*uploads", "PUT .*manifests", "GET .*manifests"]
)
@pytest.mark.parametrize("fault", [answers(503), answers(500), answers(429), answers(502), breaks_after(0)])
def test_each_request_is_tried_again(
    server: Registry, image: Image, settings: Settings, request_: str, fault: Fault
) -> None:
    server.fail(request_, fault, fault)
    push(image, reference(server), settings)
    assert is_stored(image, server)


def test_the_pause_is_as_long_as_the_registry_wants_but_never_longer_than_a_minute(
    server: Registry, image: Image, settings: Settings, slept: Slept
) -> None:
    server.fail(
        "POST .*uploads",
        answers(429, Retry_After="7"),
        answers(503, Retry_After="86400"),
        answers(503, Retry_After="Wed, 21 Oct 2015 07:28:00 GMT"),
        answers(503, Retry_After="soon"),
    )
    push(image, reference(server), settings)
    assert slept == [7.0, 60.0, 0.0, 8.0]


def test_a_connection_that_breaks_in_the_middle_of_a_blob_costs_one_more_try(
    server: Registry, image: Image, settings: Settings
) -> None:
    server.fail("PUT .*uploads", breaks_after(100_000))
    push(image, reference(server), settings)
    assert is_stored(image, server)


def test_a_registry_that_always_fails_is_given_up(
    server: Registry, image: Image, settings: Settings, slept: Slept
) -> None:
    server.fail("POST", *[error(503, "UNAVAILABLE", "read-only for maintenance")] * 9)
    said = refused(image, server, settings)
    assert said.is_temporary
    assert "HTTP 503" in said.message
    assert "read-only for maintenance" in said.message
    assert slept == [1.0, 2.0, 4.0, 8.0, 16.0]


# --- limits of sizes -------------------------------------------------------------------------------------------------


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploading, "PIECES", (100_000, 30_000))


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("largest", [100_000, 50_000])
def test_where_a_request_may_not_be_so_large_a_blob_is_sent_in_pieces(
    server: Registry, image: Image, settings: Settings, largest: int
) -> None:
    server.largest = largest
    push(image, reference(server), settings)
    assert is_stored(image, server)
    assert server.count("^PATCH") > SIZE / largest


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("fault", [breaks_after(10_000), breaks_after(0), answers(503), answers(416)])
def test_an_upload_in_pieces_goes_on_where_it_broke(
    server: Registry, image: Image, settings: Settings, fault: Fault
) -> None:
    server.largest = 100_000
    server.fail("PATCH", *[lambda _: False] * 2, fault)
    push(image, reference(server), settings)
    assert is_stored(image, server)
    assert server.count("^POST") == 3  # at once, in pieces, and that of the config


@pytest.mark.usefixtures("small_pieces")
def test_an_upload_in_pieces_that_the_registry_has_forgotten_starts_again(
    server: Registry, image: Image, settings: Settings
) -> None:
    server.largest = 100_000

    def forgets(handler: Handler) -> bool:
        handler.registry.uploads.clear()
        return False

    server.fail("PATCH", lambda _: False, forgets)
    push(image, reference(server), settings)
    assert is_stored(image, server)


@pytest.mark.usefixtures("small_pieces")
def test_a_limit_below_the_smallest_piece_is_named(server: Registry, image: Image, settings: Settings) -> None:
    server.largest = 10_000
    said = refused(image, server, settings)
    assert "HTTP 413" in said.message
    assert "client_max_body_size" in said.remedy


@pytest.mark.usefixtures("small_pieces")
def test_an_upload_in_pieces_that_never_advances_is_given_up(
    server: Registry, image: Image, settings: Settings
) -> None:
    server.largest = 100_000
    server.faults.append(lambda handler: handler.command == "PATCH" and breaks_after(0)(handler))
    assert "none arrive after the first 0" in refused(image, server, settings).message


@pytest.mark.usefixtures("small_pieces")
def test_a_large_blob_is_never_sent_at_once_and_goes_on_where_it_broke(
    server: Registry, image: Image, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploading, "AT_ONCE", SIZE // 2)
    server.fail("PATCH", lambda _: False, breaks_after(10_000))
    push(image, reference(server), settings)
    assert is_stored(image, server)
    assert server.count("^POST") == 2  # in pieces, and that of the config


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("status", [405, 501])
def test_a_large_blob_is_sent_at_once_to_a_registry_without_pieces(
    server: Registry, image: Image, settings: Settings, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setattr(uploading, "AT_ONCE", SIZE // 2)
    server.faults.append(lambda handler: handler.command == "PATCH" and answers(status)(handler))
    push(image, reference(server), settings)
    assert is_stored(image, server)


# --- credentials -----------------------------------------------------------------------------------------------------


def bearer(server: Registry, tokens: list[str], **parameters: str) -> Fault:
    """The registry wants a token, and accepts the newest one alone."""
    named = {"realm": f"http://{server.address}/token", "service": "r", **parameters}
    challenge = "Bearer " + ",".join(f'{name}="{value}"' for name, value in named.items())

    def fault(handler: Handler) -> bool:
        if handler.path.startswith("/token"):
            tokens.append(f"token-{len(tokens)}")
            return answers(200, {"token": tokens[-1]})(handler)
        if tokens and handler.headers.get("Authorization") == f"Bearer {tokens[-1]}":
            return False
        return answers(401, WWW_Authenticate=challenge)(handler)

    return fault


def test_a_token_is_fetched_with_the_credentials_and_used(
    server: Registry, image: Image, settings: Settings, tmp_path: Path
) -> None:
    tokens: list[str] = []
    server.faults.append(bearer(server, tokens))
    push(image, reference(server), replace(settings, secret=secret(tmp_path / "secret", server)))
    assert is_stored(image, server)
    assert len(tokens) == 1
    asked = next(each for each in server.requests if "/token" in each)
    query = parse_qs(urlsplit(asked.split()[1]).query)
    assert query["scope"] == ["repository:team/caches:pull,push"]
    assert query["service"] == ["r"]
    basic = f"Basic {base64.b64encode(b'me:secret').decode()}"
    assert basic in server.authorizations
    assert all(each.startswith("Bearer") or each in ("", basic) for each in server.authorizations)


def test_a_token_that_expires_in_between_is_renewed(server: Registry, image: Image, settings: Settings) -> None:
    tokens: list[str] = []
    server.faults.append(bearer(server, tokens))

    def expires(handler: Handler) -> bool:
        tokens.append("another")
        return False

    server.faults.insert(
        0, lambda handler: handler.command == "PUT" and not handler.registry.blobs and expires(handler)
    )
    with pytest.raises(RegistryError, match="requires credentials"):  # it expires at each PUT: no endless loop
        push(image, reference(server), settings)
    server.faults.pop(0)
    server.fail("PUT .*uploads", expires)
    push(image, reference(server), settings)
    assert is_stored(image, server)


def test_an_identity_token_is_exchanged(server: Registry, image: Image, settings: Settings, tmp_path: Path) -> None:
    server.faults.append(bearer(server, []))
    given = secret(tmp_path / "secret", server, identitytoken="identity")
    push(image, reference(server), replace(settings, secret=given))
    assert server.count("POST /token") == 1


def test_a_password_is_sent_only_when_it_is_asked_for(
    server: Registry, image: Image, settings: Settings, tmp_path: Path
) -> None:
    push(image, reference(server), replace(settings, secret=secret(tmp_path / "secret", server)))
    assert set(server.authorizations) == {""}


def test_basic_authentication_works(server: Registry, image: Image, settings: Settings, tmp_path: Path) -> None:
    basic = f"Basic {base64.b64encode(b'me:secret').decode()}"

    def wants(handler: Handler) -> bool:
        has = handler.headers.get("Authorization") == basic
        return False if has else answers(401, WWW_Authenticate='Basic realm="r"')(handler)

    server.faults.append(wants)
    push(image, reference(server), replace(settings, secret=secret(tmp_path / "secret", server)))
    assert is_stored(image, server)


def test_credentials_go_to_no_other_host(server: Registry, image: Image, settings: Settings, tmp_path: Path) -> None:
    """An upload that is redirected to a store of objects, as clouds do: the location is the authorization."""
    server.faults.append(bearer(server, []))
    with registry() as store:

        def elsewhere(handler: Handler) -> bool:
            if handler.command != "POST" or "uploads" not in handler.path:
                return False
            store.uploads["there"] = bytearray()
            return answers(202, Location=f"http://{store.address}/v2/team/caches/blobs/uploads/there")(handler)

        server.faults.append(elsewhere)
        server.digest_of_manifests = lambda _: "elsewhere"  # this registry doesn't know of its store
        with pytest.raises(RegistryError, match="doesn't have it"):
            push(image, reference(server), replace(settings, secret=secret(tmp_path / "secret", server)))
        assert image.layers[0].digest in store.blobs
        assert set(store.authorizations) == {""}


@pytest.mark.parametrize(
    ("challenge", "words"),
    [
        ('Basic realm="r"', "requires credentials, and none were given"),
        ("Negotiate", "requires credentials"),
        ("", "requires credentials"),
        ('Bearer realm="file:///etc/passwd"', "is not a URL"),
        ("Bearer", "requires credentials"),
        ('Bearer realm="http://[/"', "is not a URL"),
    ],
)
def test_a_challenge_that_can_not_be_met_is_a_sentence(
    server: Registry, image: Image, settings: Settings, challenge: str, words: str
) -> None:
    server.faults.append(answers(401, WWW_Authenticate=challenge))
    assert words in str(refused(image, server, settings))


@pytest.mark.parametrize(
    ("response", "words"),
    [
        (answers(401), "refuses the credentials"),
        (answers(403), "refuses the credentials"),
        (answers(404), "HTTP 404"),
        (answers(200, "no JSON"), "no token"),
        (answers(200, "[" * 100_000), "no token"),
        (answers(200, {"token": "a\r\nX: y"}), "no token"),
        (answers(200, {"token": 1}), "no token"),
    ],
)
def test_a_token_service_that_gives_no_token_is_a_sentence(
    server: Registry, image: Image, settings: Settings, response: Fault, words: str
) -> None:
    server.faults.append(lambda handler: handler.path.startswith("/token") and response(handler))
    server.faults.append(bearer(server, []))
    assert words in str(refused(image, server, settings))


# --- what can't succeed ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "message", "remedy"),
    [
        (error(403, "DENIED", "no push here"), "don't allow an upload", "right to push"),
        (error(404, "NAME_UNKNOWN", "repository unknown"), "doesn't exist", "create the repository"),
        (answers(507), "has no room", "Free some"),
        (error(403, "DENIED", "project quota exceeded"), "has no room", "Free some"),
        (answers(500, '{"errors":[{"code":"UNKNOWN","detail":{"Err":28}}]}'), "has no room", "Free some"),
        (answers(405), "refuses an upload", "log"),
        (answers(202), "refuses an upload", "log"),
    ],
)
def test_a_refusal_says_what_and_what_to_do_and_is_not_repeated(
    server: Registry, image: Image, settings: Settings, slept: Slept, fault: Fault, message: str, remedy: str
) -> None:
    server.fail("POST", *[fault] * 9)
    said = refused(image, server, settings)
    assert message in said.message
    assert remedy in said.remedy
    assert not slept


def test_what_a_registry_says_is_quoted_as_one_short_line(server: Registry, image: Image, settings: Settings) -> None:
    server.fail("POST", error(403, "DENIED", "a\nb\x1b[31m" + "x" * 10_000))
    said = refused(image, server, settings).message
    assert said.isprintable()
    assert len(said) < 500


def test_a_host_that_nobody_knows_is_a_sentence(image: Image, settings: Settings) -> None:
    with pytest.raises(RegistryError, match=r"can't be resolved|can't be reached"):
        push(image, Reference.parse("registry.invalid/caches:x"), settings)


def test_a_port_without_a_registry_is_a_sentence(image: Image, settings: Settings) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(RegistryError, match="can't be reached in 6 tries: no connection"):
        push(image, Reference.parse(f"{address}/caches:x"), settings)


def test_a_registry_that_redirects_in_circles_is_given_up(server: Registry, image: Image, settings: Settings) -> None:
    server.faults.append(lambda handler: answers(307, Location=handler.path)(handler))
    assert "redirects in circles" in str(refused(image, server, settings))


def test_a_file_that_changes_while_it_is_pushed_is_refused(
    server: Registry, settings: Settings, tmp_path: Path
) -> None:
    file = tmp_path / "content"
    file.write_bytes(bytes(SIZE))
    image = image_of([Layer([File("content", file)])])
    file.write_bytes(b"x" * SIZE)
    assert "DIGEST_INVALID" in str(refused(image, server, settings))
    assert not server.manifests
