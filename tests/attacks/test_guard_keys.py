"""Keys that resemble others, in part or in another encoding, and headers that contain several keys."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from slipway_runtime.guard.asgi import Guard
from slipway_runtime.guard.gate import Gate
from slipway_runtime.guard.guesses import AT_ONCE, PER_SECOND
from slipway_runtime.guard.keys import Keys, forms_of, keys_in
from support.programs.guard import KEY, MakeGuard, answering, ask, guarding, nothing, several
from support.programs.guard import keys_in as secret_of

UMLAUTS, CYRILLIC = "schlüssel-für-alle", "ключ-от-всего"


CHAT = "/v1/chat/completions"


@pytest.fixture
def make_guard(tmp_path: Path) -> Iterator[MakeGuard]:
    with several(tmp_path) as make_guard:
        yield make_guard


def keys_of(folder: Path, text: bytes) -> Keys:
    (folder / "alice").write_bytes(text)
    return Keys(folder)


@pytest.mark.parametrize(
    "file",
    [
        b"my passphrase-is-long",
        b"my passphrase-is-long\n",
        b"  my passphrase-is-long\t\r\n\r\n",
        b"\xef\xbb\xbfmy passphrase-is-long\r\n",
        b"\n\n another-long-key\rmy passphrase-is-long",
    ],
)
def test_a_key_is_a_line_and_a_single_word_of_it_is_not_a_key(tmp_path: Path, file: bytes) -> None:
    keys = keys_of(tmp_path, file)
    assert keys.owner(b"my passphrase-is-long") == "alice"
    for part in (b"passphrase-is-long", b"my", b"my passphrase-is-lon", b"my  passphrase-is-long", b"\xef\xbb\xbf"):
        assert keys.owner(part) is None


@pytest.mark.parametrize("stored", [UMLAUTS.encode(), UMLAUTS.encode("latin-1")], ids=["UTF-8", "Latin-1"])
@pytest.mark.parametrize("shown", [UMLAUTS.encode(), UMLAUTS.encode("latin-1")], ids=["UTF-8", "Latin-1"])
def test_letters_beyond_ascii_match_in_either_encoding(tmp_path: Path, stored: bytes, shown: bytes) -> None:
    assert keys_of(tmp_path, stored).owner(shown) == "alice"


def test_letters_beyond_latin_match_as_the_bytes_that_they_are(tmp_path: Path) -> None:
    keys = keys_of(tmp_path, CYRILLIC.encode())
    assert keys.owner(CYRILLIC.encode()) == "alice"
    assert keys.owner(CYRILLIC.encode("koi8-r")) is None


def test_only_the_encodings_of_a_key_are_valid() -> None:
    assert forms_of(b"only-ascii") == {b"only-ascii"}
    assert len(forms_of(UMLAUTS.encode())) == len(forms_of(UMLAUTS.encode("latin-1"))) == 2


@pytest.mark.parametrize("text", [b"", b"\n\r\n \t\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\r\n"])
def test_empty_lines_are_not_keys(tmp_path: Path, text: bytes) -> None:
    assert keys_in(text) == []
    assert keys_of(tmp_path, text).owner(b"") is None


@pytest.mark.parametrize("key", [b"short", b"k" * 513])
def test_an_ignored_key_is_logged_without_its_value(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, key: bytes
) -> None:
    with caplog.at_level(logging.INFO):
        assert keys_of(tmp_path, key).owner(key) is None
    assert "A key of alice is ignored: keys must have 8 to 512 bytes." in caplog.text
    assert key.decode() not in caplog.text


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([("Authorization", "Bearer my passphrase-is-long")], 200),
        ([("Authorization", "bEARER   my passphrase-is-long  ")], 200),
        ([("X-Api-Key", "my passphrase-is-long")], 200),
        ([("Authorization", "Basic x"), ("X-Api-Key", "my passphrase-is-long")], 200),
        ([("Authorization", "Bearer passphrase-is-long")], 401),
        ([("Authorization", "Bearer"), ("X-Api-Key", "my passphrase-is-long")], 401),
        ([("Authorization", "Bearer wrong-one"), ("Authorization", "Bearer my passphrase-is-long")], 401),
        ([("X-Api-Key", "my passphrase-is-long, other")], 401),
        ([("Cookie", "my passphrase-is-long")], 401),
    ],
)
async def test_a_passphrase_must_be_complete_in_one_header(
    tmp_path: Path, headers: list[tuple[str, str]], status: int
) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys/alice").write_text("my passphrase-is-long\n")
    guarded = guarding(tmp_path, keys=str(tmp_path / "keys"))
    try:
        app = answering(b"{}") if status == 200 else nothing
        assert (await ask(Guard(app, guarded.gate), headers=headers)).status == status
    finally:
        guarded.close()


# --- guessing --------------------------------------------------------------------------------------------------------


def shown(key: str) -> list[tuple[str, str]]:
    return [("Authorization", f"Bearer {key}")]


async def status(gate: Gate, key: str, *, path: str = CHAT, **of: str) -> int:
    more = [("X-Forwarded-For", of.pop("forwarded"))] if "forwarded" in of else []
    return (await ask(Guard(answering(b"{}"), gate), path, headers=[*shown(key), *more], **of)).status  # type: ignore[arg-type]


async def test_a_client_that_guesses_keys_at_a_warm_pod_is_refused_after_some_guesses(
    make_guard: MakeGuard, tmp_path: Path
) -> None:
    now = 100.0
    gate = make_guard(clock=lambda: now, keys=secret_of(tmp_path, alice=KEY)).gate
    assert [await status(gate, f"wrong-key-{number}") for number in range(AT_ONCE)] == [401] * AT_ONCE
    for key in ("another-one", KEY):
        answer = await ask(Guard(nothing, gate), headers=shown(key))
        assert (answer.status, answer.error) == (429, "too_many_wrong_keys")
        assert (answer.headers["retry-after"], answer.headers["connection"]) == (str(int(1 / PER_SECOND)), "close")
    now += 1 / PER_SECOND
    assert [await status(gate, f"wrong-key-{number}") for number in range(2)] == [401, 429]


async def test_a_guesser_stays_the_same_client_with_another_header_or_path(
    make_guard: MakeGuard, tmp_path: Path
) -> None:
    gate = make_guard(clock=lambda: 100.0, keys=secret_of(tmp_path, alice=KEY)).gate
    for number in range(AT_ONCE):
        await status(gate, f"wrong-key-{number}", forwarded=f"192.0.2.{number}", path="/v1/embeddings")
    assert await status(gate, KEY, forwarded="192.0.2.99") == 429
    assert await status(gate, KEY, client="2001:db8::1") == 200
    assert (
        await ask(Guard(answering(b"{}"), gate), "/health", method="GET", headers=shown(KEY), body=[])
    ).status == 200


async def test_a_guesser_does_not_lock_out_clients_of_its_address_whose_key_was_valid(
    make_guard: MakeGuard, tmp_path: Path
) -> None:
    """As behind the activator, whose address all clients have."""
    gate = make_guard(clock=lambda: 100.0, keys=secret_of(tmp_path, alice=KEY, bob="a-key-of-bob")).gate
    assert await status(gate, KEY) == 200
    for number in range(2 * AT_ONCE):
        await status(gate, f"wrong-key-{number}")
    assert (await status(gate, KEY), await status(gate, "a-key-of-bob")) == (200, 429)
    assert await status(gate, "a-key-of-bob", client="10.0.0.8") == 200


async def test_a_missing_key_does_not_count_as_a_guess(make_guard: MakeGuard, tmp_path: Path) -> None:
    gate = make_guard(clock=lambda: 100.0, keys=secret_of(tmp_path, alice=KEY)).gate
    for _ in range(2 * AT_ONCE):
        assert (await ask(Guard(nothing, gate))).status == 401
    assert await status(gate, KEY) == 200
