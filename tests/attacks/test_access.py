"""A client that is not allowed neither wakes a sleeping model nor takes a slot of it."""

from __future__ import annotations

import asyncio
from ipaddress import ip_network
from typing import Any

import pytest
from slipway.activator.proxy.access.api_key_cache import WRONG_BURST
from slipway.activator.proxy.access.api_keys import MOST_BYTES
from slipway.activator.proxy.access.pod_lookup import LARGEST
from slipway.activator.proxy.client_identity import ClientIdentifier
from slipway.activator.proxy.config import ProxyConfig
from slipway.activator.shared.hold_limits import HoldLimits
from support.fakes.scripted_engine import scripted_engine
from support.programs.activator import Client
from support.programs.protected_model import (
    BEARER,
    GOOD,
    HERE,
    KEYS,
    WITH_KEYS,
    holds,
    only_from,
    protected_model,
    rules,
)

OLD, OTHER_ADDRESS = b"sk-old-key-5678", "127.0.0.9"


# --- addresses and pods ----------------------------------------------------------------------------------------------

NO_CLIENT = only_from()
ADDRESSES = only_from({"ipBlock": {"cidr": "127.0.0.0/8", "except": ["127.0.0.8/29"]}})
TEAM = only_from({"podSelector": {"matchLabels": {"team": "blue"}}})

METHODS = ["GET /v1/models", "HEAD /v1/models", "OPTIONS /v1/completions", "POST /v1/completions", "GET /health"]
OTHERS = ["GET /v1/realtime", "DELETE /", "PROPFIND /", "GET /favicon.ico"]


@pytest.mark.parametrize("line", METHODS + OTHERS)
async def test_a_client_that_is_not_allowed_is_refused_for_every_request_line(line: str) -> None:
    async with protected_model(NO_CLIENT) as attacked:
        answer = await attacked.request(line)
        assert (answer.status, attacked.is_asleep) == (403, True)
        assert "connection" not in answer.headers  # the request has arrived completely, and another may follow


async def test_a_websocket_is_refused_as_well() -> None:
    async with protected_model(NO_CLIENT) as attacked:
        upgrade = b"GET /v1/realtime HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        assert ((await attacked.send(upgrade)).status, attacked.is_asleep) == (403, True)


async def test_the_refusal_is_in_openais_form() -> None:
    async with protected_model(NO_CLIENT) as attacked:
        assert (await attacked.request()).error == {
            "type": "invalid_request_error",
            "code": "not_allowed_from_here",
            "message": "access.allowFrom of this model doesn't name this address.",
            "param": None,
        }


@pytest.mark.parametrize("keys", [{}, {"apiKeysSecret": "keys"}])
async def test_a_key_does_not_help_a_client_whose_address_is_not_allowed(keys: dict[str, str]) -> None:
    async with protected_model(only_from(**keys)) as attacked:
        assert ((await attacked.request(headers=BEARER)).status, attacked.is_asleep) == (403, True)
        assert attacked.neighbours.requests == []


FORGED = ["X-Forwarded-For: 127.0.0.1", "X-Real-Ip: 127.0.0.1", "Forwarded: for=127.0.0.1"]


@pytest.mark.parametrize("header", FORGED)
async def test_forwarding_headers_of_a_client_are_ignored(header: str) -> None:
    async with protected_model(ADDRESSES) as attacked:
        answer = await attacked.request(headers=f"{header}\r\n", address=OTHER_ADDRESS)
        assert (answer.status, attacked.is_asleep) == (403, True)


async def test_named_addresses_are_allowed_and_excepted_ones_are_refused() -> None:
    async with protected_model(ADDRESSES) as attacked:
        assert ((await attacked.request(address=OTHER_ADDRESS)).status, attacked.is_asleep) == (403, True)
        await holds(attacked)


async def test_a_pod_that_the_selector_matches_is_allowed_and_another_is_refused() -> None:
    async with protected_model(TEAM) as attacked:
        attacked.neighbours.pod(HERE, labels={"team": "blue"})
        attacked.neighbours.pod(OTHER_ADDRESS, labels={"team": "red"})
        assert ((await attacked.request(address=OTHER_ADDRESS)).status, attacked.is_asleep) == (403, True)
        await holds(attacked)


REFUSED_PODS: dict[str, list[dict[str, Any]]] = {
    "none": [],
    "in another namespace": [{"namespace": "evil", "labels": {"team": "blue"}}],
    "on the host network": [{"labels": {"team": "blue"}, "host_network": True}],
    "succeeded": [{"labels": {"team": "blue"}, "phase": "Succeeded"}],
    "failed": [{"labels": {"team": "blue"}, "phase": "Failed"}],
    "two with one address": [{"labels": {"team": "blue"}}, {"namespace": "evil", "labels": {"team": "blue"}}],
    "one more on the host network": [{"labels": {"team": "blue"}}, {"labels": {"team": "blue"}, "host_network": True}],
}


@pytest.mark.parametrize("pods", REFUSED_PODS.values(), ids=REFUSED_PODS.keys())
async def test_an_address_is_refused_unless_exactly_one_matching_pod_has_it(
    pods: list[dict[str, Any]],
) -> None:
    async with protected_model(TEAM) as attacked:
        for pod in pods:
            attacked.neighbours.pod(HERE, **pod)
        assert ((await attacked.request()).status, attacked.is_asleep) == (403, True)


async def test_a_pod_that_is_too_large_to_be_read_is_refused_whatever_its_labels() -> None:
    async with protected_model(TEAM) as attacked:
        attacked.neighbours.pod(HERE, labels={"team": "blue"})
        attacked.neighbours.pods[0]["spec"]["containers"] = [{"env": ["x" * LARGEST]}]
        assert ((await attacked.request()).status, attacked.is_asleep) == (403, True)


async def test_while_pods_cannot_be_looked_up_all_clients_are_refused() -> None:
    async with protected_model(TEAM) as attacked:
        attacked.neighbours.pod(HERE, labels={"team": "blue"})
        attacked.neighbours.is_away = True
        answer = await attacked.request()
        assert (answer.status, answer.error["code"], attacked.is_asleep) == (503, "caller_unknown", True)
        assert int(answer.headers["retry-after"]) >= 1


async def test_a_spec_with_unreadable_access_rules_refuses_all_clients() -> None:
    async with protected_model(rules(access={"allowFromNobodyKnowsWhat": {}})) as attacked:
        answer = await attacked.request()
        assert (answer.status, answer.error["code"], attacked.is_asleep) == (503, "rules_unreadable", True)


async def test_clients_are_refused_while_a_replica_is_ready_too() -> None:
    async with protected_model(NO_CLIENT) as attacked, scripted_engine() as engine:
        attacked.activator.ready(engine)
        assert (await attacked.request()).status == 403
        assert engine.requests == []


async def test_access_is_checked_for_each_request_on_a_connection() -> None:
    async with protected_model(TEAM) as attacked, scripted_engine() as engine:
        attacked.activator.ready(engine)
        attacked.neighbours.pod(HERE, labels={"team": "blue"})
        reader, writer = await asyncio.open_connection(HERE, await attacked.activator.port())
        client = Client(reader, writer)
        client.post()
        assert (await client.answer()).status == 200
        attacked.neighbours.pods.clear()
        attacked.neighbours.clock.now += 3
        client.post()
        assert (await client.answer()).status == 403
        writer.close()


# --- keys ------------------------------------------------------------------------------------------------------------

WRONG = [
    "Authorization: Bearer sk-wrong-key-1234",
    "Authorization: bearer  sk-good-key-123",
    "X-Api-Key: sk-wrong-key-1234",
    "Api-Key: sk-wrong-key-1234",
    "Authorization: Bearer sk-wrong-key-1234\r\nX-Api-Key: sk-good-key-1234",  # the guard reads the first, too
    "X-Api-Key: sk-wrong-key-1234\r\nX-Api-Key: sk-good-key-1234",
    "Authorization: Bearer alice",
    "Authorization: Bearer " + "x" * 8000,
    "Authorization: Bearer sk-good-key-1234,",
]


@pytest.mark.parametrize("shown", WRONG)
async def test_a_wrong_key_does_not_wake_the_model(shown: str) -> None:
    async with protected_model(WITH_KEYS) as attacked:
        answer = await attacked.request(headers=f"{shown}\r\n")
        assert (answer.status, answer.error["code"], attacked.is_asleep) == (401, "invalid_api_key", True)
        assert answer.headers["www-authenticate"] == "Bearer"


NONE_SHOWN = ["", "Authorization: Basic c2stZ29vZC1rZXk=\r\n", "Authorization: Bearer\r\n", "X-Api-Key: \r\n"]


@pytest.mark.parametrize("shown", NONE_SHOWN)
@pytest.mark.parametrize("may_read", [True, False])
async def test_a_request_without_a_key_does_not_wake_the_model_even_where_keys_cannot_be_read(
    shown: str, may_read: bool
) -> None:
    async with protected_model(WITH_KEYS) as attacked:
        attacked.neighbours.hidden = set() if may_read else {KEYS}
        answer = await attacked.request(headers=shown)
        assert (answer.status, answer.error["code"], attacked.is_asleep) == (401, "missing_api_key", True)
        assert attacked.neighbours.requests == []


WAKES_BY_HEALTH = ["GET /health", "GET /*"]


@pytest.mark.parametrize("wake_on", WAKES_BY_HEALTH)
async def test_a_request_without_a_key_does_not_wake_the_model_by_a_health_path(wake_on: str) -> None:
    waking = {"hold": {"wakeOn": [wake_on]}}
    async with protected_model(rules(access={"apiKeysSecret": "keys"}, scaling=waking)) as attacked:
        answer = await attacked.request("GET /health", body=b"")
        assert (answer.status, answer.error["code"], attacked.is_asleep) == (401, "missing_api_key", True)
        await holds(attacked, line="GET /health", headers=BEARER)


@pytest.mark.parametrize("shown", [BEARER, f"X-Api-Key: {GOOD.decode()}\r\n", f"Api-Key: {GOOD.decode()}\r\n"])
async def test_a_request_with_a_valid_key_is_held_and_wakes_the_model(shown: str) -> None:
    async with protected_model(WITH_KEYS) as attacked:
        await holds(attacked, headers=shown)


async def test_heads_without_a_key_do_not_block_a_client_with_one() -> None:
    async with protected_model(
        WITH_KEYS, limits=HoldLimits(max_requests=8, max_bytes=64 << 20, timeout=20)
    ) as attacked:
        announced = b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 8388608\r\n\r\n"
        answers = await asyncio.gather(*(attacked.send(announced) for _ in range(16)))
        assert ({answer.status for answer in answers}, attacked.is_asleep) == ({401}, True)
        await holds(attacked, headers=BEARER)


async def test_after_a_rotation_only_the_new_key_wakes_the_model() -> None:
    async with protected_model(WITH_KEYS) as attacked:
        attacked.neighbours.secrets[KEYS] = {"alice": OLD}
        await holds(attacked, headers=f"X-Api-Key: {OLD.decode()}\r\n")
        attacked.activator.ready()
        attacked.neighbours.secrets[KEYS] = {"alice": GOOD}
        attacked.neighbours.clock.now += 11
        assert (await attacked.request(headers=f"X-Api-Key: {OLD.decode()}\r\n")).status == 401
        await holds(attacked, headers=BEARER)


async def test_where_keys_cannot_be_read_a_request_with_one_waits_for_the_guard() -> None:
    async with protected_model(WITH_KEYS) as attacked:
        attacked.neighbours.hidden = {KEYS}
        await holds(attacked, headers="X-Api-Key: any-key-at-all\r\n")


async def test_where_keys_cannot_be_read_the_model_list_is_refused() -> None:
    async with protected_model(WITH_KEYS) as attacked:
        attacked.neighbours.hidden = {KEYS}
        answer = await attacked.request("GET /v1/models", headers="X-Api-Key: any-key-at-all\r\n")
        assert (answer.status, answer.error["code"], attacked.is_asleep) == (503, "keys_unreadable", True)


async def test_where_the_secret_is_missing_no_request_wakes_the_model() -> None:
    async with protected_model(WITH_KEYS) as attacked:
        attacked.neighbours.secrets.clear()
        answer = await attacked.request(headers=BEARER)
        assert (answer.status, answer.error["code"], attacked.is_asleep) == (503, "keys_missing", True)


async def test_a_secret_that_is_too_large_is_not_read_and_the_replicas_guard_decides() -> None:
    async with protected_model(WITH_KEYS) as attacked, scripted_engine() as engine:
        attacked.neighbours.secrets[KEYS] = {"alice": GOOD, "book": b"x" * MOST_BYTES}
        answer = await attacked.request(headers=BEARER)
        assert (answer.status, answer.error["code"], attacked.is_asleep) == (503, "keys_unreadable", True)
        assert "larger than 256 KiB" in answer.error["message"]
        attacked.activator.ready(engine)
        assert (await attacked.request(headers=BEARER)).status == 200


async def test_before_the_keys_have_been_read_all_requests_are_refused() -> None:
    async with protected_model(WITH_KEYS) as attacked:
        attacked.neighbours.is_away = True
        answer = await attacked.request(headers=BEARER)
        assert (answer.status, answer.error["code"], attacked.is_asleep) == (503, "keys_unreadable", True)


async def test_a_client_that_guesses_keys_is_refused_after_some_guesses_even_with_a_valid_key() -> None:
    async with protected_model(WITH_KEYS) as attacked:
        for number in range(WRONG_BURST):
            assert (await attacked.request(headers=f"X-Api-Key: guessed-{number}\r\n")).status == 401
        answer = await attacked.request(headers=BEARER)
        assert (answer.status, answer.error["code"], attacked.is_asleep) == (429, "too_many_wrong_keys", True)
        await holds(attacked, headers=BEARER, address=OTHER_ADDRESS)


async def test_a_guesser_behind_a_gateway_does_not_lock_out_clients_whose_key_was_valid() -> None:
    async with protected_model(WITH_KEYS) as attacked, scripted_engine() as engine:
        attacked.activator.ready(engine)
        assert (await attacked.request(headers=BEARER)).status == 200
        for number in range(WRONG_BURST + 1):
            await attacked.request(headers=f"X-Api-Key: guessed-{number}\r\n")
        assert (await attacked.request(headers=BEARER)).status == 200


BEHIND_A_PROXY = ProxyConfig(linger=0.1, clients=ClientIdentifier((ip_network(f"{HERE}/32"),)))


async def test_a_guesser_behind_a_trusted_proxy_does_not_lock_out_the_proxys_other_clients() -> None:
    async with protected_model(WITH_KEYS, config=BEHIND_A_PROXY) as attacked:
        for number in range(WRONG_BURST + 1):
            guess = f"X-Api-Key: guessed-{number}\r\nX-Forwarded-For: 203.0.113.6\r\n"
            answer = await attacked.request(headers=guess)
        assert answer.error["code"] == "too_many_wrong_keys"
        await holds(attacked, headers=f"{BEARER}X-Forwarded-For: 198.51.100.7\r\n")


async def test_a_guesser_counts_as_one_client_whatever_forwarding_headers_it_sends() -> None:
    async with protected_model(WITH_KEYS) as attacked:
        for number in range(WRONG_BURST + 1):
            guess = f"X-Api-Key: guessed-{number}\r\nX-Forwarded-For: 203.0.113.{number}\r\n"
            answer = await attacked.request(headers=guess)
        assert answer.error["code"] == "too_many_wrong_keys"


async def test_a_wrong_key_takes_no_slot_of_a_warm_model() -> None:
    async with protected_model(WITH_KEYS) as attacked, scripted_engine() as engine:
        attacked.activator.ready(engine)
        assert (await attacked.request(headers="X-Api-Key: sk-wrong-key-1234\r\n")).status == 401
        assert engine.requests == []
