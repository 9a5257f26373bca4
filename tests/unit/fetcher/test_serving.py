"""`--port`: how far a download is, over HTTP."""

from __future__ import annotations

import io
import json
import socket
import threading
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from slipway_fetcher.progress import Progress
from slipway_fetcher.serving import served
from support.ports import free_port


@pytest.fixture
def progress() -> Progress:
    made = Progress("hf://org/model", output=io.StringIO())
    made.begin(1000)
    made.arrived(410)
    return made


def page(port: int, path: str) -> str:
    with urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as response:
        content: bytes = response.read()
        return content.decode()


def test_info_has_the_state_of_the_download(progress: Progress) -> None:
    progress.waits("hub.example is busy")
    port = free_port()
    with served(progress, port):
        found = json.loads(page(port, "/info"))
    assert found["model"] == "hf://org/model"
    assert {name: found["fetch"][name] for name in ("bytes", "total", "percent", "waiting")} == {
        "bytes": 410,
        "total": 1000,
        "percent": 41.0,
        "waiting": "hub.example is busy",
    }


def test_metrics_are_those_that_are_known(progress: Progress) -> None:
    port = free_port()
    with served(progress, port):
        assert "\nslipway_fetch_bytes 410\n" in page(port, "/metrics")
    with served(Progress("hf://org/model", output=io.StringIO()), port):
        assert "total" not in page(port, "/metrics"), "the source hasn't said it yet"


def test_a_client_that_says_nothing_delays_others_only_for_a_moment(progress: Progress) -> None:
    port = free_port()
    with served(progress, port), socket.create_connection(("127.0.0.1", port)):
        assert json.loads(page(port, "/info"))


def test_a_client_that_sends_a_byte_now_and_then_is_cut_off(progress: Progress) -> None:
    """So that it keeps neither others from an answer, nor a download from ending."""
    port, told = free_port(), threading.Event()
    ends: list[str] = []

    def trickle(client: socket.socket) -> None:
        try:
            while not told.wait(0.2):
                client.sendall(b"G")
        except OSError:
            ends.append("cut off")

    with served(progress, port), socket.create_connection(("127.0.0.1", port)) as slow:
        sender = threading.Thread(target=trickle, args=[slow])
        sender.start()
        try:
            assert json.loads(page(port, "/info"))
            sender.join(timeout=10)
        finally:
            told.set()
            sender.join()
    assert ends == ["cut off"]


def test_there_is_nothing_else(progress: Progress) -> None:
    port = free_port()
    with served(progress, port), pytest.raises(HTTPError) as refused:
        page(port, "/etc/passwd")
    with refused.value:
        assert refused.value.code == 404


def test_a_port_that_is_taken_does_not_stop_the_download() -> None:
    output = io.StringIO()
    with socket.create_server(("127.0.0.1", 0)) as other, served(Progress("m", output=output), other.getsockname()[1]):
        pass
    assert "Progress isn't served" in output.getvalue()
