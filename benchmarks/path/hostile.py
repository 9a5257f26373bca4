"""What a hostile client or pod may send: requests, responses, metrics, each drawn at random."""

from __future__ import annotations

import random
from collections.abc import Callable

MIB = 1 << 20
POST = b"POST /v1/completions HTTP/1.1\r\nHost: a\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n" + CHUNKED

Draw = random.Random
Said = Callable[[Draw], bytes]


def with_length(head: bytes, body: bytes) -> bytes:
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


def mutated(draw: Draw, said: bytes) -> bytes:
    raw = bytearray(said)
    for _ in range(draw.randint(1, 8)):
        raw[draw.randrange(len(raw))] = draw.randrange(256)
    return bytes(raw)


def in_chunks(data: bytes, size: int) -> bytes:
    return b"".join(
        b"%x\r\n%b\r\n" % (len(data[at : at + size]), data[at : at + size]) for at in range(0, len(data), size)
    )


def fat_head(draw: Draw, first: bytes) -> bytes:
    number = draw.randint(1, 98)
    return first + b"".join(b"x-%d: %b\r\n" % (each, b"y" * (31_000 // number)) for each in range(number))


def _repeated(piece: bytes, size: int) -> bytes:
    return piece * (size // len(piece))


def _odd_json(draw: Draw) -> bytes:
    size = draw.choice((64 * 1024, MIB, 8 * MIB - 1024))
    piece = draw.choice(
        (b"[],", b"{},", b'"a":1,', b'"\\"",', b"1,", b"  ", b'"stream":true,', b'"' + b"x" * 5000 + b'",')
    )
    around = draw.choice(
        ((b'{"a":[', b'1],"stream":true}'), (b"{", b'"stream":true}'), (b'{"stream":true,"a":[', b"1]}"))
    )
    deep = b'{"a":' + b"[" * (size // 2) + b"]" * (size // 2) + b',"stream":true}'
    return draw.choice((around[0] + _repeated(piece, size) + around[1], deep))


REQUESTS: dict[str, Said] = {
    "a good one": lambda draw: with_length(POST, b'{"stream": true}'),
    "a large body that is odd JSON": lambda draw: with_length(POST, _odd_json(draw)),
    "a body in chunks of a byte": lambda draw: POST + CHUNKED + b"1\r\na\r\n" * draw.randint(1, 300_000) + b"0\r\n\r\n",
    "a body of line ends": lambda draw: with_length(POST, b"\r\n" * MIB),
    "a body too large to be kept": lambda draw: with_length(POST, b"x" * (12 * MIB)),
    "many requests at once": lambda draw: b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * draw.randint(2, 20_000),
    "a fat head": lambda draw: with_length(fat_head(draw, POST), b"{}"),
    "fat heads ahead": lambda draw: with_length(fat_head(draw, POST), b"{}") * 40,
    "a head of commas": lambda draw: with_length(POST + b"Connection: " + b"a," * 15_000 + b"\r\n", b"{}"),
    "a long URL": lambda draw: b"GET http://a/" + b"%20" * draw.randint(1, 10_000) + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    "line ends": lambda draw: b"\r\n" * draw.randint(1, 40_000),
    "trailers": lambda draw: POST + CHUNKED + b"0\r\n" + b"X: y\r\n" * draw.randint(1, 20_000) + b"\r\n",
    "an extension without end": lambda draw: POST + CHUNKED + b"5;" + b"x" * draw.randint(1, 100_000),
    "another protocol": lambda draw: draw.choice((b"SETUP / RTSP/1.0\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")),
    "an upgrade": lambda draw: with_length(POST + b"Connection: Upgrade\r\nUpgrade: h2c\r\n", b"{}") * 500,
    "anything": lambda draw: draw.randbytes(draw.randint(1, 100_000)),
    "nearly a good one": lambda draw: mutated(draw, with_length(fat_head(draw, POST), b'{"stream": true}') * 3),
    "nearly good chunks": lambda draw: mutated(draw, POST + CHUNKED + in_chunks(b"abc" * 3000, 7) + b"0\r\n\r\n"),
    "nothing": lambda draw: b"",
}

ANSWERS: dict[str, Said] = {
    "a good one": lambda draw: with_length(b"HTTP/1.1 200 OK\r\n", b"good"),
    "JSON that says abort": lambda draw: with_length(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n",
        b'{"choices":[' + _repeated(draw.choice((b"{},", b"[],", b'{"finish_reason":"abort"},')), 60_000) + b"{}]}",
    ),
    "events of nothing": lambda draw: STREAM + in_chunks(_repeated(draw.choice((b": \n\n", b"\r\n")), MIB), 4000),
    "events of little": lambda draw: (
        STREAM + in_chunks(_repeated(b'data: {"choices":[{}]}\n\n', MIB), 4000) + b"0\r\n\r\n"
    ),
    "events in chunks of a byte": lambda draw: STREAM + in_chunks(b'data: {"choices":[]}\n\n' * 3000, 1) + b"0\r\n\r\n",
    "a whole answer of line ends": lambda draw: with_length(b"HTTP/1.1 200 OK\r\n", b"\n\r" * (2 * MIB)),
    "interim answers": lambda draw: b"HTTP/1.1 102 Processing\r\n\r\n" * draw.randint(1, 20_000),
    "a fat head": lambda draw: with_length(fat_head(draw, b"HTTP/1.1 200 OK\r\n"), b"good"),
    "a head without end": lambda draw: b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 50_000,
    "a body without end": lambda draw: b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (20 * MIB),
    "trailers": lambda draw: STREAM + b"0\r\n" + b"X: y\r\n" * draw.randint(1, 20_000) + b"\r\n",
    "unavailable": lambda draw: with_length(b"HTTP/1.1 503 No\r\n", b"x" * draw.choice((0, 10, MIB))),
    "elsewhere": lambda draw: with_length(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n", b""),
    "anything": lambda draw: draw.randbytes(draw.randint(1, 100_000)),
    "nothing": lambda draw: b"",
}

METRICS: dict[str, Said] = {
    "samples": lambda draw: b"vllm:num_requests_running 1\n" * 150_000,
    "short lines": lambda draw: b"a 1\n" * MIB,
    "one line": lambda draw: b"a" * (3 * MIB),
    "labels": lambda draw: b"vllm:num_requests_running{" + b"} " * MIB + b"\n",
    "no number": lambda draw: b"vllm:num_requests_running %b\n" % draw.choice((b"+Inf", b"NaN", b"-1", b"1e999", b"x")),
}
