"""Requests that are refused, by the code of the error: what to send, to which model, and what the runbook remedies."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from support.builders.llmdeployments import at_zero, merged, on_own_engine, own_runtime
from support.builders.objects import Object, manifest, python
from support.faults.runbook_faults import tiny
from support.faults.scripted_models import READINESS, answering
from support.repository import ROOT

SECRET = "api-keys"  # noqa: S105 - the name of an object
KEYS = {"alice": "alices-first-key", "bob": "bobs-first-key", "carol": "carols-first-key", "dave": "daves-first-key"}
FEW: Object = {"access": {"apiKeysSecret": SECRET, "rateLimit": {"requestsPerMinute": 60, "tokensPerMinute": 400}}}
COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"
WITH_TOOL: Object = {
    "messages": [{"role": "user", "content": "one"}],
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
}
PROMPT: Object = {"prompt": "one two three", "max_tokens": 4}
TOO_LARGE_TO_KEEP, TOO_LARGE = 9 << 20, 65 << 20
"""Bytes of a body that the activator doesn't keep for another try, and of one that it doesn't accept."""

BREAKS = """
import http.server, os, sys
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        print("RuntimeError: CUDA error: an illegal memory access was encountered", file=sys.stderr, flush=True)
        os._exit(1)
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer(("", 8080), Answer).serve_forever()
"""


class Client:
    """Sends requests to one model as a process on the node. Those in `waiting` wait for their answers until its end."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session, self._url = session, url
        self.waiting: set[asyncio.Task[tuple[int, str]]] = set()

    async def send(
        self,
        path: str = COMPLETIONS,
        body: Object | bytes | None = None,
        *,
        method: str = "POST",
        key: str = "",
        **more: Any,
    ) -> tuple[int, str]:
        """Returns the status, and the code of an error."""
        headers = {"Content-Type": "application/json", **more.pop("headers", {})}
        if key:
            headers["X-Api-Key"] = key
        encoded = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        data = encoded and io.BytesIO(encoded)
        async with self._session.request(method, self._url + path, data=data, headers=headers, **more) as answer:
            text = await answer.text()
            return answer.status, "" if answer.status == 200 else str(json.loads(text)["error"]["code"])

    def send_and_wait(self, *arguments: Any, **more: Any) -> asyncio.Task[tuple[int, str]]:
        request = asyncio.create_task(self.send(*arguments, **more))
        self.waiting.add(request)
        return request

    async def ended(self) -> None:
        """Cancels the requests that still wait."""
        for each in self.waiting:
            each.cancel()
        await asyncio.gather(*self.waiting, return_exceptions=True)

    async def many(self, number: int, *arguments: Any, **more: Any) -> list[tuple[int, str]]:
        return list(await asyncio.gather(*(self.send(*arguments, **more) for _ in range(number))))


Ask = Callable[[Client], Awaitable[tuple[int, str]]]
Models = Callable[[str], Sequence[Object]]
"""The objects of a model and what it needs, given an image with Python."""


@dataclass(frozen=True)
class Refusal:
    """`ask` sends requests until one is refused, and returns how. `model`: "limited", "busy", or the objects of a model
    of its own, which gets into `state`; `parts` are those of the page that are walked; `afterwards`: what the same
    request gets then."""

    page: str
    words: str
    ask: Ask
    status: int
    model: str | Models = "limited"
    parts: Sequence[tuple[str, ...]] = (("Diagnosis",),)
    afterwards: tuple[int, str] | None = None
    values: Mapping[str, str] = field(default_factory=dict)
    state: str = "Idle"


def sent(*arguments: Any, **more: Any) -> Ask:
    return lambda client: client.send(*arguments, **more)


def last_of(number: int, code: str, *arguments: Any, **more: Any) -> Ask:
    """Sends this many at the same time, or one after the other, and returns the refusal among them."""

    async def ask(client: Client) -> tuple[int, str]:
        found = await client.many(number, *arguments, **more)
        return next((each for each in found if each[1] == code), found[-1])

    return ask


def last_of_all(number: int, code: str, *arguments: Any, **more: Any) -> Ask:
    """The same, of each key as many."""

    async def ask(client: Client) -> tuple[int, str]:
        each = (client.many(number // len(KEYS), *arguments, key=key, **more) for key in KEYS.values())
        found = [answer for answers in await asyncio.gather(*each) for answer in answers]
        return next((answer for answer in found if answer[1] == code), found[-1])

    return ask


def while_others_wait(number: int, *arguments: Any, **more: Any) -> Ask:
    """Sends this many, which wait until the end of the client, and then the one that counts."""

    async def ask(client: Client) -> tuple[int, str]:
        if not client.waiting:
            for _ in range(number):
                client.send_and_wait(*arguments, **more)
            await asyncio.sleep(1)  # they must arrive first
        return await client.send(*arguments, **more)

    return ask


# --- models ----------------------------------------------------------------------------------------------------------


def limited() -> Object:
    return tiny(**FEW)


def busy() -> Object:
    """Without limits of its own: 64 requests in flight, of which one key may have 48."""
    return merged(tiny(access={"apiKeysSecret": SECRET}), {"metadata": {"name": "busy"}})


def asleep(**spec: Any) -> Models:
    """A model at zero, of which no request wakes a real replica within the test."""
    return lambda _: [at_zero(**spec)]


def asleep_and_real(**spec: Any) -> Models:
    return lambda _: [tiny(**merged({"scaling": {"minReplicas": 0}}, spec))]


def asleep_and_slow(starts_for: float, **spec: Any) -> Models:
    """A model at zero whose engine answers after this time."""
    return lambda image: [answering(image, starts_for=starts_for), on_own_engine(replicas=0, **spec)]


def asleep_and_breaks(image: str) -> Sequence[Object]:
    """A model at zero whose engine crashes on each request."""
    runtime = own_runtime(
        image=image,
        command=python(BREAKS),
        readinessProbe=READINESS,
        ports=[{"containerPort": 8080}],
        terminationMessagePolicy="FallbackToLogsOnError",
    )
    return [runtime, on_own_engine(replicas=0)]


def with_right_to_read(secret: str) -> Sequence[Object]:
    """The activator may read this one Secret."""
    rule = {"apiGroups": [""], "resources": ["secrets"], "resourceNames": [secret], "verbs": ["get"]}
    subject = {"kind": "ServiceAccount", "name": "slipway-activator", "namespace": "slipway-system"}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reads-keys"}
    return [
        manifest("rbac.authorization.k8s.io/v1", "Role", "reads-keys", rules=[rule]),
        manifest("rbac.authorization.k8s.io/v1", "RoleBinding", "reads-keys", roleRef=role, subjects=[subject]),
    ]


# --- the table -------------------------------------------------------------------------------------------------------

ALICE = KEYS["alice"]
BOTH: Sequence[tuple[str, ...]] = (("Diagnosis",), ("Mitigation",))

REFUSALS = (
    # --- by a replica
    Refusal("missing_api_key", "A request without a key.", sent(COMPLETIONS, PROMPT), 401),
    Refusal("invalid_api_key", "A request with another key.", sent(COMPLETIONS, PROMPT, key="no-such-key"), 401),
    Refusal("unknown_url", "`GET /metrics` at the model's Service.", sent("/metrics", method="GET", key=ALICE), 404),
    Refusal(
        "model_not_found",
        "A request for the model `gpt-4`.",
        sent(COMPLETIONS, {**PROMPT, "model": "gpt-4"}, key=ALICE),
        404,
    ),
    Refusal("not_found", "A response that isn't stored.", sent("/v1/responses/resp_1", method="GET", key=ALICE), 404),
    Refusal("method_not_allowed", "A browser's preflight request.", sent(COMPLETIONS, method="OPTIONS"), 405),
    Refusal(
        "invalid_request",
        "A temperature of 99.",
        sent(COMPLETIONS, {**PROMPT, "temperature": 99}, key=ALICE),
        400,
    ),
    Refusal(
        "context_length_exceeded",
        "A prompt of 900 words for a context of 256 tokens.",
        sent(COMPLETIONS, {**PROMPT, "prompt": "one " * 900}, key=ALICE),
        400,
    ),
    Refusal(
        "tools_not_supported",
        "A chat with a tool, for a model without a chat template.",
        sent(CHAT, WITH_TOOL, key=ALICE),
        400,
    ),
    Refusal(
        "unsupported_media_type",
        "A form instead of JSON.",
        sent(COMPLETIONS, b"prompt=one", key=ALICE, headers={"Content-Type": "application/x-www-form-urlencoded"}),
        415,
    ),
    Refusal("request_too_large", "A `GET` with a body.", sent("/v1/models", b"{}", method="GET", key=ALICE), 413),
    Refusal(
        "token_limit_exceeded",
        "40 requests of one key with 100 tokens each.",
        last_of(40, "token_limit_exceeded", COMPLETIONS, {**PROMPT, "max_tokens": 100}, key=KEYS["dave"]),
        429,
    ),
    Refusal(
        "too_many_wrong_keys",
        "30 requests with wrong keys from one address.",
        last_of(30, "too_many_wrong_keys", COMPLETIONS, PROMPT, key="no-such-key"),
        429,
        "busy",
    ),
    Refusal(
        "too_many_in_flight",
        "150 requests of one key at the same time.",
        last_of(150, "too_many_in_flight", COMPLETIONS, {**PROMPT, "max_tokens": 200}, key=ALICE),
        429,
        "busy",
    ),
    Refusal(
        "overloaded",
        "200 requests of four keys at the same time.",
        last_of_all(200, "overloaded", COMPLETIONS, {**PROMPT, "max_tokens": 200}),
        503,
        "busy",
    ),
    # --- by a replica of its own
    Refusal(
        "rate_limit_exceeded",
        "90 requests of one key at the same time.",
        last_of(90, "rate_limit_exceeded", COMPLETIONS, {**PROMPT, "max_tokens": 1}, key=ALICE),
        429,
        lambda _: [tiny(access={"apiKeysSecret": SECRET, "rateLimit": {"requestsPerMinute": 60}})],
        BOTH,
        values={"REQUESTS": "6000"},
        state="Serving",
    ),
    # --- by the activator
    Refusal(
        "model_asleep",
        "`POST /v1/embeddings`, which `hold.wakeOn` doesn't list.",
        sent("/v1/embeddings", {"input": "one"}),
        503,
        asleep_and_real(scaling={"hold": {"wakeOn": [f"POST {CHAT}"]}}),
        BOTH,
    ),
    Refusal(
        "not_allowed_from_here",
        "A request from the node, and `access.allowFrom` selects pods with the label `app=web`.",
        sent("/v1/models", method="GET"),
        403,
        asleep(access={"allowFrom": [{"podSelector": {"matchLabels": {"app": "web"}}}]}),
        BOTH,
        (200, ""),
    ),
    Refusal(
        "keys_missing",
        "`access.apiKeysSecret` names a Secret that doesn't exist.",
        sent(COMPLETIONS, PROMPT, key=ALICE),
        503,
        lambda _: [*with_right_to_read("absent"), at_zero(access={"apiKeysSecret": "absent"})],
        BOTH,
        (401, "invalid_api_key"),
        {"SECRET": "absent"},
    ),
    Refusal(
        "keys_unreadable",
        "`GET /v1/models` of a model at zero whose Secret the activator has no right to read.",
        sent("/v1/models", method="GET", key=ALICE),
        503,
        asleep(access={"apiKeysSecret": SECRET}),
        BOTH,
        (200, ""),
    ),
    Refusal(
        "RequestInvalid",
        "A request with a URL of 9,000 characters.",
        sent(f"{COMPLETIONS}?{'x' * 9000}", PROMPT),
        414,
        asleep(),
    ),
    Refusal(
        "RequestTooLarge",
        "A body of 65 MiB.",
        sent(COMPLETIONS, bytes(TOO_LARGE), expect100=True),
        413,
        asleep_and_real(),
        BOTH,
    ),
    Refusal(
        "HoldTimeout",
        "A request to an engine that needs 60 s to start, and `hold.timeout` of 3 s.",
        sent(COMPLETIONS, PROMPT),
        504,
        asleep_and_slow(60, scaling={"hold": {"timeout": "3s"}}),
        BOTH,
        (200, ""),
        {"TIMEOUT": "5m"},
    ),
    Refusal(
        "HoldFull",
        "Requests to an engine that needs 60 s to start, and `hold.maxRequests` of 1.",
        while_others_wait(12, COMPLETIONS, PROMPT),
        429,
        asleep_and_slow(60, scaling={"hold": {"maxRequests": 1}}),
        BOTH,
        (200, ""),
        {"REQUESTS": "64"},
    ),
    Refusal(
        "ReplicaLost",
        "An engine that crashes when it has read a request of 9 MiB.",
        sent(COMPLETIONS, {"prompt": "x" * TOO_LARGE_TO_KEEP}),
        502,
        asleep_and_breaks,
    ),
)

NEWER_FIELD = "denyFrom"
ACCESS_SCHEMA = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/access/properties"
RULES_UNREADABLE = Refusal(
    "rules_unreadable",
    "A CRD of a newer version, and a spec with a field that only that version has.",
    sent("/v1/models", method="GET"),
    503,
    "changed by the test",
    BOTH,
    (200, ""),
    {"VERSION": (ROOT / "VERSION").read_text().strip()},
)
