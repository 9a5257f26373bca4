"""How a program starts and ends: its exit codes, and the order in which its parts end."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from slipway.process import lifecycle
from slipway.process.lifecycle import CannotStartError, Part, Stages, run
from slipway.process.management import ManagementPort
from slipway.process.metrics import MetricsRegistry


async def until_stopped(stop: asyncio.Event) -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    async with asyncio.timeout(5):
        await stop.wait()


async def without_an_api_server(_: asyncio.Event) -> None:
    raise CannotStartError("No way to an API server (no kubeconfig): run in a pod, or name a --kubeconfig")


async def returns_1(_: asyncio.Event) -> int:
    return 1


def test_a_program_that_is_asked_to_end_exits_with_0() -> None:
    assert run(until_stopped, log_level="info", log_format="json") == 0


def test_without_access_to_an_api_server_the_exit_code_means_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(without_an_api_server, log_level="info", log_format="json") == 2
    assert "run in a pod, or name a --kubeconfig" in capsys.readouterr().err


def test_a_program_may_have_an_exit_code_of_its_own() -> None:
    assert run(returns_1, log_level="info", log_format="json") == 1


# --- its parts -------------------------------------------------------------------------------------------------------

Work = Callable[[], Coroutine[Any, Any, None]]


class Program:
    """Records the order in which its parts end."""

    def __init__(self) -> None:
        self.ended: list[str] = []
        self.asked_to_end = asyncio.Event()

    def part(self, name: str, *, takes: float = 0.0, ends_alone: bool = False) -> Part:
        async def work() -> None:
            try:
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(takes)
                self.ended.append(name)

        return Part(name, work, ends_alone=ends_alone)

    async def serve(self, stages: Stages) -> None:
        management = ManagementPort(metrics=MetricsRegistry(), live={}, ready={}, port=0, host="127.0.0.1")
        async with asyncio.timeout(10):
            await lifecycle.serve(stages, name="of-a-test", management=management, asked_to_end=self.asked_to_end)


async def fail() -> None:
    raise ValueError("it broke")


@pytest.fixture
async def program() -> Program:
    return Program()


async def test_a_stage_ends_when_all_stages_above_it_have(program: Program) -> None:
    program.asked_to_end.set()
    await program.serve([[program.part("watches")], [program.part("requests", takes=0.1)], [program.part("garbage")]])
    assert program.ended == ["garbage", "requests", "watches"]


async def test_stages_below_do_not_wait_for_a_part_that_ends_alone(program: Program) -> None:
    program.asked_to_end.set()
    slow = program.part("watches", takes=0.1, ends_alone=True)
    await program.serve([[program.part("election")], [slow, program.part("queue")]])
    assert program.ended == ["queue", "election", "watches"]


async def test_a_failure_of_a_part_is_raised_after_an_orderly_end(program: Program) -> None:
    with pytest.raises(ValueError, match="it broke"):
        await program.serve([[program.part("watches")], [Part("queue", fail)]])
    assert program.ended == ["watches"]


async def test_a_failure_during_the_end_is_logged_and_the_other_parts_still_end(
    program: Program, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail_at_the_end() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await fail()

    program.asked_to_end.set()
    await program.serve([[program.part("watches")], [Part("queue", fail_at_the_end)]])
    assert program.ended == ["watches"]
    assert "queue failed while it ended" in caplog.text
