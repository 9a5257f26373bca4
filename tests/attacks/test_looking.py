"""Requests that need no inference don't wake a sleeping model, and show no more of a failed one than is allowed."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import aiohttp
import pytest
from slipway.activator.shared.hold_limits import HoldLimits
from slipway.api.reasons import Reason
from slipway.observing.cause import Cause
from support.fakes.scripted_engine import saying, scripted_engine
from support.programs import api_conformance
from support.programs.activator import LLAMA, Client, activated, ask
from support.programs.protected_model import BEARER, HERE, KEYS, WITH_KEYS, holds, protected_model, rules

WITHOUT_INFERENCE = {
    "GET /v1/models": 200,
    "HEAD /v1/models": 200,
    "GET /v1/models?limit=1000": 200,
    "GET /v1/models/llama": 200,
    "GET /v1/models/gpt-4": 404,
    "GET /health": 200,
    "HEAD /health": 200,
    "OPTIONS /v1/chat/completions": 405,
    "OPTIONS /v1/models": 405,
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


@pytest.mark.parametrize("line", WITHOUT_INFERENCE)
async def test_a_request_without_inference_does_not_wake_the_model(line: str) -> None:
    async with protected_model(rules()) as attacked:
        answer = await attacked.request(line, body=b"")
        assert (answer.status, attacked.is_asleep) == (WITHOUT_INFERENCE[line], True)


@pytest.mark.parametrize("engine", api_conformance.ENGINES)
async def test_a_request_without_inference_gets_the_response_of_a_replica(engine: str) -> None:
    async with protected_model(api_conformance.rules(engine)) as attacked, aiohttp.ClientSession() as http:
        url = f"http://{HERE}:{await attacked.activator.port()}"
        assert await api_conformance.differences(http, url, engine, api_conformance.wake(engine, False)) == []
        assert attacked.is_asleep


async def test_a_cors_preflight_request_does_not_wake_the_model() -> None:
    page = "Origin: https://chat.example.com\r\nAccess-Control-Request-Method: POST\r\n"
    engine = {"extraArgs": ['--allowed-origins=["https://chat.example.com"]']}
    async with protected_model(rules(engine=engine)) as attacked:
        answer = await attacked.request("OPTIONS /v1/chat/completions", headers=page, body=b"")
        assert (answer.status, attacked.is_asleep) == (200, True)


@pytest.mark.parametrize("headers", ["", "Expect: 100-continue\r\n"])
async def test_an_unexpected_body_is_refused_and_does_not_wake_the_model(headers: str) -> None:
    async with protected_model(rules()) as attacked:
        answer = await attacked.request("GET /v1/models", headers=headers, body=b"{}")
        assert (answer.status, answer.error["code"], attacked.is_asleep) == (413, "request_too_large", True)
        assert answer.headers.get("connection") == (
            "close" if headers else None
        )  # such a client waits before it sends the body


ONLY_A_REPLICA_KNOWS = ("GET /v1/responses/resp_1", "POST /v1/responses/resp_1/cancel")


@pytest.mark.parametrize("line", WITHOUT_INFERENCE)
async def test_requests_without_inference_at_busy_replicas_take_no_slot_and_are_not_demand(line: str) -> None:
    async with (
        scripted_engine(saying(b"")) as busy,
        protected_model(rules(), limits=HoldLimits(max_requests=1)) as attacked,
    ):
        attacked.activator.ready(busy, at_a_time=1)
        served = asyncio.create_task(attacked.request())
        await busy.until_requests()
        waiting = asyncio.create_task(attacked.request())
        await attacked.activator.until_waiting(1)
        before = attacked.activator.wanted
        status = 429 if line in ONLY_A_REPLICA_KNOWS else WITHOUT_INFERENCE[line]
        assert (await attacked.request(line, body=b"")).status == status
        assert attacked.activator.wanted == before
        assert len(busy.requests) == 1
        for each in (served, waiting):
            each.cancel()


async def test_a_model_with_busy_replicas_reports_that_it_serves() -> None:
    async with scripted_engine(saying(b"")) as busy, protected_model(rules()) as attacked:
        attacked.activator.ready(busy, at_a_time=1)
        served = asyncio.create_task(attacked.request())
        await busy.until_requests()
        assert b'"state":"Serving"' in (await attacked.request("GET /health", body=b"")).body
        served.cancel()


@pytest.mark.parametrize("line", ["GET /v1/models", "GET /health", "GET /favicon.ico", "OPTIONS /v1/completions"])
async def test_a_request_without_inference_does_not_wake_a_model_whose_replica_has_just_gone(line: str) -> None:
    async with scripted_engine() as gone:
        pass
    async with protected_model(rules()) as attacked:
        attacked.activator.ready(gone)
        assert (await attacked.request(line, body=b"")).status == WITHOUT_INFERENCE.get(line, 405)
        attacked.activator.ready()
        assert attacked.is_asleep


async def test_a_request_without_inference_lost_with_its_replica_is_not_demand() -> None:
    async with scripted_engine(saying(b"")) as silent, protected_model(rules()) as attacked:
        attacked.activator.ready(silent)
        request = asyncio.create_task(attacked.request("GET /v1/models"))
        await silent.until_requests()
        attacked.activator.ready()
        assert attacked.is_asleep
        request.cancel()


async def test_responses_for_a_busy_replica_are_not_sent_for_a_key_that_only_a_replica_could_check() -> None:
    async with scripted_engine(saying(b"")) as busy, protected_model(WITH_KEYS) as attacked:
        attacked.activator.ready(busy, at_a_time=1)
        served = asyncio.create_task(attacked.request(headers=BEARER))
        await busy.until_requests()
        attacked.activator.update(rules=rules(access={"apiKeysSecret": "others"}))
        answer = await attacked.request("GET /v1/models", headers=BEARER, body=b"")
        assert (answer.status, answer.error["code"]) == (503, "keys_unreadable")
        served.cancel()


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
async def test_a_request_that_the_engine_must_compute_wakes_the_model(path: str) -> None:
    async with protected_model(rules()) as attacked:
        await holds(attacked, line=f"POST {path}")


async def test_a_connection_stays_usable_after_a_response_at_zero() -> None:
    async with protected_model(rules()) as attacked:
        reader, writer = await asyncio.open_connection(HERE, await attacked.activator.port())
        client = Client(reader, writer)
        for _ in range(2):
            client.send(b"GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n")
            assert (await client.answer()).status == 200
        writer.close()


# --- messages of a failed start --------------------------------------------------------------------------------------

POD_MESSAGE = "GET https://store/llama?signature=abc failed"
FAILED = Cause(Reason.MODEL_NOT_FOUND, POD_MESSAGE, datetime(2026, 1, 1, tzinfo=UTC), final=True)


async def test_a_pods_own_messages_are_sent_only_to_clients_with_a_key() -> None:
    async with protected_model(WITH_KEYS) as failed:
        failed.activator.update(cause=FAILED)
        assert POD_MESSAGE in (await failed.request(headers=BEARER)).error["message"]
        failed.neighbours.hidden = {KEYS}
        failed.neighbours.clock.now += 11
        answer = await failed.request(headers="X-Api-Key: any-key-at-all\r\n")
    assert (answer.status, answer.error["code"]) == (503, "ModelNotFound")
    assert answer.error["message"] == Reason.MODEL_NOT_FOUND.meaning


async def test_health_reports_a_failed_start_without_its_cause() -> None:
    async with protected_model(rules()) as failed:
        failed.activator.update(cause=replace(FAILED))
        answer = await failed.request("GET /health", body=b"")
    assert (answer.status, answer.body) == (503, b'{"slipway":{"state":"Failed"}}')


async def test_the_deployment_of_these_tests_would_be_woken_without_any_rules() -> None:
    async with activated() as activator:
        request = asyncio.create_task(ask(activator))
        await activator.until_waiting(1)
        assert activator.demand.of(LLAMA).active
        request.cancel()
