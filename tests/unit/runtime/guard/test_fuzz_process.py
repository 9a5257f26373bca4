"""Random bytes to the process in front of llama.cpp: nothing gets past the guard.

The process never fails, never passes on a request without a key, and in the end nothing is in flight. What was sent can
be sent again: each failure names its seed, and `--seed N` starts with it.
"""

from __future__ import annotations

import json
import random
import re
import socket
import struct
import time
from collections.abc import Iterator

import pytest
from slipway_runtime.guard.routes import SERVED
from support.programs.guard import KEY, keys_in
from support.programs.guard_process import GuardedProcess, guarded_process

LONG_RUN_FACTOR = 30  # times as long with `make chaos`
TOO_LONG = 70_000  # bytes of a head
MALFORMED = (
    b"\x00",
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b" ",
    b":",
    b"%0d%0a",
    b"\xff\xfe",
    b"0\r\n\r\n",
    b"ffffffffffffffff\r\n",
)
STATUSES = {b"100", b"200", b"400", b"401", b"404", b"405", b"408", b"413", b"415", b"429", b"431", b"502", b"503"}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedProcess]:
    folder = tmp_path_factory.mktemp("guarded")
    settings = {"keys": keys_in(folder, alice=KEY), "max_body_bytes": 2000, "max_in_flight": 8, "access_log": False}
    with guarded_process(folder, json.dumps({**settings, "tokens_per_minute_per_key": 10**9})) as process:
        yield process


def test_the_guard_holds_against_random_bytes(guarded: GuardedProcess, pytestconfig: pytest.Config) -> None:
    send_random_requests(
        guarded, seconds=pytestconfig.getoption("--fuzz-seconds"), seed=pytestconfig.getoption("--seed")
    )


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_guard_holds_against_random_bytes_for_long(guarded: GuardedProcess, pytestconfig: pytest.Config) -> None:
    seconds = LONG_RUN_FACTOR * pytestconfig.getoption("--fuzz-seconds")
    send_random_requests(guarded, seconds=seconds, seed=pytestconfig.getoption("--seed"))


def send_random_requests(guarded: GuardedProcess, *, seconds: float, seed: int) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        send_random_request(guarded, seed)
        seed += 1


def send_random_request(guarded: GuardedProcess, seed: int) -> None:
    chance = random.Random(seed)
    sent = requests(chance)
    before = guarded.asked()
    answer = exchange(guarded.port, sent, chance)
    context = f"seed {seed}: {sent[:3000]!r} -> {answer[:1000]!r}"
    assert guarded.process.poll() is None, context
    if KEY.encode() not in sent:
        assert guarded.asked() == before, context
    assert statuses_in(answer) <= STATUSES, context
    until_nothing_is_in_flight(guarded, context)
    assert "Traceback" not in guarded.log.read_text(), context


def until_nothing_is_in_flight(guarded: GuardedProcess, context: str) -> None:
    until = time.monotonic() + 30
    while (counts := guarded.control.counts()).in_flight or counts.waiting:
        assert time.monotonic() < until, context
        time.sleep(0.001)


def statuses_in(answer: bytes) -> set[bytes]:
    """Of all responses on the connection. A body may name the requested path, and with it a version, but no status."""
    return set(re.findall(rb"HTTP/1\.1 (\d{3}) ", answer))


def exchange(port: int, sent: bytes, chance: random.Random) -> bytes:
    """Sends it in pieces; then reads everything, a part, or nothing."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        end = chance.choice(("read", "read", "read", "half-close", "leave", "reset"))
        try:
            while sent:
                size = chance.choice((len(sent), len(sent), chance.randrange(1, 200)))
                connection.sendall(sent[:size])
                sent = sent[size:]
            if end == "reset":
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if end == "half-close":
                connection.shutdown(socket.SHUT_WR)
            connection.settimeout(0.02 if end in ("read", "half-close") else 0.001)
            while piece := connection.recv(65536):
                answer += piece
        except OSError:  # it was closed before everything was sent, or stays open
            pass
    return answer


# --- requests --------------------------------------------------------------------------------------------------------


def requests(chance: random.Random) -> bytes:
    """One request or several, one after the other, some of them malformed."""
    data = b"".join(request(chance) for _ in range(chance.choice((1, 1, 1, 2, 3))))
    for _ in range(chance.choice((0, 0, 1, 3))):
        at = chance.randrange(len(data) + 1)
        cut = chance.choice((0, 0, 1, 10))
        data = data[:at] + chance.choice((*MALFORMED, chance.randbytes(5))) + data[at + cut :]
    return data[: chance.randrange(len(data))] if data and chance.random() < 0.1 else data


def request(chance: random.Random) -> bytes:
    route = chance.choice(SERVED)
    method = chance.choice((route.method, route.method, route.method, "GET", "HEAD", "OPTIONS", "BREW"))
    path = route.path.replace("*", chance.choice(("x", "%0d%0a", "..", "%00")))
    query = chance.choice(("", "", "?a=b", "?%0d%0a", "?" + "q" * chance.randrange(3000)))
    version = chance.choice(("1.1", "1.1", "1.1", "1.0", "2.0"))
    headers, body = framing(chance, chance.randbytes(chance.choice((0, 2, 50, 1999, 2001, 9000))))
    lines = [f"{method} {path}{query} HTTP/{version}", "host: x", *headers_at_random(chance), *headers]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def headers_at_random(chance: random.Random) -> list[str]:
    keys = (f"Bearer {KEY}", f"Bearer {KEY[:-1]}", f"Basic {KEY}", "Bearer", "", "Bearer " + "k" * 600)
    candidates = (
        f"authorization: {chance.choice(keys)}",
        f"x-api-key: {chance.choice(('', KEY[::-1], KEY))}",
        "x-slipway-supervisor: " + "0" * 64,
        "x-request-id: " + chance.choice(("a", "é", "a" * 500)),
        "traceparent: " + chance.choice(("00-" + "a" * 32 + "-" + "b" * 16 + "-01", "00-x", "")),
        "connection: " + chance.choice(("close", "keep-alive", "upgrade")),
        "upgrade: websocket",
        "expect: 100-continue",
        "content-type: " + chance.choice(("application/json", "multipart/form-data", "é")),
        "long: " + "l" * chance.choice((10, 9000, TOO_LONG)),
    )
    return chance.sample(candidates, chance.randrange(5))


def framing(chance: random.Random, body: bytes) -> tuple[list[str], bytes]:
    """The declared length of the body, which need not be true."""
    length, other = f"content-length: {len(body)}", f"content-length: {chance.choice((0, -1, 1, 10**30))}"
    chunked = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts(chance, body)) + b"0\r\n\r\n"
    return chance.choice(
        (
            ([length], body),
            ([length], body),
            (["transfer-encoding: chunked"], chunked),
            (["transfer-encoding: chunked"], chunked),
            (["transfer-encoding: chunked", length], chunked),
            (["transfer-encoding: gzip, chunked"], chunked),
            ([length, other], body),
            ([other], body),
            ([], body),
        )
    )


def parts(chance: random.Random, body: bytes) -> Iterator[bytes]:
    while body:
        size = chance.randrange(1, len(body) + 1)
        yield body[:size]
        body = body[size:]
