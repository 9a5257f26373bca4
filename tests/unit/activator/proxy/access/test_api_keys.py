"""API keys at zero: what a key is, how soon a changed one counts, and how seldom the Secret is read for it."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path

import pytest
from slipway.activator.proxy.access.api_key_cache import WRONG_BURST, WRONG_PER_SECOND, SecretProblem, SecretRef
from slipway.activator.proxy.access.api_key_format import LONGEST, MOST_KEYS, SHORTEST
from slipway.activator.proxy.access.api_keys import (
    FRESH,
    MOST_BYTES,
    READS_BURST,
    READS_PER_SECOND,
    STEP,
    SURE,
    WAIT,
    ApiKeyCheck,
    ApiKeys,
)
from slipway_runtime.guard import keys as guards
from support.fakes import virtual_time
from support.fakes.access_api import AccessApi
from support.fakes.virtual_time import Clock, now
from support.programs.guard import GuardHarness, guarding, keys_in

REF = SecretRef("chat", "keys")
ALICE, BOB = b"sk-alice-1234", b"sk-bob-12345"


@pytest.fixture
def api() -> AccessApi:
    return AccessApi(secrets={"chat/keys": {"alice": ALICE}})


@pytest.fixture
def keys(api: AccessApi) -> ApiKeys:
    return ApiKeys(api.client, clock=api.clock)


async def check(keys: ApiKeys, key: bytes, *, client: str = "10.0.0.1", ref: SecretRef = REF) -> ApiKeyCheck:
    return await keys.check(ref, key, client=client)


# --- what is a key ---------------------------------------------------------------------------------------------------

SECRETS: list[tuple[bytes, list[bytes], list[bytes]]] = [
    (b"sk-alice-1234", [b"sk-alice-1234"], [b"sk-alice-123", b"sk-alice-12345", b"SK-ALICE-1234", b"alice", b""]),
    (b"sk-alice-1234\n", [b"sk-alice-1234"], []),
    (b"  sk-alice-1234 \r\n\n sk-other-1234\n", [b"sk-alice-1234", b"sk-other-1234"], [b"sk-alice-1234 sk-other-1234"]),
    (b"my passphrase-is-long", [b"my passphrase-is-long"], [b"passphrase-is-long", b"my"]),
    (b"1234567\n12345678", [b"12345678"], [b"1234567"]),
    (b"x" * 512 + b"\n" + b"y" * 513, [b"x" * 512], [b"y" * 513, b"x" * 513]),
    ("schlüssel-ß".encode(), ["schlüssel-ß".encode(), "schlüssel-ß".encode("latin-1")], [b"schl?ssel-?"]),
    (b"\xff\xfe-not-utf-8", [b"\xff\xfe-not-utf-8", "ÿþ-not-utf-8".encode()], []),
    ("ключ-ключ".encode(), ["ключ-ключ".encode()], []),
    (b"\xef\xbb\xbfsk-alice-1234", [b"sk-alice-1234"], []),
    (b"", [], [b"", b"        "]),
    (b"\n\nshort\n".join(b"key-%05d" % number for number in range(1002)), [b"key-00999"], [b"key-01000", b"key-01001"]),
]


def test_the_guard_has_the_same_maximum_of_keys() -> None:
    assert (SHORTEST, LONGEST, MOST_KEYS) == (guards.SHORTEST, guards.LONGEST, guards.MOST_KEYS)


async def test_of_many_entries_the_first_by_name_count(tmp_path: Path) -> None:
    entries = {f"owner-{number:04}": b"key-of-%04d" % number for number in range(MOST_KEYS, -1, -1)}
    keys = ApiKeys(AccessApi(secrets={"chat/keys": entries}).client, clock=Clock())
    folder = keys_in(tmp_path, **{owner: key.decode() for owner, key in entries.items()})
    guarded = guarding(tmp_path, keys=folder)
    last, beyond = b"key-of-%04d" % (MOST_KEYS - 1), b"key-of-%04d" % MOST_KEYS
    assert [(await check(keys, key)).owner for key in (last, beyond)] == [f"owner-{MOST_KEYS - 1:04}", None]
    assert [owner(guarded, key) for key in (last, beyond)] == [f"owner-{MOST_KEYS - 1:04}", "none"]
    guarded.close()


@pytest.mark.parametrize(("text", "valid", "invalid"), SECRETS)
async def test_a_key_is_a_line(
    api: AccessApi, keys: ApiKeys, text: bytes, valid: list[bytes], invalid: list[bytes]
) -> None:
    api.secrets["chat/keys"] = {"alice": text}
    assert [(await check(keys, key)).owner for key in valid] == ["alice"] * len(valid)
    assert [(await check(keys, key)).is_wrong for key in invalid] == [True] * len(invalid)


@pytest.mark.parametrize(("text", "valid", "invalid"), SECRETS)
def test_the_guard_reads_the_same_keys(tmp_path: Path, text: bytes, valid: list[bytes], invalid: list[bytes]) -> None:
    folder = keys_in(tmp_path)
    (Path(folder) / "alice").write_bytes(text)
    guarded = guarding(tmp_path, keys=folder)
    assert [owner(guarded, key) for key in valid] == ["alice"] * len(valid)
    assert [owner(guarded, key) for key in invalid] == ["none"] * len(invalid)
    guarded.close()


def owner(guarded: GuardHarness, key: bytes) -> str:
    visit, _ = guarded.gate.enter("GET", "/v1/models", {"x-api-key": key.decode("latin-1")})
    guarded.gate.leave(visit)
    return visit.owner


async def test_a_hidden_entry_holds_no_keys(api: AccessApi, keys: ApiKeys) -> None:
    """As a file, it is invisible to the guard."""
    api.secrets["chat/keys"] = {".alice": ALICE}
    assert (await check(keys, ALICE)).is_wrong


async def test_a_key_counts_for_its_own_secret_alone(api: AccessApi, keys: ApiKeys) -> None:
    api.secrets["evil/keys"] = {"mallory": BOB}
    assert (await check(keys, BOB, ref=SecretRef("evil", "keys"))).owner == "mallory"
    assert (await check(keys, BOB)).is_wrong


async def test_only_a_digest_of_a_key_is_stored(keys: ApiKeys) -> None:
    await check(keys, ALICE)
    assert ALICE.decode() not in repr(vars(keys))


# --- how soon, how seldom --------------------------------------------------------------------------------------------


async def test_a_new_key_counts_within_seconds_and_an_old_one_no_longer(api: AccessApi, keys: ApiKeys) -> None:
    assert (await check(keys, ALICE)).owner == "alice"
    api.secrets["chat/keys"] = {"bob": BOB}
    api.clock.now += SURE
    assert (await check(keys, BOB)).owner == "bob"
    assert (await check(keys, ALICE)).is_wrong


async def test_an_old_key_is_refused_even_if_no_client_uses_the_new_one(api: AccessApi, keys: ApiKeys) -> None:
    await check(keys, ALICE)
    api.secrets["chat/keys"] = {}
    api.clock.now += FRESH
    assert (await check(keys, ALICE)).is_wrong


async def test_a_valid_key_causes_a_read_of_the_secret_once_in_a_while(api: AccessApi, keys: ApiKeys) -> None:
    for _ in range(50):
        await check(keys, ALICE)
        api.clock.now += FRESH / 50
    assert len(api.requests) == 1


async def test_wrong_keys_cause_no_more_reads_than_the_secret_could_change(api: AccessApi, keys: ApiKeys) -> None:
    for number in range(200):
        await check(keys, b"wrong-key-%d" % number, client=f"10.0.0.{number}")
        api.clock.now += SURE / 100
    assert len(api.requests) == 2


async def test_many_concurrent_checks_cause_one_read(api: AccessApi, keys: ApiKeys) -> None:
    api.answers.clear()
    waiting = [asyncio.create_task(check(keys, ALICE)) for _ in range(50)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    api.answers.set()
    assert {each.owner for each in await asyncio.gather(*waiting[1:])} == {"alice"}
    assert len(api.requests) == 1


# --- many Secrets, and large ones ------------------------------------------------------------------------------------


def test_a_flood_over_all_models_is_bounded_and_admits_no_client() -> None:
    async def test() -> None:
        api = AccessApi()
        keys = ApiKeys(api.client, clock=now)
        flood = [check(keys, ALICE, ref=SecretRef("chat", f"keys-{number}")) for number in range(READS_BURST * 4)]
        found = await asyncio.gather(*flood)
        assert READS_BURST < len(api.requests) <= READS_BURST + READS_PER_SECOND * WAIT
        assert {each.problem for each in found} == {SecretProblem.MISSING, SecretProblem.LATER}

    virtual_time.run(test())


async def keeps_reading(keys: ApiKeys, ref: SecretRef) -> None:
    number = 0
    while True:
        number += 1
        await check(keys, b"any-key-%d" % number, client="10.6.6.6", ref=ref)
        await asyncio.sleep(0.1)


def test_one_tenant_with_many_secrets_leaves_reads_to_others() -> None:
    """Secrets that are missing, and Secrets whose keys it guesses."""

    async def test() -> None:
        other_secrets = {f"chat/keys{number}": {"alice": ALICE} for number in range(50)}
        attacker_secrets = {f"evil/keys{number}": {"mallory": BOB} for number in range(100)}
        api = AccessApi(
            secrets={"chat/keys": {"alice": ALICE}, **other_secrets, **attacker_secrets}, seconds_per_answer=0.02
        )
        keys = ApiKeys(api.client, clock=now)
        assert (await check(keys, ALICE)).owner == "alice"
        attack = [asyncio.create_task(keeps_reading(keys, SecretRef("evil", f"keys{number}"))) for number in range(200)]
        await asyncio.sleep(10)
        for number in range(50):
            started = now()
            assert (await check(keys, ALICE, ref=SecretRef("chat", f"keys{number}"))).owner == "alice"
            assert now() - started < 1
        api.secrets["chat/keys"] = {"alice": b"a-rotated-key"}
        await asyncio.sleep(SURE)
        assert (await check(keys, b"a-rotated-key")).owner == "alice"
        for each in attack:
            each.cancel()
        await asyncio.gather(*attack, return_exceptions=True)

    virtual_time.run(test())


def test_a_key_is_not_refused_while_its_secret_waits_to_be_read() -> None:
    async def test() -> None:
        api = AccessApi(secrets={"chat/keys": {"alice": ALICE}})
        keys = ApiKeys(api.client, clock=now)
        await check(keys, ALICE)
        await asyncio.sleep(SURE)
        flood = [check(keys, ALICE, ref=SecretRef("chat", f"keys-{number}")) for number in range(READS_BURST * 4)]
        flooding = [asyncio.create_task(each) for each in flood]
        await asyncio.sleep(0)
        assert (await check(keys, BOB)).problem is SecretProblem.LATER
        assert (await check(keys, ALICE)).owner == "alice"
        await asyncio.gather(*flooding)

    virtual_time.run(test())


async def test_a_large_secret_is_not_read(api: AccessApi, keys: ApiKeys) -> None:
    api.secrets["chat/keys"] = {"alice": ALICE, "book": b"x" * MOST_BYTES}
    for _ in range(3):
        assert await check(keys, ALICE) == ApiKeyCheck(problem=SecretProblem.TOO_LARGE)
        api.clock.now += SURE
    assert len(api.requests) == 1
    api.secrets["chat/keys"] = {"alice": ALICE}
    api.clock.now += FRESH
    assert (await check(keys, ALICE)).owner == "alice"


COSTLY = {
    "keys": ({"a": b"\n".join(b"%08x" % number for number in range(20_000))}, MOST_KEYS),
    "entries": ({f"{number:x}": b"" for number in range(15_000)}, 15_000),
    "short lines": ({"a": b"a\n" * 90_000}, 90_000),
    "empty lines": ({"a": b"\n" * 180_000}, 0),
}


@pytest.mark.parametrize(("secret", "lines"), COSTLY.values(), ids=COSTLY.keys())
async def test_a_secret_is_parsed_in_steps_and_not_beyond_the_keys_that_count(
    api: AccessApi, keys: ApiKeys, secret: dict[str, bytes], lines: int
) -> None:
    data = {name: base64.b64encode(text).decode() for name, text in secret.items()}
    assert sum(1 for _ in keys._owners({"data": data})) == lines // STEP
    api.secrets["chat/keys"] = secret
    assert (await check(keys, ALICE)).is_wrong


# --- where it can't be read ------------------------------------------------------------------------------------------


async def test_a_secret_that_may_not_be_read_decides_nothing_about_keys(api: AccessApi, keys: ApiKeys) -> None:
    api.hidden = {"chat/keys"}
    assert await check(keys, ALICE) == ApiKeyCheck(problem=SecretProblem.UNREADABLE)
    await check(keys, BOB)
    assert len(api.requests) == 1


async def test_a_granted_permission_counts_within_seconds(api: AccessApi, keys: ApiKeys) -> None:
    api.hidden = {"chat/keys"}
    await check(keys, ALICE)
    api.hidden = set()
    api.clock.now += FRESH
    assert (await check(keys, ALICE)).owner == "alice"
    assert (await check(keys, BOB)).is_wrong


async def test_a_created_secret_counts_within_seconds(api: AccessApi, keys: ApiKeys) -> None:
    found = api.secrets.pop("chat/keys")
    for _ in range(4):
        assert await check(keys, ALICE) == ApiKeyCheck(problem=SecretProblem.MISSING)
    assert len(api.requests) == 1
    api.secrets["chat/keys"] = found
    api.clock.now += FRESH
    assert (await check(keys, ALICE)).owner == "alice"


async def test_while_the_api_server_is_away_the_known_keys_hold(api: AccessApi, keys: ApiKeys) -> None:
    await check(keys, ALICE)
    api.is_away = True
    api.clock.now += FRESH
    assert (await check(keys, ALICE)).owner == "alice"
    assert (await check(keys, BOB)).is_wrong


# --- guessing --------------------------------------------------------------------------------------------------------


async def guess(keys: ApiKeys, times: int) -> None:
    await asyncio.gather(*(check(keys, b"wrong-key-%d" % number) for number in range(times)))


async def test_a_client_that_guesses_gets_no_more_answers_and_others_do(keys: ApiKeys) -> None:
    await guess(keys, WRONG_BURST)
    assert (await check(keys, ALICE)).wait > 0
    assert (await check(keys, ALICE, client="10.0.0.2")).owner == "alice"


async def test_a_key_that_was_valid_from_there_continues_until_it_is_revoked(api: AccessApi, keys: ApiKeys) -> None:
    await check(keys, ALICE)
    await guess(keys, WRONG_BURST)
    assert (await check(keys, ALICE)).owner == "alice"
    api.secrets["chat/keys"] = {"bob": BOB}
    api.clock.now += FRESH
    await guess(keys, WRONG_BURST)
    assert (await check(keys, ALICE)).owner is None
    assert (await check(keys, BOB)).wait > 0


async def test_after_a_while_its_keys_are_checked_again(api: AccessApi, keys: ApiKeys) -> None:
    await guess(keys, WRONG_BURST)
    api.clock.now += 1 / WRONG_PER_SECOND
    assert (await check(keys, ALICE)).owner == "alice"


async def test_a_thousand_concurrent_guesses_count_like_consecutive_ones(keys: ApiKeys) -> None:
    guesses = await asyncio.gather(*(check(keys, b"wrong-key-%d" % number) for number in range(1000)))
    assert sum(each.is_wrong and not each.wait for each in guesses) == WRONG_BURST


async def test_a_client_that_guesses_one_models_keys_is_not_locked_out_of_anothers(
    api: AccessApi, keys: ApiKeys
) -> None:
    """Behind one gateway there are many clients, and one of them may guess the keys of a model of its own."""
    api.secrets["evil/keys"] = {"mallory": BOB}
    for number in range(WRONG_BURST + 1):
        await check(keys, b"wrong-key-%d" % number, ref=SecretRef("evil", "keys"))
    assert (await check(keys, BOB, ref=SecretRef("evil", "keys"))).wait > 0
    assert (await check(keys, ALICE)).owner == "alice"
