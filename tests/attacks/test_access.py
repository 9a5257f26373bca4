"""Who isn't let in neither wakes a sleeping model nor takes a place in it, and nobody wakes one by looking at it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import Any

import pytest
from slipway.activator.clients import Clients
from slipway.activator.holding import Limits
from slipway.activator.keyring import WRONG_BURST
from slipway.activator.keys import MOST_BYTES
from slipway.activator.options import Options
from slipway.activator.rules import Rules, rules_of
from slipway.api.reasons import Reason
from slipway.observing.cause import Cause
from support.activator import LLAMA, Activator, Answer, Client, activated, ask
from support.neighbours import Neighbours
from support.scripted_engine import scripted_engine

GOOD, OLD = b"sk-good-key-1234", b"sk-old-key-5678"
KEYS = "chat/keys"
BEARER = f"Authorization: Bearer {GOOD.decode()}\r\n"
HERE, ELSEWHERE = "127.0.0.1", "127.0.0.9"


def rules(**spec: Any) -> Rules:
    metadata = {"namespace": "chat", "name": "llama", "creationTimestamp": "2026-11-21T10:00:00Z"}
    return rules_of({"metadata": metadata, "spec": {"model": {"uri": "pvc://models/llama"}, **spec}})


def only_from(*peers: dict[str, Any], **access: Any) -> Rules:
    return rules(access={"allowFrom": list(peers), **access})


WITH_KEYS = rules(access={"apiKeysSecret": "keys"})


@dataclass
class Scene:
    """A model at zero, its neighbours, and an attacker on a connection of its own for each request."""

    activator: Activator
    neighbours: Neighbours

    async def says(self, raw: bytes, *, address: str = HERE) -> Answer:
        port = await self.activator.port()
        reader, writer = await asyncio.open_connection(HERE, port, local_addr=(address, 0), limit=1 << 20)
        try:
            client = Client(reader, writer)
            client.say(raw)
            return await (client.head() if raw.startswith(b"HEAD") else client.answer())
        finally:
            writer.close()

    async def asks(
        self, line: str = "POST /v1/completions", *, headers: str = "", body: bytes = b"{}", address: str = HERE
    ) -> Answer:
        head = f"{line} HTTP/1.1\r\nHost: llama\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
        return await self.says(head.encode("utf-8") + body, address=address)

    @property
    def sleeps(self) -> bool:
        """Nothing is wanted of the model. After a request that was held this isn't so, whatever became of it."""
        return not self.activator.wanted.active and self.activator.wanted.waiting == 0


@asynccontextmanager
async def scene(of: Rules, *, limits: Limits | None = None, options: Options | None = None) -> AsyncIterator[Scene]:
    neighbours = Neighbours(secrets={KEYS: {"alice": GOOD}})
    async with activated(rules=of, doorkeeper=neighbours.doorkeeper, limits=limits, options=options) as activator:
        yield Scene(activator, neighbours)


async def holds(scene: Scene, *, headers: str = "", line: str = "POST /v1/completions", address: str = HERE) -> None:
    """Such a request waits, and the model is wanted."""
    asked = asyncio.create_task(scene.asks(line, headers=headers, address=address))
    await scene.activator.until_waiting(1)
    assert scene.activator.wanted.active
    asked.cancel()
    await scene.activator.until_waiting(0)


# --- from where ------------------------------------------------------------------------------------------------------

NOBODY = only_from()
ADDRESSES = only_from({"ipBlock": {"cidr": "127.0.0.0/8", "except": ["127.0.0.8/29"]}})
TEAM = only_from({"podSelector": {"matchLabels": {"team": "blue"}}})

METHODS = ["GET /v1/models", "HEAD /v1/models", "OPTIONS /v1/completions", "POST /v1/completions", "GET /health"]
OTHERS = ["GET /v1/realtime", "DELETE /", "PROPFIND /", "GET /favicon.ico"]


@pytest.mark.parametrize("line", METHODS + OTHERS)
async def test_who_is_not_allowed_is_refused_whatever_is_asked(line: str) -> None:
    async with scene(NOBODY) as attacked:
        answer = await attacked.asks(line)
        assert (answer.status, attacked.sleeps) == (403, True)
        assert answer.headers["connection"] == "close"


async def test_a_websocket_is_refused_as_well() -> None:
    async with scene(NOBODY) as attacked:
        upgrade = b"GET /v1/realtime HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        assert ((await attacked.says(upgrade)).status, attacked.sleeps) == (403, True)


async def test_the_refusal_is_in_openais_form() -> None:
    async with scene(NOBODY) as attacked:
        assert (await attacked.asks()).error == {
            "type": "invalid_request_error",
            "code": "not_allowed_from_here",
            "message": "access.allowFrom of this model doesn't name this address.",
            "param": None,
        }


@pytest.mark.parametrize("keys", [{}, {"apiKeysSecret": "keys"}])
async def test_a_key_does_not_help_who_is_not_allowed(keys: dict[str, str]) -> None:
    async with scene(only_from(**keys)) as attacked:
        assert ((await attacked.asks(headers=BEARER)).status, attacked.sleeps) == (403, True)
        assert attacked.neighbours.asked == []


FORGED = ["X-Forwarded-For: 127.0.0.1", "X-Real-Ip: 127.0.0.1", "Forwarded: for=127.0.0.1"]


@pytest.mark.parametrize("header", FORGED)
async def test_what_a_client_says_of_its_address_counts_for_nothing(header: str) -> None:
    async with scene(ADDRESSES) as attacked:
        answer = await attacked.asks(headers=f"{header}\r\n", address=ELSEWHERE)
        assert (answer.status, attacked.sleeps) == (403, True)


async def test_addresses_that_are_named_may_ask_and_those_excepted_may_not() -> None:
    async with scene(ADDRESSES) as attacked:
        assert ((await attacked.asks(address=ELSEWHERE)).status, attacked.sleeps) == (403, True)
        await holds(attacked)


async def test_a_pod_that_is_named_may_ask_and_another_may_not() -> None:
    async with scene(TEAM) as attacked:
        attacked.neighbours.pod(HERE, labels={"team": "blue"})
        attacked.neighbours.pod(ELSEWHERE, labels={"team": "red"})
        assert ((await attacked.asks(address=ELSEWHERE)).status, attacked.sleeps) == (403, True)
        await holds(attacked)


PODS_THAT_ARE_NOT_LET_IN: dict[str, list[dict[str, Any]]] = {
    "none": [],
    "of another namespace": [{"namespace": "evil", "labels": {"team": "blue"}}],
    "one on its node's network": [{"labels": {"team": "blue"}, "host_network": True}],
    "one that has ended": [{"labels": {"team": "blue"}, "phase": "Succeeded"}],
    "one that has failed": [{"labels": {"team": "blue"}, "phase": "Failed"}],
    "one of two": [{"labels": {"team": "blue"}}, {"namespace": "evil", "labels": {"team": "blue"}}],
    "one beside a node's": [{"labels": {"team": "blue"}}, {"labels": {"team": "blue"}, "host_network": True}],
}


@pytest.mark.parametrize("pods", PODS_THAT_ARE_NOT_LET_IN.values(), ids=PODS_THAT_ARE_NOT_LET_IN.keys())
async def test_an_address_is_not_let_in_by_a_pod_that_is_not_surely_the_one_that_asks(
    pods: list[dict[str, Any]],
) -> None:
    async with scene(TEAM) as attacked:
        for pod in pods:
            attacked.neighbours.pod(HERE, **pod)
        assert ((await attacked.asks()).status, attacked.sleeps) == (403, True)


async def test_where_it_cannot_be_told_who_asks_nobody_is_let_in() -> None:
    async with scene(TEAM) as attacked:
        attacked.neighbours.pod(HERE, labels={"team": "blue"})
        attacked.neighbours.is_away = True
        answer = await attacked.asks()
        assert (answer.status, answer.error["code"], attacked.sleeps) == (503, "caller_unknown", True)
        assert int(answer.headers["retry-after"]) >= 1


async def test_a_spec_that_cannot_be_read_lets_nobody_in() -> None:
    async with scene(rules(access={"allowFromNobodyKnowsWhat": {}})) as attacked:
        answer = await attacked.asks()
        assert (answer.status, answer.error["code"], attacked.sleeps) == (503, "rules_unreadable", True)


async def test_it_holds_while_a_replica_is_ready_too() -> None:
    async with scene(NOBODY) as attacked, scripted_engine() as engine:
        attacked.activator.ready(engine)
        assert (await attacked.asks()).status == 403
        assert engine.asked == []


async def test_it_is_asked_again_for_each_request_of_a_connection() -> None:
    async with scene(TEAM) as attacked, scripted_engine() as engine:
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


# --- with which key --------------------------------------------------------------------------------------------------

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
async def test_a_wrong_key_wakes_nobody(shown: str) -> None:
    async with scene(WITH_KEYS) as attacked:
        answer = await attacked.asks(headers=f"{shown}\r\n")
        assert (answer.status, answer.error["code"], attacked.sleeps) == (401, "invalid_api_key", True)
        assert answer.headers["www-authenticate"] == "Bearer"


NONE_SHOWN = ["", "Authorization: Basic c2stZ29vZC1rZXk=\r\n", "Authorization: Bearer\r\n", "X-Api-Key: \r\n"]


@pytest.mark.parametrize("shown", NONE_SHOWN)
@pytest.mark.parametrize("may_read", [True, False])
async def test_no_key_wakes_nobody_even_where_keys_cannot_be_read(shown: str, may_read: bool) -> None:
    async with scene(WITH_KEYS) as attacked:
        attacked.neighbours.hidden = set() if may_read else {KEYS}
        answer = await attacked.asks(headers=shown)
        assert (answer.status, answer.error["code"], attacked.sleeps) == (401, "missing_api_key", True)
        assert attacked.neighbours.asked == []


WAKES_BY_HEALTH = ["GET /health", "GET /*"]


@pytest.mark.parametrize("wake_on", WAKES_BY_HEALTH)
async def test_no_key_wakes_nobody_by_what_takes_none_elsewhere(wake_on: str) -> None:
    waking = {"hold": {"wakeOn": [wake_on]}}
    async with scene(rules(access={"apiKeysSecret": "keys"}, scaling=waking)) as attacked:
        answer = await attacked.asks("GET /health", body=b"")
        assert (answer.status, answer.error["code"], attacked.sleeps) == (401, "missing_api_key", True)
        await holds(attacked, line="GET /health", headers=BEARER)


@pytest.mark.parametrize("shown", [BEARER, f"X-Api-Key: {GOOD.decode()}\r\n", f"Api-Key: {GOOD.decode()}\r\n"])
async def test_a_valid_key_is_held_and_wakes(shown: str) -> None:
    async with scene(WITH_KEYS) as attacked:
        await holds(attacked, headers=shown)


async def test_eight_heads_without_a_key_close_the_model_to_nobody() -> None:
    async with scene(WITH_KEYS, limits=Limits(max_requests=8, max_bytes=64 << 20, timeout=20)) as attacked:
        announced = b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 8388608\r\n\r\n"
        answers = await asyncio.gather(*(attacked.says(announced) for _ in range(16)))
        assert ({answer.status for answer in answers}, attacked.sleeps) == ({401}, True)
        await holds(attacked, headers=BEARER)


async def test_a_key_that_was_rotated_wakes_nobody_and_the_new_one_does() -> None:
    async with scene(WITH_KEYS) as attacked:
        attacked.neighbours.secrets[KEYS] = {"alice": OLD}
        await holds(attacked, headers=f"X-Api-Key: {OLD.decode()}\r\n")
        attacked.activator.ready()
        attacked.neighbours.secrets[KEYS] = {"alice": GOOD}
        attacked.neighbours.clock.now += 11
        assert (await attacked.asks(headers=f"X-Api-Key: {OLD.decode()}\r\n")).status == 401
        await holds(attacked, headers=BEARER)


async def test_where_keys_cannot_be_read_a_request_with_one_waits_for_the_guard() -> None:
    async with scene(WITH_KEYS) as attacked:
        attacked.neighbours.hidden = {KEYS}
        await holds(attacked, headers="X-Api-Key: any-key-at-all\r\n")


async def test_where_keys_cannot_be_read_nothing_is_told_of_the_model() -> None:
    async with scene(WITH_KEYS) as attacked:
        attacked.neighbours.hidden = {KEYS}
        answer = await attacked.asks("GET /v1/models", headers="X-Api-Key: any-key-at-all\r\n")
        assert (answer.status, answer.error["code"], attacked.sleeps) == (503, "keys_unreadable", True)


async def test_where_the_secret_is_missing_nobody_wakes_a_pod_that_could_not_start() -> None:
    async with scene(WITH_KEYS) as attacked:
        attacked.neighbours.secrets.clear()
        answer = await attacked.asks(headers=BEARER)
        assert (answer.status, answer.error["code"], attacked.sleeps) == (503, "keys_missing", True)


async def test_where_the_secret_is_large_it_is_not_read_and_the_guard_of_a_replica_decides() -> None:
    async with scene(WITH_KEYS) as attacked, scripted_engine() as engine:
        attacked.neighbours.secrets[KEYS] = {"alice": GOOD, "book": b"x" * MOST_BYTES}
        answer = await attacked.asks(headers=BEARER)
        assert (answer.status, answer.error["code"], attacked.sleeps) == (503, "keys_unreadable", True)
        assert "larger than 256 KiB" in answer.error["message"]
        attacked.activator.ready(engine)
        assert (await attacked.asks(headers=BEARER)).status == 200


async def test_before_the_api_server_has_told_the_keys_nobody_is_let_in() -> None:
    async with scene(WITH_KEYS) as attacked:
        attacked.neighbours.is_away = True
        answer = await attacked.asks(headers=BEARER)
        assert (answer.status, answer.error["code"], attacked.sleeps) == (503, "keys_unreadable", True)


async def test_who_guesses_keys_learns_nothing_after_some_of_them() -> None:
    async with scene(WITH_KEYS) as attacked:
        for number in range(WRONG_BURST):
            assert (await attacked.asks(headers=f"X-Api-Key: guessed-{number}\r\n")).status == 401
        answer = await attacked.asks(headers=BEARER)
        assert (answer.status, answer.error["code"], attacked.sleeps) == (429, "too_many_wrong_keys", True)
        await holds(attacked, headers=BEARER, address=ELSEWHERE)


async def test_who_guesses_keys_behind_a_gateway_shuts_out_nobody_whose_key_has_been_valid() -> None:
    async with scene(WITH_KEYS) as attacked, scripted_engine() as engine:
        attacked.activator.ready(engine)
        assert (await attacked.asks(headers=BEARER)).status == 200
        for number in range(WRONG_BURST + 1):
            await attacked.asks(headers=f"X-Api-Key: guessed-{number}\r\n")
        assert (await attacked.asks(headers=BEARER)).status == 200


BEHIND_A_PROXY = Options(linger=0.1, clients=Clients((ip_network(f"{HERE}/32"),)))


async def test_who_guesses_keys_behind_a_trusted_proxy_shuts_out_no_other_client_of_it() -> None:
    async with scene(WITH_KEYS, options=BEHIND_A_PROXY) as attacked:
        for number in range(WRONG_BURST + 1):
            guess = f"X-Api-Key: guessed-{number}\r\nX-Forwarded-For: 203.0.113.6\r\n"
            answer = await attacked.asks(headers=guess)
        assert answer.error["code"] == "too_many_wrong_keys"
        await holds(attacked, headers=f"{BEARER}X-Forwarded-For: 198.51.100.7\r\n")


async def test_who_guesses_keys_is_one_client_whatever_it_says_of_its_address() -> None:
    async with scene(WITH_KEYS) as attacked:
        for number in range(WRONG_BURST + 1):
            guess = f"X-Api-Key: guessed-{number}\r\nX-Forwarded-For: 203.0.113.{number}\r\n"
            answer = await attacked.asks(headers=guess)
        assert answer.error["code"] == "too_many_wrong_keys"


async def test_a_wrong_key_takes_no_place_of_a_model_that_is_warm() -> None:
    async with scene(WITH_KEYS) as attacked, scripted_engine() as engine:
        attacked.activator.ready(engine)
        assert (await attacked.asks(headers="X-Api-Key: sk-wrong-key-1234\r\n")).status == 401
        assert engine.asked == []


# --- by looking at it ------------------------------------------------------------------------------------------------

LOOKED_AT = {
    "GET /v1/models": 200,
    "HEAD /v1/models": 200,
    "GET /v1/models?limit=1000": 200,
    "GET /v1/models/llama": 200,
    "GET /v1/models/gpt-4": 404,
    "GET /health": 200,
    "HEAD /health": 200,
    "OPTIONS /v1/chat/completions": 200,
    "OPTIONS /v1/models": 200,
    "OPTIONS /admin": 404,
    "GET /version": 404,
    "GET /": 404,
    "GET /favicon.ico": 404,
    "GET /robots.txt": 404,
    "GET /.env": 404,
    "GET /metrics": 404,
    "GET /v1/realtime": 404,
    "POST /": 404,
    "POST /v1/chat/completions/": 404,
    "POST //v1/chat/completions": 404,
    "POST /v1/chat/../completions": 404,
    "POST /v1/Completions": 404,
    "POST /v1/load_lora_adapter": 404,
    "GET /v1/chat/completions": 404,
    "PUT /v1/chat/completions": 404,
    "DELETE /v1/completions": 404,
    "HEAD /v1/completions": 404,
    "PROPFIND /v1/completions": 404,
    "GET /v1/responses/resp_1": 404,
    "POST /v1/responses/resp_1/cancel": 404,
}


@pytest.mark.parametrize("line", LOOKED_AT)
async def test_nobody_wakes_a_model_by_looking_at_it(line: str) -> None:
    async with scene(rules()) as looked_at:
        answer = await looked_at.asks(line, body=b"")
        assert (answer.status, looked_at.sleeps) == (LOOKED_AT[line], True)


WAKING = (
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/responses",
    "/v1/messages",
    "/v1/embeddings",
    "/v1/rerank",
    "/v2/rerank",
    "/rerank",
    "/v1/score",
    "/score",
    "/classify",
    "/pooling",
    "/v1/audio/transcriptions",
    "/v1/audio/translations",
    "/tokenize",
    "/detokenize",
    "/v1/messages/count_tokens",
    "/v1/chat/completions?beta=true",
    "/v1/chat%2Fcompletions",
)


@pytest.mark.parametrize("path", WAKING)
async def test_what_the_engine_computes_for_wakes_it(path: str) -> None:
    async with scene(rules()) as asked:
        await holds(asked, line=f"POST {path}")


async def test_a_connection_goes_on_after_an_answer_at_zero() -> None:
    async with scene(rules()) as asked:
        reader, writer = await asyncio.open_connection(HERE, await asked.activator.port())
        client = Client(reader, writer)
        for _ in range(2):
            client.say(b"GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n")
            assert (await client.answer()).status == 200
        writer.close()


# --- what a failed start says ----------------------------------------------------------------------------------------

TOLD = "GET https://store/llama?signature=abc failed"
GONE = Cause(Reason.MODEL_NOT_FOUND, TOLD, datetime(2026, 1, 1, tzinfo=UTC), final=True)


async def test_a_pods_own_words_are_told_to_those_with_a_key_alone() -> None:
    async with scene(WITH_KEYS) as failed:
        failed.activator.tell(cause=GONE)
        assert TOLD in (await failed.asks(headers=BEARER)).error["message"]
        failed.neighbours.hidden = {KEYS}
        failed.neighbours.clock.now += 11
        answer = await failed.asks(headers="X-Api-Key: any-key-at-all\r\n")
    assert (answer.status, answer.error["code"]) == (503, "ModelNotFound")
    assert answer.error["message"] == Reason.MODEL_NOT_FOUND.meaning


async def test_health_says_that_it_failed_and_not_why() -> None:
    async with scene(rules()) as failed:
        failed.activator.tell(cause=replace(GONE))
        answer = await failed.asks("GET /health", body=b"")
    assert (answer.status, answer.body) == (503, b'{"slipway":{"state":"Failed"}}')


async def test_the_deployment_of_these_tests_would_be_woken_without_any_rules() -> None:
    async with activated() as activator:
        asked = asyncio.create_task(ask(activator))
        await activator.until_waiting(1)
        assert activator.demand.of(LLAMA).active
        asked.cancel()
