"""What strangers can make of an engine's web server: its memory under floods, with the limits and in uvicorn alone.

Each flood is sent to a separate server on this machine, by clients without a key: the app answers every request
as the guard does who gets none, without reading its body. Printed is the resident memory before, and the most of it
while the flood lasts.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path

MIB = 1 << 20
WITH_LIMITS, ALONE = "with limits", "uvicorn alone"
LASTS = 10.0  # seconds at most

Flood = Callable[[int], None]


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    sys.stdout.write(f"{'flood':42}{'server':16}{'before, MiB':>12}{'most, MiB':>12}\n")
    for name, flood in FLOODS.items():
        for way in (ALONE, WITH_LIMITS):
            with served(way) as (server, port):
                before, most = under(flood, server, port)
            sys.stdout.write(f"{name:42}{way:16}{before:12.0f}{most:12.0f}\n")


# --- the floods ------------------------------------------------------------------------------------------------------


def one_endless_head(port: int) -> None:
    header = b"x: " + b"x" * (32 << 10) + b"\r\n"
    with connected(port, 1) as [one]:
        sent(one, b"GET /health HTTP/1.1\r\n", *[header] * (200 * 32))


def endless_small_headers(port: int) -> None:
    with connected(port, 1) as [one]:
        sent(one, b"GET /health HTTP/1.1\r\n", *[b"a:\r\n" * (MIB // 4)] * 50)


def silent(port: int) -> None:
    with connected(port, 1000) as many:
        sent_to_all(many)


def heads_of_30_kib_behind_each_other(port: int) -> None:
    head = b"GET /health HTTP/1.1\r\nx: " + b"x" * (30 << 10) + b"\r\n\r\n"
    with connected(port, 10) as many:
        sent_to_all(many, b"GET /slow HTTP/1.1\r\n\r\n", *[head * 32] * 20)


def tiny_requests_behind_each_other(port: int) -> None:
    with connected(port, 10) as many:
        sent_to_all(many, *[b"GET /slow HTTP/1.1\r\n\r\n" * 40_000] * 4)


def heads_of_60_kib_without_an_end(port: int) -> None:
    with connected(port, 1000) as many:
        sent_to_all(many, b"GET /health HTTP/1.1\r\nx: " + b"x" * (60 << 10))


def bodies_of_31_mib(port: int) -> None:
    with connected(port, 60) as many:
        head = b"POST /v1/completions HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % (31 * MIB)
        sent_to_all(many, head, *[b"x" * MIB] * 31)


FLOODS: dict[str, Flood] = {
    "200 MiB of headers of 32 KiB": one_endless_head,
    "50 MiB of small headers": endless_small_headers,
    "1,000 connections that say nothing": silent,
    "1,000 heads of 60 KiB without an end": heads_of_60_kib_without_an_end,
    "10 connections, heads of 30 KiB queued": heads_of_30_kib_behind_each_other,
    "10 connections, tiny requests queued": tiny_requests_behind_each_other,
    "60 bodies of 31 MiB without a key": bodies_of_31_mib,
}


@contextmanager
def connected(port: int, number: int) -> Iterator[list[socket.socket]]:
    many = [socket.create_connection(("127.0.0.1", port)) for _ in range(number)]
    try:
        yield many
    finally:
        for each in many:
            each.close()


def sent(one: socket.socket, *pieces: bytes) -> None:
    sent_to_all([one], *pieces)


def sent_to_all(many: Sequence[socket.socket], *pieces: bytes) -> None:
    """As much as is taken in time; a server that hangs up has had enough."""
    until = time.monotonic() + LASTS
    all_of = memoryview(b"".join(pieces))
    left = dict.fromkeys(many, all_of)
    for each in many:
        each.setblocking(False)
    while left and time.monotonic() < until:
        for each, rest in list(left.items()):
            try:
                left[each] = rest[each.send(rest) :]
            except BlockingIOError:
                continue
            except OSError:
                del left[each]
                continue
            if not left[each]:
                del left[each]
    time.sleep(LASTS / 5)  # what was sent last is read, too


# --- the server ------------------------------------------------------------------------------------------------------


@contextmanager
def served(way: str) -> Iterator[tuple[BaseProcess, int]]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    server = context.Process(target=serve, args=(way, theirs), daemon=True)
    server.start()
    try:
        yield server, ours.recv()
    finally:
        server.kill()
        server.join()


def serve(way: str, told: multiprocessing.connection.Connection) -> None:
    import asyncio  # noqa: PLC0415 - of this process alone

    import uvicorn  # noqa: PLC0415
    from slipway_runtime.engines.connection import limit_uvicorn  # noqa: PLC0415

    if way == WITH_LIMITS:
        limit_uvicorn()
    else:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    listening = socket.create_server(("127.0.0.1", 0), backlog=2048)
    told.send(listening.getsockname()[1])
    config = uvicorn.Config(app, log_level="critical", access_log=False, lifespan="off", ws="none")
    asyncio.run(uvicorn.Server(config).serve(sockets=[listening]))


async def app(scope: dict[str, str], receive: Callable[[], object], send: Callable[[object], object]) -> None:
    import asyncio  # noqa: PLC0415

    if scope["path"] == "/slow":
        await asyncio.sleep(LASTS)
    headers = [(b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 401, "headers": headers})  # type: ignore[misc]
    await send({"type": "http.response.body", "body": b"no"})  # type: ignore[misc]


def under(flood: Flood, server: BaseProcess, port: int) -> tuple[float, float]:
    with connected(port, 1) as [one]:  # it serves by now
        one.sendall(b"GET / HTTP/1.1\r\n\r\n")
        one.recv(1000)
    before = of_process(server.pid or 0, "VmRSS")
    flood(port)
    return before, of_process(server.pid or 0, "VmHWM")


def of_process(pid: int, name: str) -> float:
    """In MiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) / 1024


if __name__ == "__main__":
    main()
