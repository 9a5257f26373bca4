"""The work queue: workers, failures, resync and the end."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from slipway.kube.errors import NotLeaderError
from slipway.kube.metrics import QueueMetrics
from slipway.kube.work_queue import NEVER, RetryLaterError, WorkQueue
from slipway.process.metrics import MetricsRegistry
from support.fakes import virtual_time
from support.fakes.virtual_time import now

Handle = Callable[[str], Awaitable[float | None]]


@asynccontextmanager
async def running(
    handle: Handle, *, metrics: QueueMetrics | None = None, workers: int = 4
) -> AsyncIterator[WorkQueue[str]]:
    queue: WorkQueue[str] = WorkQueue(
        handle,
        metrics or QueueMetrics(MetricsRegistry()),
        workers=workers,
        resync_every=600,
        clock=now,
        jitter=lambda: 0.5,
    )
    task = asyncio.create_task(queue.run())
    yield queue
    task.cancel()


def test_each_key_has_one_worker_at_a_time_and_the_number_of_workers_is_limited() -> None:
    in_flight: list[str] = []
    most = 0

    async def handle(key: str) -> float | None:
        nonlocal most
        assert key not in in_flight
        in_flight.append(key)
        most = max(most, len(in_flight))
        await asyncio.sleep(1)
        in_flight.remove(key)
        return NEVER

    async def test() -> None:
        async with running(handle, workers=2) as queue:
            for _ in range(3):
                for key in "abcd":
                    queue.add(key)
                await asyncio.sleep(0.5)
            await asyncio.sleep(20)

    virtual_time.run(test())
    assert most == 2
    assert in_flight == []


def test_while_all_workers_are_busy_the_queue_does_not_spin_though_keys_are_due() -> None:
    reads = 0

    def counting() -> float:
        nonlocal reads
        reads += 1
        assert reads < 1000, "the queue spins"
        return now()

    async def handle(key: str) -> float | None:
        await asyncio.sleep(100)
        return NEVER

    async def test() -> None:
        queue: WorkQueue[str] = WorkQueue(handle, QueueMetrics(MetricsRegistry()), workers=1, clock=counting)
        task = asyncio.create_task(queue.run())
        queue.add("busy")
        queue.add_after("due", 1)
        await asyncio.sleep(50)
        assert not task.done()
        task.cancel()

    virtual_time.run(test())


def test_a_key_is_handled_again_after_the_resync_time() -> None:
    times: list[float] = []

    async def handle(_: str) -> float | None:
        times.append(now())
        return None

    async def test() -> None:
        async with running(handle) as queue:
            queue.add("a")
            await asyncio.sleep(1300)

    virtual_time.run(test())
    assert times == [1000, 1600, 2200]


def test_the_handler_says_when_to_handle_a_key_again_or_never() -> None:
    times: list[float] = []

    async def handle(_: str) -> float | None:
        times.append(now())
        return 7 if len(times) == 1 else NEVER

    async def test() -> None:
        async with running(handle) as queue:
            queue.add("a")
            await asyncio.sleep(10_000)

    virtual_time.run(test())
    assert times == [1000, 1007]


def test_a_key_that_always_fails_does_not_hold_up_the_others(caplog: pytest.LogCaptureFixture) -> None:
    worked: list[str] = []
    metrics = MetricsRegistry("slipway")

    async def handle(key: str) -> float | None:
        worked.append(key)
        if key == "poisoned":
            raise ZeroDivisionError("by zero")
        return NEVER

    async def test() -> None:
        async with running(handle, metrics=QueueMetrics(metrics), workers=1) as queue:
            queue.add("poisoned")
            queue.add("healthy")
            await asyncio.sleep(0.1)

    virtual_time.run(test())
    assert worked == ["poisoned", "healthy"]
    assert "by zero" in caplog.text
    assert metrics.collectors.get_sample_value("slipway_queue_retries_total") == 1


def test_a_retry_time_from_the_handler_is_respected() -> None:
    times: list[float] = []

    async def handle(_: str) -> float | None:
        times.append(now())
        if len(times) == 1:
            raise RetryLaterError("KServe is not there yet", after=30)
        return NEVER

    async def test() -> None:
        async with running(handle) as queue:
            queue.add("a")
            await asyncio.sleep(100)

    virtual_time.run(test())
    assert times == [1000, 1030]


def test_a_key_that_a_replica_may_not_write_is_kept_until_it_may(caplog: pytest.LogCaptureFixture) -> None:
    """A leader that was delayed may lead again before it was notified that it no longer leads."""
    times: list[float] = []

    async def handle(_: str) -> float | None:
        times.append(now())
        if now() < 1002:
            raise NotLeaderError("the lease isn't surely ours")
        return NEVER

    async def test() -> None:
        async with running(handle) as queue:
            queue.add("a")
            await asyncio.sleep(10_000)

    with caplog.at_level(logging.WARNING):
        virtual_time.run(test())
    assert times == [1000, 1001, 1002]
    assert caplog.text == ""


def test_a_standby_does_not_retry_keys_that_it_may_not_write() -> None:
    times: list[float] = []

    async def test() -> None:
        async def handle(_: str) -> float | None:
            times.append(now())
            queue.pause()  # as the election does when leadership is lost
            raise NotLeaderError("b leads")

        async with running(handle) as queue:
            queue.add("a")
            await asyncio.sleep(10_000)

    virtual_time.run(test())
    assert times == [1000]


def test_a_paused_queue_collects_and_goes_on_when_it_is_resumed() -> None:
    worked: list[str] = []

    async def handle(key: str) -> float | None:
        worked.append(key)
        return NEVER

    async def test() -> None:
        async with running(handle) as queue:
            queue.pause()
            queue.add("a")
            queue.add_after("b", 1)
            await asyncio.sleep(5)
            assert worked == []
            queue.resume()
            await asyncio.sleep(0.1)

    virtual_time.run(test())
    assert worked == ["a", "b"]


def test_at_the_end_keys_in_flight_are_finished_and_no_others_are_started() -> None:
    finished: list[str] = []

    async def handle(key: str) -> float | None:
        await asyncio.sleep(3)
        finished.append(key)
        return NEVER

    async def test() -> None:
        async with running(handle, workers=1) as queue:
            queue.add("a")
            queue.add("b")
            await asyncio.sleep(1)
            assert await queue.finish(within=10)
            await asyncio.sleep(10)

    virtual_time.run(test())
    assert finished == ["a"]


def test_a_handler_that_does_not_end_in_time_is_cancelled() -> None:
    async def handle(_: str) -> float | None:
        await asyncio.sleep(1000)
        return None

    async def test() -> float:
        async with running(handle) as queue:
            queue.add("a")
            await asyncio.sleep(1)
            started = now()
            assert not await queue.finish(within=10)
            return now() - started

    assert virtual_time.run(test()) == 10


def test_depth_and_age_are_metrics() -> None:
    metrics = MetricsRegistry("slipway")

    async def handle(_: str) -> float | None:
        await asyncio.sleep(100)
        return None

    async def test() -> tuple[float | None, float | None]:
        async with running(handle, metrics=QueueMetrics(metrics), workers=1) as queue:
            queue.add("being reconciled")
            await asyncio.sleep(1)
            queue.add("waiting")
            await asyncio.sleep(12)
            read = metrics.collectors.get_sample_value
            return read("slipway_queue_depth"), read("slipway_queue_oldest_seconds")

    assert virtual_time.run(test()) == (1, 12)


def test_keys_that_a_standby_collects_wait_for_nothing_and_their_time_starts_when_it_leads() -> None:
    metrics = MetricsRegistry("slipway")

    def waiting() -> tuple[float | None, float | None]:
        read = metrics.collectors.get_sample_value
        return read("slipway_queue_depth"), read("slipway_queue_oldest_seconds")

    time = [100.0]
    queue: WorkQueue[str] = WorkQueue(lambda _: never(), QueueMetrics(metrics), clock=lambda: time[0])
    queue.pause()
    queue.add("chat/llama")
    time[0] += 3600
    assert waiting() == (0, 0)
    queue.resume()
    time[0] += 5
    assert waiting() == (1, 5)
    queue.resume()  # without a pause, it changes nothing
    assert waiting() == (1, 5)


async def never() -> float | None:
    return NEVER
