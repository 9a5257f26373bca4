"""The responses to probes and to Prometheus."""

import asyncio

import aiohttp
import pytest
from prometheus_client import generate_latest
from slipway.process import management
from slipway.process.management import ManagementPort, MetricsPage
from slipway.process.metrics import LINES_PER_STEP, MetricsRegistry

LABELS = ("state", "reason")


async def answer(path: str, *, complaint: str | None = None, metrics: MetricsRegistry | None = None) -> tuple[int, str]:
    checks = {"watches": lambda: complaint}
    async with (
        ManagementPort(
            metrics=metrics or MetricsRegistry(), live=checks, ready={}, port=0, host="127.0.0.1"
        ).served() as port,
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}{path}") as response,
    ):
        return response.status, await response.text()


async def test_a_probe_succeeds_while_no_check_complains() -> None:
    assert await answer("/livez") == (200, "watches: ok\n")


async def test_a_probe_fails_with_the_complaint_of_a_check() -> None:
    assert await answer("/livez", complaint="Pod was missed") == (503, "watches: Pod was missed\n")


async def test_a_failed_check_of_liveness_does_not_affect_readiness() -> None:
    assert await answer("/readyz", complaint="Pod was missed") == (200, "ok\n")


async def test_metrics_have_labels_that_appear_and_disappear() -> None:
    metrics = MetricsRegistry("slipway")
    objects: dict[tuple[str, ...], float] = {("Serving", ""): 2.0}
    metrics.read_gauge("llmdeployments", "by state", LABELS, lambda: objects)
    metrics.gauge("leader", "").set(1)
    _, text = await answer("/metrics", metrics=metrics)
    assert 'slipway_llmdeployments{reason="",state="Serving"} 2.0' in text
    assert "slipway_leader 1.0" in text
    objects.clear()
    assert "Serving" not in (await answer("/metrics", metrics=metrics))[1]


MANY = 50 * LINES_PER_STEP  # each object has a line


def many_metrics() -> MetricsRegistry:
    metrics = MetricsRegistry("slipway")
    metrics.read_gauge(
        "llmdeployments", "by state", LABELS, lambda: {("Serving", str(each)): 1.0 for each in range(MANY)}
    )
    return metrics


def test_metrics_written_in_steps_equal_those_that_prometheus_client_writes() -> None:
    metrics = many_metrics()
    metrics.counter("api_calls", "each try", "verb").labels("get").inc()
    pieces = list(metrics.page_in_steps())
    assert max(piece.count(b"slipway_llmdeployments{") for piece in pieces) == LINES_PER_STEP
    assert b"".join(pieces) == generate_latest(metrics.collectors)


async def test_other_tasks_run_while_metrics_are_written() -> None:
    page, turns = MetricsPage(many_metrics()), 0
    scraping = asyncio.create_task(scrape(page))
    while not scraping.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns >= MANY // LINES_PER_STEP
    await page.close()


async def test_scrapes_within_a_moment_get_the_same_text(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    metrics = MetricsRegistry()
    metrics.read_gauge("llmdeployments", "", LABELS, lambda: read.append(1) or {})  # type: ignore[func-returns-value]
    page = MetricsPage(metrics)
    await asyncio.gather(*(scrape(page) for _ in range(20)))
    await scrape(page)
    assert len(read) == 1
    monkeypatch.setattr(management, "PAGE_HOLDS_FOR", 0.0)
    await scrape(page)
    assert len(read) == 2


async def test_a_cancelled_scrape_does_not_affect_another() -> None:
    page = MetricsPage(many_metrics())
    gone, stays = asyncio.create_task(scrape(page)), asyncio.create_task(scrape(page))
    await asyncio.sleep(0)
    gone.cancel()
    assert b"slipway_llmdeployments{" in await stays


async def scrape(page: MetricsPage) -> bytes:
    return b"".join(await page.pieces())


async def test_a_page_of_many_pieces_arrives_complete() -> None:
    metrics = many_metrics()
    status, text = await answer("/metrics", metrics=metrics)
    assert (status, text) == (200, metrics.page().decode())
