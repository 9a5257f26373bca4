"""How a program's life ends is said by its exit code."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest
from slipway.process.lifecycle import CannotStartError, run


async def until_asked(asked: asyncio.Event) -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    async with asyncio.timeout(5):
        await asked.wait()


async def without_a_way(_: asyncio.Event) -> None:
    raise CannotStartError("No way to an API server (no kubeconfig): run in a pod, or name a --kubeconfig")


def test_asked_to_end_it_ends_well() -> None:
    assert run(until_asked, log_level="info", log_format="json") == 0


def test_without_a_way_to_an_api_server_it_was_started_wrongly(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(without_a_way, log_level="info", log_format="json") == 2
    assert "run in a pod, or name a --kubeconfig" in capsys.readouterr().err
