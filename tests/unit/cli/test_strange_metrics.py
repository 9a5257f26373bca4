"""`top`, where a pod of some tenant sends metrics without an end, too many, or none; and where the API server is away
for a moment."""

from __future__ import annotations

import math
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from slipway_cli.cluster import scraping
from slipway_cli.cluster.kubectl import ApiError
from slipway_cli.cluster.metrics import MOST_BUCKETS, reading_of, series_in
from slipway_cli.cluster.proxying import ApiProxy, Dropped
from slipway_cli.cluster.scraping import Scraper
from slipway_cli.commands.top import _read_again
from support.builders import cli_worlds
from support.fakes.kubectl import FakeKubectl

HEAD = b"HTTP/1.1 200 OK\r\n"
LLAMACPP: dict[str, Any] = {"engine": {"name": "llamacpp"}}
Send = Callable[[bytes], Any]


@contextmanager
def answering(send: Callable[[Send], Any]) -> Iterator[str]:
    """A server whose answers `send` writes."""
    server = socket.create_server(("127.0.0.1", 0))

    def one(connection: socket.socket) -> None:
        with connection:
            connection.recv(9999)
            with suppress(OSError):
                send(connection.sendall)

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=one, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.getsockname()[1]}"
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()


def drip(send: Send) -> None:
    send(HEAD + b"\r\n")
    for _ in range(300):
        send(b"x 1\n")
        time.sleep(0.1)


def drip_in_head(send: Send) -> None:
    send(HEAD + b"X: ")
    for _ in range(300):
        send(b"x")
        time.sleep(0.1)


def flood(send: Send) -> None:
    send(HEAD + b"\r\n")
    while True:
        send(b"x" * 65536)


def read(place: str, seconds: float | None, most: int = 1 << 20) -> str:
    with closing(ApiProxy(place, seconds).get("/metrics")) as answer:
        return answer.text(most)


@pytest.mark.parametrize("send", [drip, drip_in_head])
def test_an_answer_without_an_end_is_left_after_its_time(send: Callable[[Send], Any]) -> None:
    with answering(send) as place:
        start = time.monotonic()
        with pytest.raises(Dropped, match=r"no complete answer within 0\.5 s"):
            read(place, 0.5)
        assert time.monotonic() - start < 10


def test_an_answer_has_a_greatest_size() -> None:
    with answering(flood) as place:
        with pytest.raises(Dropped, match="it sent more than 1 MiB"):
            read(place, None)
        with (
            closing(ApiProxy(place).get("/metrics")) as answer,
            pytest.raises(Dropped, match="it sent a line of 16 MiB or more"),
        ):
            next(answer.lines())


def test_an_answer_that_is_cut_off_is_none() -> None:
    with (
        answering(lambda send: send(HEAD + b"Content-Length: 9\r\n\r\nx 1\n")) as place,
        pytest.raises(Dropped, match="5 bytes of its answer are missing"),
    ):
        read(place, 5.0)


def test_a_pod_that_never_ends_is_a_gap(tmp_path: Path) -> None:
    model, pod = cli_worlds.deployment("m", status=cli_worlds.SERVING, spec=LLAMACPP), cli_worlds.pod("m-1", "m")
    kubectl = FakeKubectl(tmp_path, [model, pod]).inside()()
    with answering(drip) as place:
        scraper = Scraper(kubectl, ApiProxy(place, 0.5), "chat", "", "slipway-system")
        [use] = scraper.read()
    assert use.in_flight is None
    assert "1 of 1 pods of models are missing: m-1 doesn't answer (no complete answer within" in str(scraper.gaps)
    assert scraping.SECONDS <= 5


def test_metrics_that_are_made_to_take_long_do_not() -> None:
    start = time.monotonic()
    for labels in ("a" * 1_000_000, 'a="' * 300_000, 'a="\\"' * 300_000, "{" * 1_000_000):
        series_in(f"x{{{labels}}} 1\nx{{{labels} 1\n", ["x"])
    assert time.monotonic() - start < 10


def test_numbers_and_buckets_of_no_engine_are_left_out() -> None:
    name = "slipway_time_to_first_token_seconds_bucket"
    text = "".join(f'{name}{{le="{count}"}} 1e308\n' for count in range(5000))
    found = reading_of(f"llamacpp:requests_processing 1e308\n{text}", "llamacpp", 1.0)
    assert found.in_flight == 0
    assert len(found.ttft) == MOST_BUCKETS
    assert math.isfinite(sum(found.ttft.values()))


# --- the API server is away ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("word", "ends"), [("Unreachable", False), ("InternalError", False), ("Unauthorized", True)])
def test_watching_goes_on_where_the_next_reading_can_succeed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str, ends: bool
) -> None:
    kubectl = FakeKubectl(tmp_path, [cli_worlds.deployment("m", status=cli_worlds.SERVING)]).inside()()
    scraper = Scraper(kubectl, ApiProxy("127.0.0.1:1", 0.5), "chat", "", "slipway-system")
    before = scraper.read()

    def fails() -> Any:
        raise ApiError(word, "It is away.")

    monkeypatch.setattr(scraper, "read", fails)
    with pytest.raises(ApiError):
        _read_again(scraper, [])
    if ends:
        with pytest.raises(ApiError):
            _read_again(scraper, before)
    else:
        assert _read_again(scraper, before) == before
        assert scraper.gaps == {"reading": "These values are from before: It is away."}


@pytest.mark.parametrize(
    ("word", "said"), [("Forbidden", "the right to list pods"), ("InternalError", "can't be listed")]
)
def test_only_a_right_that_is_missing_is_called_so(tmp_path: Path, word: str, said: str) -> None:
    failure = f"Error from server ({word}): no"
    failures = {f"/api/v1/namespaces/{each}/pods": failure for each in ("chat", "slipway-system")}
    kubectl = FakeKubectl(tmp_path, [cli_worlds.deployment("m", status=cli_worlds.SERVING)], failures=failures)
    scraper = Scraper(kubectl.inside()(), ApiProxy("127.0.0.1:1", 0.5), "chat", "", "slipway-system")
    scraper.read()
    assert [said in scraper.gaps[each] for each in ("pods", "activators")] == [True, True]
