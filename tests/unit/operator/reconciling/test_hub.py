"""Fetching config.json files from a Hub: a real server with TLS, which may answer anything."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from slipway.api.model_key import ModelKey
from slipway.models.sources import known_of
from slipway.operator.reconciling import hub, hub_files, hub_queue
from slipway.operator.reconciling.asking import Answer
from slipway.operator.reconciling.hub import AFTER_A_FAILURE, AGAIN_AFTER, JITTER, LONGEST_PAUSE, Hub
from slipway.operator.reconciling.hub_files import LARGEST
from slipway.operator.reconciling.hub_queue import AT_FIRST, EVERY
from slipway_devcluster.pki import Authority
from support.builders.configs import LLAMA_3_1_8B
from support.waiting import until

KEY, URI, NAME = ModelKey("chat", "legal"), "hf://acme/legal-8b", "acme/legal-8b"
COMMIT = "0e9e39f249a16976918f6564b8830bc894c89659"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Tls:
    """The certificate of a Hub at 127.0.0.1, and the context of a client that trusts it."""

    def __init__(self, folder: Path) -> None:
        authority = Authority("authority")
        authority.own.write(folder, "authority")
        authority.issue("hub", hosts=["127.0.0.1", "localhost"]).write(folder, "hub")
        self.server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.server.load_cert_chain(folder / "hub.crt", folder / "hub.key")
        self.client = ssl.create_default_context(cafile=str(folder / "authority.crt"))


class World:
    """A Hub, what it is asked, and what it answers."""

    def __init__(self, tls: Tls) -> None:
        self.tls = tls
        self.requested: list[str] = []
        self.files: dict[str, Any] = {}  # by their path: JSON, or what handles the request
        self.queued: list[ModelKey] = []
        self.is_queued = asyncio.Event()
        self.now = 0.0
        self.endpoint = ""
        self.hub: Hub

    def put(self, file: Any, *, name: str = NAME, revision: str = "main", path: str = "config.json") -> None:
        self.files[f"/{name}/resolve/{revision}/{path}"] = file

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requested.append(request.raw_path)
        file = self.files.get(request.raw_path)
        if callable(file):
            answer: web.StreamResponse = await file(request)
            return answer
        return web.json_response(file) if file is not None else web.Response(status=404)

    async def ask(self, *, uri: str = URI, revision: str | None = None, name: str = NAME) -> Answer:
        """The answer, once the model has been queued for it."""
        self.is_queued.clear()
        self.hub.want(KEY, uri, revision)
        async with asyncio.timeout(20):
            await self.is_queued.wait()
        return self.hub.answers[name, revision or "main"]

    def queue(self, key: ModelKey) -> None:
        self.queued.append(key)
        if key == KEY:
            self.is_queued.set()


async def started(world: World, *, redirects_to: tuple[str, ...] = (), tls: ssl.SSLContext | None = None) -> Any:
    app = web.Application()
    app.router.add_get("/{path:.*}", world.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=world.tls.server)
    await site.start()
    port = runner.addresses[0][1]
    world.endpoint = f"https://127.0.0.1:{port}"
    world.hub = Hub(
        world.endpoint,
        changed=world.queue,
        redirects_to=[*redirects_to, f"localhost:{port}"],
        tls=tls or world.tls.client,
        clock=lambda: world.now,
        jitter=lambda: 0.0,
    )
    return runner


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    return Tls(tmp_path_factory.mktemp("hub"))


@pytest.fixture
async def world(tls: Tls) -> AsyncIterator[World]:
    made = World(tls)
    runner = await started(made)
    running = asyncio.create_task(made.hub.run())
    yield made
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    await runner.cleanup()


def responds(*, status: int = 200, body: bytes = b"", **headers: str) -> Handler:
    async def handler(_: web.Request) -> web.StreamResponse:
        return web.Response(status=status, body=body, headers=headers)

    return handler


def busy(retry_after: str) -> Handler:
    async def handler(_: web.Request) -> web.StreamResponse:
        return web.Response(status=429, headers={"Retry-After": retry_after})

    return handler


# --- what it reads ---------------------------------------------------------------------------------------------------


async def test_a_config_is_kept_in_the_form_of_an_inspection(world: World) -> None:
    world.put(LLAMA_3_1_8B | {"id2label": {"0": "a"}})
    answer = await world.ask()
    assert answer.facts
    known = known_of(URI, hub=json.loads(answer.facts))
    assert known.model
    assert known.model.weights
    assert known.model.weights.total == 8_030_261_248
    assert known.sources == ("the Hub's config.json",)
    assert "id2label" not in answer.facts
    assert world.queued == [KEY]


async def test_the_revision_is_asked_for(world: World) -> None:
    world.put(LLAMA_3_1_8B, revision="refs%2Fpr%2F1")
    assert (await world.ask(revision="refs/pr/1")).facts


async def test_names_and_revisions_lead_to_no_other_path(world: World) -> None:
    answer = await world.ask(revision="../../api/whoami?a=b#c")
    assert answer.facts is None
    assert world.requested == [f"/{NAME}/resolve/..%2F..%2Fapi%2Fwhoami%3Fa%3Db%23c/config.json"]


@pytest.mark.parametrize("uri", ["s3://bucket/acme/legal-8b", "hf://gpt2", "hf://../api", "hf://a/..", "hf://a/b?c"])
async def test_only_models_of_the_hub_are_asked_for(world: World, uri: str) -> None:
    world.hub.want(KEY, uri, None)
    world.put(LLAMA_3_1_8B)
    await world.ask()
    assert {path.split("/resolve/")[0] for path in world.requested} == {f"/{NAME}"}


async def test_a_quantization_in_a_file_of_its_own_is_read(world: World) -> None:
    world.put(LLAMA_3_1_8B)
    world.put({"quantization": {"quant_algo": "FP8"}}, path="hf_quant_config.json")
    answer = await world.ask()
    assert answer.facts
    assert json.loads(answer.facts)["config"]["quantization_config"] == {"quantization": {"quant_algo": "FP8"}}


async def test_nothing_is_sent_that_identifies_anyone(world: World) -> None:
    sent: list[str] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        sent.extend(request.headers)
        return web.json_response(LLAMA_3_1_8B)

    world.put(handler)
    await world.ask()
    assert {name.lower() for name in sent} == {"host", "accept", "accept-encoding", "user-agent"}


# --- what it doesn't take --------------------------------------------------------------------------------------------

ANSWERS: dict[str, tuple[Any, str]] = {
    "gated": (responds(status=401), "the model is private or gated, and the operator has no credentials: write"),
    "forbidden": (responds(status=403), "the model is private or gated"),
    "absent": (None, "there is no such model, revision or file: correct spec.model.uri or spec.model.revision"),
    "failing": (responds(status=500), "it answers 500"),
    "busy": (responds(status=429), "it answers 429"),
    "not JSON": (responds(body=b"<html>"), "the file isn't a JSON object"),
    "not text": (responds(body=b"\xff\xfe"), "the file isn't a JSON object"),
    "a list": (responds(body=b"[]"), "the file isn't a JSON object"),
    "deep": (responds(body=b'{"a":' * 100_000), "the file isn't a JSON object"),
    "not a number": (responds(body=b'{"a": NaN}'), "the file isn't a JSON object"),
    "large": (responds(body=b" " * (LARGEST + 1)), f"the file has more than {LARGEST} bytes"),
    "much": (responds(body=json.dumps({f"key{n}": n for n in range(9000)}).encode()), "the file has more in it than"),
    "another host": (
        responds(status=302, Location="https://evil.example/config.json"),
        "it redirects to 'evil.example', which planner.hub.redirectsTo doesn't list",
    ),
    "another port": (responds(status=302, Location="https://127.0.0.1:6443/api"), "it redirects to '127.0.0.1:6443'"),
    "another scheme": (responds(status=302, Location="http://127.0.0.1/a"), "it redirects to '127.0.0.1'"),
    "a user": (responds(status=302, Location="https://127.0.0.1@evil.example/"), "it redirects to '127.0.0.1@evil"),
    "nowhere": (responds(status=302, Location="https://["), "Invalid IPv6 URL"),
}


@pytest.mark.parametrize("case", ANSWERS)
async def test_an_answer_without_a_config_is_a_sentence(world: World, case: str) -> None:
    file, sentence = ANSWERS[case]
    world.put(file)
    answer = await world.ask()
    assert answer.facts is None
    assert answer.problem.startswith(f"The config.json of {NAME} can't be read from {world.endpoint}: {sentence}")
    assert answer.problem.endswith(".")
    assert world.queued == [KEY]


async def test_a_host_that_is_listed_is_followed(world: World) -> None:
    port = world.endpoint.rpartition(":")[2]
    world.put(responds(status=307, Location=f"https://localhost:{port}/cdn/1"))
    world.files["/cdn/1"] = LLAMA_3_1_8B
    assert (await world.ask()).facts


async def test_redirects_end(world: World) -> None:
    world.put(responds(status=302, Location=f"/{NAME}/resolve/main/config.json"))
    assert "more than 5 redirects" in (await world.ask()).problem
    assert len(world.requested) == 5


async def test_a_slow_answer_is_given_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def handler(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(60)
        return web.Response()

    monkeypatch.setattr(hub_files, "TIMEOUT", 0.05)
    world.put(handler)
    answer = await world.ask()
    assert answer.problem.endswith("no answer in time: allow the operator to reach it, or turn planner.hub off.")


async def test_a_certificate_of_strangers_is_not_trusted(tls: Tls) -> None:
    made = World(tls)
    runner = await started(made, tls=ssl.create_default_context())
    running = asyncio.create_task(made.hub.run())
    made.put(LLAMA_3_1_8B)
    answer = await made.ask()
    running.cancel()
    await runner.cleanup()
    assert answer.facts is None
    assert "certificate verify failed" in answer.problem
    assert not made.requested


# --- what it remembers -----------------------------------------------------------------------------------------------


async def asked_again(world: World, after: float, *, revision: str | None = None) -> bool:
    """Whether it is, that many seconds later."""
    before, world.now = len(world.requested), world.now + after
    world.hub.want(KEY, URI, revision)
    await world.ask(uri="hf://acme/another", name="acme/another")
    return any(path.startswith(f"/{NAME}/") for path in world.requested[before:])


async def test_a_branch_is_read_again_after_an_hour(world: World) -> None:
    world.put(LLAMA_3_1_8B)
    await world.ask()
    assert not await asked_again(world, AGAIN_AFTER - 1)
    world.put(LLAMA_3_1_8B | {"vocab_size": 7})
    world.now += 2
    assert '"vocab_size":7' in str((await world.ask()).facts)


async def test_a_commit_is_read_once(world: World) -> None:
    world.put(LLAMA_3_1_8B, revision=COMMIT)
    await world.ask(revision=COMMIT)
    assert not await asked_again(world, 100 * AGAIN_AFTER, revision=COMMIT)


async def test_a_failure_is_tried_again_after_some_minutes(world: World) -> None:
    await world.ask()
    assert not await asked_again(world, AFTER_A_FAILURE - 1)
    world.put(LLAMA_3_1_8B)
    world.now += 2
    assert (await world.ask()).facts


@pytest.mark.parametrize("file", [None, responds(status=301, Location="https://moved.example/x"), responds(status=500)])
async def test_each_further_failure_doubles_the_pause_up_to_an_hour(world: World, file: Any) -> None:
    """A model that is absent, or has moved elsewhere, stays so, and its LLMDeployments ask at each resync."""
    world.put(file)
    await world.ask()
    for pause in (AFTER_A_FAILURE, 2 * AFTER_A_FAILURE, 4 * AFTER_A_FAILURE, 8 * AFTER_A_FAILURE, LONGEST_PAUSE):
        kept = world.hub._kept[NAME, "main"]
        assert kept.until - world.now == min(pause, LONGEST_PAUSE)
        world.now = kept.until
        await world.ask()


async def test_an_answer_ends_the_pauses(world: World) -> None:
    for _ in range(2):
        await world.ask()
        world.now += LONGEST_PAUSE
    world.put(LLAMA_3_1_8B)
    await world.ask()
    world.files.clear()
    world.now += AGAIN_AFTER
    await world.ask()
    assert world.hub._kept[NAME, "main"].failures == 1


async def test_pauses_differ_so_that_models_that_failed_together_are_not_tried_together(world: World) -> None:
    world.hub._jitter = lambda: 1.0
    await world.ask()
    assert world.hub._kept[NAME, "main"].until == AFTER_A_FAILURE * (1 + JITTER)


# --- how much it asks ------------------------------------------------------------------------------------------------


async def test_after_a_restart_the_models_of_one_namespace_come_at_a_pace_and_another_namespace_gets_its_turn(
    world: World,
) -> None:
    for number in range(30):
        world.hub.want(ModelKey("many", str(number)), f"hf://many/model-{number}", None)
    world.put(LLAMA_3_1_8B)
    began = time.monotonic()
    await world.ask()
    since = (time.monotonic() - began) / EVERY
    assert len({path.split("/resolve/")[0] for path in world.requested}) <= AT_FIRST + since + 1
    assert sum(path.startswith("/many/") for path in world.requested) < 30


async def test_what_finds_no_place_is_said_and_is_queued_again_when_there_is_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_queue, "MOST_OF_A_NAMESPACE", 1)
    first, second = ModelKey("chat", "first"), ModelKey("chat", "second")
    assert world.hub.want(first, "hf://acme/first", None) == ""

    async def has_come() -> bool:
        return second in world.queued

    refusal = world.hub.want(second, "hf://acme/second", None)
    assert refusal.startswith("The Hub is asked about acme/second later, because too many models wait for its answers:")
    await until(has_come)
    assert world.hub.want(second, "hf://acme/second", None) == ""


async def test_of_those_that_found_no_place_none_is_left_behind_if_another_is_gone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_queue, "MOST_OF_A_NAMESPACE", 1)
    first, gone, takes_none, last = (ModelKey("chat", name) for name in ("first", "gone", "takes-none", "last"))
    for key in (first, gone, takes_none, last):
        world.hub.want(key, f"hf://acme/{key.name}", None)
    world.hub.forget(gone)

    async def has_come() -> bool:
        return last in world.queued

    await until(has_come)
    assert takes_none in world.queued
    assert gone not in world.queued


@pytest.mark.parametrize(("asked_for", "pause"), [("120", 120), ("1", 10), ("99999", 900), ("soon", 10), ("", 10)])
async def test_a_hub_that_is_busy_is_left_alone_for_as_long_as_it_wants(
    world: World, asked_for: str, pause: float
) -> None:
    world.put(busy(asked_for))
    await world.ask()
    world.hub.want(KEY, "hf://acme/another", None)
    assert world.hub._pace.pause(world.now, 0.5) >= pause
    assert len(world.requested) == 1


async def test_models_that_want_the_same_file_share_one_request(world: World) -> None:
    world.put(LLAMA_3_1_8B)
    other = ModelKey("chat", "other")
    world.hub.want(other, URI, None)
    await world.ask()
    assert sorted(world.queued) == [KEY, other]
    assert world.requested == [f"/{NAME}/resolve/main/{file}" for file in ("config.json", "hf_quant_config.json")]


async def test_of_the_namespace_with_the_most_the_oldest_answers_are_forgotten(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise one tenant could have all others' failures forgotten, and asked about again."""
    monkeypatch.setattr(hub, "MOST_KEPT", 3)
    world.hub.want(ModelKey("code", "theirs"), "hf://theirs/a", None)
    for name in ("acme/a", "acme/b", "acme/c"):
        await world.ask(uri=f"hf://{name}", name=name)
    assert {name for name, _ in world.hub.answers} == {"theirs/a", "acme/b", "acme/c"}


async def test_a_large_file_is_read_outside_of_the_loop(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: set[int] = set()

    def noted(text: bytes) -> dict[str, Any]:
        threads.add(threading.get_ident())
        found: dict[str, Any] = json.loads(text)
        return found

    monkeypatch.setattr(hub_files, "_parsed", noted)
    world.put(LLAMA_3_1_8B | {"id2label": {str(each): "label" for each in range(20_000)}, "quantization_config": {}})
    await world.ask()
    assert threads
    assert threading.get_ident() not in threads


async def test_a_bug_is_an_answer_too(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(hub_files, "of_config", fails)
    world.put(LLAMA_3_1_8B)
    assert (await world.ask()).problem == f"The config.json of {NAME} could not be read; please report this bug."
