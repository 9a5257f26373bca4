"""What probes and Prometheus are answered."""

import aiohttp
from slipway.kube.health import serve
from slipway.kube.metrics import Metrics


async def answer(path: str, *, complaint: str | None = None, metrics: Metrics | None = None) -> tuple[int, str]:
    checks = {"watches": lambda: complaint}
    async with (
        serve(metrics or Metrics(), live=checks, ready={}, port=0, host="127.0.0.1") as port,
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}{path}") as response,
    ):
        return response.status, await response.text()


async def test_all_is_well_while_no_check_complains() -> None:
    assert await answer("/livez") == (200, "watches: ok\n")


async def test_a_check_that_complains_is_an_error_that_says_why() -> None:
    assert await answer("/livez", complaint="Pod was missed") == (503, "watches: Pod was missed\n")


async def test_a_complaint_about_life_says_nothing_about_readiness() -> None:
    assert await answer("/readyz", complaint="Pod was missed") == (200, "ok\n")


async def test_metrics_are_told_by_labels_that_come_and_go() -> None:
    metrics = Metrics()
    objects: dict[tuple[str, ...], float] = {("Serving", ""): 2.0}
    metrics.watch_objects(lambda: objects)
    metrics.leader.set(1)
    _, text = await answer("/metrics", metrics=metrics)
    assert 'slipway_llmdeployments{reason="",state="Serving"} 2.0' in text
    assert "slipway_leader 1.0" in text
    objects.clear()
    assert "Serving" not in (await answer("/metrics", metrics=metrics))[1]
