"""Requests that every engine must answer with the same status and code, as a table, and why engines may differ."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from slipway.activator.proxy import routes
from slipway.activator.shared.hold_limits import HoldLimits
from slipway.activator.shared.replica import Replica
from slipway.activator.shared.request_line import line
from slipway.activator.shared.request_rules import RequestRules
from slipway.activator.tracking.rules_from_spec import rules_of

from support.programs.activator import activated
from support.programs.engine_pod import EnginePod

CHAT, COMPLETIONS, MESSAGES, RESPONSES = "/v1/chat/completions", "/v1/completions", "/v1/messages", "/v1/responses"
JSON: Mapping[str, str] = {"Content-Type": "application/json"}
HI = [{"role": "user", "content": "Hi"}]
CONTEXT = 512
"""Tokens of the model's context, on which the table relies."""
MODEL = "gemma"
ENGINES = LLAMACPP, VLLM = "llamacpp", "vllm"
PAGE = {"Origin": "https://chat.example.com"}
FLAGS = {LLAMACPP: (), VLLM: (f'--allowed-origins=["{PAGE["Origin"]}"]',)}
"""The engine's flags, on which the table relies."""
PREFLIGHT = {"Access-Control-Request-Method": "POST"}


@dataclass(frozen=True)
class Case:
    name: str
    method: str
    path: str
    body: bytes | None
    status: int
    code: str = ""
    """The code of the error; empty for a response without one."""
    headers: Mapping[str, str] = field(default_factory=lambda: JSON)
    differs: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    """What this engine answers instead."""
    why: str = ""
    """Why it may differ."""

    def wanted(self, engine: str) -> tuple[int, str]:
        return self.differs.get(engine, (self.status, self.code))


def post(name: str, path: str, status: int, code: str = "", *, differs: Any = None, why: str = "", **body: Any) -> Case:
    sent = json.dumps({"model": MODEL, **body}).encode()
    return Case(name, "POST", path, sent, status, code, differs=differs or {}, why=why)


def completion(name: str, status: int, code: str = "", *, differs: Any = None, why: str = "", **body: Any) -> Case:
    asked = {"prompt": "Hi", "max_tokens": 2, **body}
    return post(name, COMPLETIONS, status, code, differs=differs, why=why, **asked)


def chat(name: str, status: int, code: str = "", *, differs: Any = None, why: str = "", **body: Any) -> Case:
    return post(name, CHAT, status, code, differs=differs, why=why, **{"messages": HI, "max_tokens": 2, **body})


def raw(name: str, body: bytes, status: int, code: str = "") -> Case:
    return Case(name, "POST", COMPLETIONS, body, status, code)


def typed(name: str, kind: str | None, status: int, code: str = "") -> Case:
    sent = json.dumps({"prompt": "Hi", "max_tokens": 2}).encode()
    return Case(name, "POST", COMPLETIONS, sent, status, code, headers={"Content-Type": kind} if kind else {})


def bare(name: str, method: str, path: str, status: int, code: str = "", **differs: Any) -> Case:
    return Case(name, method, path, None, status, code, headers={}, **differs)


BAD, TOO_LONG = "invalid_request", "context_length_exceeded"
LENIENT = "llama.cpp can answer it, and a client that sends it loses nothing"
SLOTS = "llama.cpp has few slots (2 in these tests), and would prefer the rest of this request to other clients'"
ANY_ROLE = "llama.cpp leaves roles to the chat template; vLLM checks them before"
NO_PAGES = "llama.cpp's server sends no CORS headers, so browsers let no web page call it"

CASES = (
    completion("a completion", 200),
    chat("a chat", 200),
    completion("several prompts", 200, prompt=["Hi", "Ho"]),
    completion("more prompts than slots", 200, prompt=["Hi"] * 3, differs={LLAMACPP: (400, BAD)}, why=SLOTS),
    completion("more answers than slots", 200, n=3, differs={LLAMACPP: (400, BAD)}, why=SLOTS),
    completion(
        "more answers to prompts than slots", 200, prompt=["Hi"] * 2, n=2, differs={LLAMACPP: (400, BAD)}, why=SLOTS
    ),
    completion("a prompt of tokens", 200, prompt=[1, 2, 3]),
    completion("two choices", 200, n=2),
    completion("an unknown member", 200, frobnicate=1),
    completion("no model", 200, model=None),
    completion("an empty model", 200, model=""),
    completion("a model that is no string", 400, BAD, model=5),
    completion("an unknown model", 404, "model_not_found", model="other"),
    chat("an unknown model in a chat", 404, "model_not_found", model="other"),
    raw("an unknown model as escapes", b'{"mod\\u0065l":"other","prompt":"Hi"}', 404, "model_not_found"),
    raw("no JSON", b"Hi", 400, BAD),
    raw("half of JSON", b'{"model": "x', 400, BAD),
    raw("an empty body", b"", 400, BAD),
    raw("an array", b"[]", 400, BAD),
    raw("JSON in UTF-16", json.dumps({"prompt": "Hi"}).encode("utf-16"), 400, BAD),
    raw("bytes that are no UTF-8", b'{"prompt":"\xff\xfe"}', 400, BAD),
    raw("half of a surrogate pair", b'{"prompt":"\\ud800","max_tokens":1}', 400, BAD),
    raw("NaN as a number", b'{"prompt":"Hi","max_tokens":1,"temperature":NaN}', 400, BAD),
    raw("nested deeply", b'{"prompt":"Hi","x":' + b"[" * 3000 + b"]" * 3000 + b"}", 400, BAD),
    raw("a byte order mark", b'\xef\xbb\xbf{"prompt":"Hi","max_tokens":1}', 200),
    typed("no content type", None, 415, "unsupported_media_type"),
    typed("another content type", "text/plain", 415, "unsupported_media_type"),
    typed("a content type with a charset", "application/json; charset=utf-8", 200),
    Case("no prompt", "POST", COMPLETIONS, b"{}", 400, BAD),
    completion("a prompt that is a number", 400, BAD, prompt=5),
    completion("an unknown token", 400, BAD, prompt=[99_999_999]),
    completion("an empty prompt", 400, BAD, prompt="", differs={LLAMACPP: (200, "")}, why=LENIENT),
    completion("a prompt that is too long", 400, TOO_LONG, prompt="word " * 3000),
    chat("a chat that is too long", 400, TOO_LONG, messages=[{"role": "user", "content": "word " * 3000}]),
    completion(
        "more tokens than the context has",
        400,
        TOO_LONG,
        max_tokens=10**8,
        stop=["a"],
        differs={LLAMACPP: (200, "")},
        why=LENIENT,
    ),
    completion("max_tokens of zero", 400, BAD, max_tokens=0),
    completion("negative max_tokens", 400, BAD, max_tokens=-1),
    completion("max_tokens that is a string", 400, BAD, max_tokens="two"),
    completion("n of zero", 400, BAD, n=0),
    completion("too many choices", 400, BAD, n=100_000),
    completion("a temperature above the maximum", 400, BAD, temperature=99),
    completion("a negative temperature", 400, BAD, temperature=-1),
    completion("a temperature that is a string", 400, BAD, temperature="hot"),
    completion("top_p above 1", 400, BAD, top_p=2),
    completion("stream that is a string", 400, BAD, stream="yes please"),
    completion("many log probabilities", 400, BAD, logprobs=999),
    completion("many probabilities by llama.cpp's name", 400, BAD, n_probs=999),
    chat("many log probabilities in a chat", 400, BAD, logprobs=True, top_logprobs=999),
    chat("log probabilities in a chat", 200, logprobs=True, top_logprobs=2),
    completion("a presence penalty above the maximum", 400, BAD, presence_penalty=5),
    completion("a frequency penalty below the minimum", 400, BAD, frequency_penalty=-7),
    completion("a repetition penalty of zero", 400, BAD, repetition_penalty=0),
    completion("negative top_k", 400, BAD, top_k=-5),
    completion("top_k of -1, which is all tokens", 200, top_k=-1),
    completion("min_p above 1", 400, BAD, min_p=3),
    post("no messages", CHAT, 400, BAD),
    chat("messages that are a string", 400, BAD, messages="Hi"),
    chat("a message without a role", 400, BAD, messages=[{"content": "Hi"}]),
    chat("a message that is a number", 400, BAD, messages=[{"role": "user", "content": 5}]),
    chat("tools that are a string", 400, BAD, tools="f"),
    chat("an unknown format", 400, BAD, response_format={"type": "nope"}),
    chat(
        "an image for a text model",
        400,
        BAD,
        messages=[
            {
                "role": "user",
                "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}],
            }
        ],
    ),
    chat(
        "tools for a model whose chat template has none",
        400,
        "tools_not_supported",
        tools=[{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
    ),
    post("a message", MESSAGES, 200, messages=HI, max_tokens=2),
    post("two messages", MESSAGES, 400, BAD, messages=HI, max_tokens=2, n=2),
    post("two responses", RESPONSES, 400, BAD, input="Hi", max_output_tokens=16, n=2),
    post("a response", RESPONSES, 200, input="Hi", max_output_tokens=16),
    post("after an unknown response", RESPONSES, 404, "not_found", input="Hi", previous_response_id="resp_x"),
    bare("an unknown response", "GET", f"{RESPONSES}/resp_x", 404, "not_found"),
    bare("cancelling an unknown response", "POST", f"{RESPONSES}/resp_x/cancel", 404, "not_found"),
    post("embeddings of a generative model", "/v1/embeddings", 404, "wrong_task", input="Hi"),
    post("reranking by a generative model", "/rerank", 404, "wrong_task", query="Hi", documents=["a"]),
    bare("the models", "GET", "/v1/models", 200),
    bare("the model", "GET", f"/v1/models/{MODEL}", 200),
    bare("another model", "GET", "/v1/models/gpt-4", 404, "model_not_found"),
    bare("HEAD of the models", "HEAD", "/v1/models", 200),
    bare("health", "GET", "/health", 200),
    bare("HEAD of health", "HEAD", "/health", 200),
    bare("GET instead of POST", "GET", COMPLETIONS, 404, "unknown_url"),
    Case("PUT instead of POST", "PUT", COMPLETIONS, b"{}", 404, "unknown_url"),
    Case("an unknown path", "POST", "/v1/nope", b"{}", 404, "unknown_url"),
    bare("OPTIONS without a preflight", "OPTIONS", COMPLETIONS, 405, "method_not_allowed"),
    Case("a preflight without an origin", "OPTIONS", COMPLETIONS, None, 405, "method_not_allowed", headers=PREFLIGHT),
    Case(
        "a preflight of a web page that is allowed",
        "OPTIONS",
        COMPLETIONS,
        None,
        200,
        headers={**PAGE, **PREFLIGHT},
        differs={LLAMACPP: (405, "method_not_allowed")},
        why=NO_PAGES,
    ),
    Case(
        "a preflight of another web page",
        "OPTIONS",
        COMPLETIONS,
        None,
        405,
        "method_not_allowed",
        headers={"Origin": "https://evil.example.com", **PREFLIGHT},
    ),
    Case("a body in a GET", "GET", "/v1/models", b"{}", 413, "request_too_large", headers={}),
    Case("a body in a health check", "GET", "/health", b"{}", 413, "request_too_large", headers={}),
    Case("a preflight with a body", "OPTIONS", CHAT, b"{}", 413, "request_too_large", headers={**PAGE, **PREFLIGHT}),
)


async def answered(http: aiohttp.ClientSession, url: str, case: Case) -> tuple[int, str]:
    """Returns the status, and the error's code if the error has the common form; else the body."""
    headers = {"Accept": "*/*", **case.headers}
    async with http.request(
        case.method, url + case.path, data=case.body, headers=headers, skip_auto_headers=("Content-Type",)
    ) as answer:
        body = await answer.read()
        if answer.status < 400 or case.method == "HEAD":
            return answer.status, ""
        try:
            error = json.loads(body)["error"]
            formal = sorted(error) == ["code", "message", "param", "type"] and error["message"] and error["type"]
            return answer.status, error["code"] if formal else f"no form: {body!r}"
        except (ValueError, KeyError, TypeError):
            return answer.status, f"no form: {body!r}"


async def differences(
    http: aiohttp.ClientSession, url: str, engine: str, cases: Sequence[Case] = CASES, *, together: bool = False
) -> list[str]:
    """Returns the responses that differ from the table, with the requests sent one after the other, or all together."""
    at_a_time = asyncio.Semaphore(len(cases) if together else 1)

    async def asked(case: Case) -> tuple[int, str]:
        async with at_a_time:
            return await answered(http, url, case)

    answers = await asyncio.gather(*map(asked, cases))
    return [
        f"{case.name}: {said} instead of {case.wanted(engine)}"
        for case, said in zip(cases, answers, strict=True)
        if said != case.wanted(engine)
    ]


# --- in all ways -----------------------------------------------------------------------------------------------------


def rules(engine: str) -> RequestRules:
    """Returns the rules of a model to which the table can be sent."""
    spec = {
        "model": {"uri": "pvc://models/gemma", "servedName": MODEL},
        "engine": {"name": engine, "extraArgs": list(FLAGS[engine])},
    }
    return rules_of({"metadata": {"namespace": "chat", "name": MODEL}, "spec": spec})


def wake(engine: str, do: bool) -> list[Case]:
    """Returns the cases that wake the model, or those that don't."""
    return [case for case in CASES if routes.wakes(rules(engine), line(case.method, case.path)) is do]


async def differences_in_all_ways(pod: EnginePod, engine: str) -> dict[str, list[str]]:
    """Sends the table to a starting pod: held until it is ready, through the activator, and directly."""
    limits = HoldLimits(timeout=1800)
    async with activated(rules=rules(engine), limits=limits) as activator, _patient() as http:
        url = f"http://127.0.0.1:{await activator.port()}"
        waking = wake(engine, True)
        held = asyncio.create_task(differences(http, url, engine, waking, together=True))
        await activator.until_waiting(len(waking))
        at_zero = await differences(http, url, engine, wake(engine, False))
        await pod.until_ready()
        assert activator.wanted.waiting == len(waking)
        activator.update(replicas=(Replica("127.0.0.1", pod.engine_port, 100),))
        return {
            "at zero": at_zero,
            "held": await held,
            "warm": await differences(http, url, engine),
            "directly": await differences(http, pod.url, engine),
        }


def _patient() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=None, sock_read=1800)
    )
