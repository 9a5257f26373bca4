"""The self-test as a program: its requests, its exit codes and its output."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from slipway.process.lifecycle import STARTED_WRONGLY
from slipway.selftest.main import get, main, write


async def test_every_response_is_returned_with_its_status() -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=503, text="caches: not yet listed: Pod")

    app = web.Application()
    app.router.add_get("/readyz", answer)
    async with TestServer(app) as server:
        assert await get(str(server.make_url("/readyz"))) == (503, "caches: not yet listed: Pod")


async def test_a_connection_error_has_a_message() -> None:
    with pytest.raises(OSError, match="Cannot connect to host"):
        await get("http://127.0.0.1:1/readyz")


def test_without_an_api_server_the_exit_code_is_that_of_wrong_usage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = tmp_path / "kubeconfig"
    nowhere.write_text("{}")
    with pytest.raises(SystemExit) as ended:
        main([f"--kubeconfig={nowhere}"])
    assert ended.value.code == STARTED_WRONGLY
    assert "run in a pod, or name a --kubeconfig" in capsys.readouterr().err


def test_each_line_is_flushed_immediately(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a pipe would buffer them, and a killed pod would have no output."""
    log = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BufferedWriter(_Raw(log))))
    write("well  KEDA is recent enough\n")
    assert log.getvalue() == b"well  KEDA is recent enough\n"


class _Raw(io.RawIOBase):
    def __init__(self, log: io.BytesIO) -> None:
        self._log = log

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        return self._log.write(data)  # type: ignore[arg-type]
