"""A load, a fault and idling, as a person would tell them: the metrics, the cost and the alerts say the same.

`RECORD_STORY=1` stores what Prometheus answered in docs/images/monitoring/, from which `make pictures` draws the
pictures and the table of docs/monitoring.md.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
import pytest_asyncio
from slipway_devcluster import model
from slipway_devcluster.cluster import Cluster
from slipway_monitoring.dashboards import DASHBOARDS
from slipway_monitoring.dashboards.filling import filled
from slipway_monitoring.pictures import STORY
from support.builders.llmdeployments import GEMMA_CLAIM
from support.cluster import Kube, Settings, folder_claimed, own_namespace
from support.load.watched_models import EMPTY_CLAIM, NAME, Clients, sleeping
from support.monitoring import answers
from support.monitoring.firing import Firing
from support.monitoring.on_cluster import ClusterMonitoring

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(1800, func_only=True)]

STORED = Path(__file__).parents[2] / "docs/images/monitoring"
DRAWN = {
    "requests": "Slipway: one model / Where requests are",
    "steps": "Slipway: one model / How long each step takes (p95)",
    "replicas": "Slipway: one model / Replicas",
    "cost": "Slipway: cost / Cost per hour",
}
"""Pictures of the documentation, and the panels that they show."""

NAMESPACE = "demo"
WHOLE = 15 * 60.0  # seconds
LOADED = 4 * 60.0
RATED = 300.0  # the seconds over which rates are computed: longer than the load
AT_ONCE = 6
PRICE = 0.36  # per hour
PATIENCE = 300.0  # on a machine with other work


@dataclass
class Story:
    """What happened so far, with the seconds since its start."""

    alerts: ClusterMonitoring
    kube: Kube
    clients: Clients
    began: float
    facts: list[dict[str, object]] = field(default_factory=list)
    failing: Firing | None = None

    @property
    def now(self) -> float:
        return time.time() - self.began

    def value(self, what: str, promql: str) -> float:
        """Runs a query now, and keeps it with its value for the documentation."""
        own = self.alerts.own
        found = own.value(promql.replace("$namespace", self.kube.namespace))
        assert found is not None, promql
        self.facts.append({"minute": round(self.now / 60, 1), "what": what, "query": promql, "value": found})
        return found

    async def until(self, promql: str, *, within: float) -> None:
        """Waits until the query has any series."""
        query = promql.replace("$namespace", self.kube.namespace)
        own = self.alerts.own
        await asyncio.to_thread(own.until, lambda: own.query(query), within=within, what=query)

    async def use(self, claim: str) -> None:
        """Changes where the model's files are, and waits until its pods would use that."""
        uri = f"pvc://{claim}/"
        patch = json.dumps({"spec": {"model": {"uri": uri}}})
        await self.kube.run("patch", "llmdeployment", NAME, "--type=merge", f"--patch={patch}")
        await self.kube.wait_for(
            "deployment", f"{NAME}-predictor", lambda it: f'"{uri}"' in json.dumps(it["spec"]), timeout=PATIENCE
        )


OURS = 'namespace="$namespace", llmdeployment="gemma"'


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def story(
    node: Cluster, alerts: ClusterMonitoring, settings: Settings, empty_folder: Path
) -> AsyncIterator[Story]:
    async with own_namespace(alerts.kube, NAMESPACE) as kube:
        weights = model.ensure_gguf(settings.cache, settings.steps)
        async with folder_claimed(kube, GEMMA_CLAIM, weights), folder_claimed(kube, EMPTY_CLAIM, empty_folder):
            price = await priced(kube, PRICE)
            began = time.time()
            await kube.apply(sleeping(scaling={"idleAfter": "1m"}))
            await kube.wait_for_condition("scaledobject", NAME, "Ready", timeout=PATIENCE)
            await alerts.follow()
            yield Story(alerts, kube, Clients(kube, node.entered), began)
            await kube.delete("llmdeployment", NAME, wait=True)
            await priced(kube, price)


async def priced(kube: Kube, price: float) -> float:
    """Sets the price of a CPU device per hour; returns the one before, which is for tests of budgets."""
    before: float = (await kube.get("acceleratorprofile", "cpu"))["spec"]["costPerHour"]
    patch = json.dumps({"spec": {"costPerHour": price}})
    await kube.run("patch", "acceleratorprofile", "cpu", "--type=merge", f"--patch={patch}")
    return before


async def test_a_request_wakes_the_sleeping_model(story: Story) -> None:
    await story.until(f'slipway:replicas{{{OURS}, kind="ready"}} == 0', within=PATIENCE)
    assert await story.clients.ask() == "answered"
    await story.until(f'slipway:cold_start_seconds{{{OURS}, phase="total"}} > 0', within=PATIENCE)
    took = story.value("the cold start took, in seconds", f'slipway:cold_start_seconds{{{OURS}, phase="total"}}')
    assert 0 < took < 60


async def test_a_load_fills_the_replica_and_lets_requests_wait(story: Story) -> None:
    load = asyncio.create_task(story.clients.load(seconds=LOADED, at_once=AT_ONCE))
    await asyncio.sleep(LOADED - 10)
    running = story.value(
        "requests ran at a time, at most, in the replica's two places",
        f"max_over_time(slipway:requests_running{{{OURS}}}[3m])",
    )
    waiting = story.value(
        "requests waited at a time, at most, in the engine or in an activator",
        f"max_over_time((sum(slipway:requests_waiting{{{OURS}}}) + "
        f"(sum(slipway:requests_held{{{OURS}}}) or vector(0)))[3m:5s])",
    )
    assert running == 2
    assert 0 < waiting <= AT_ONCE
    rate = story.value(
        "requests were answered per second, of the last five minutes", f"sum(slipway:requests:rate5m{{{OURS}}})"
    )
    story.value(
        "output tokens were written per second, of the last five minutes", f"slipway:output_tokens:rate5m{{{OURS}}}"
    )
    story.value(
        "95 % of first tokens come within, in seconds", f'slipway:ttft_seconds:quantile{{{OURS}, quantile="0.95"}}'
    )
    story.value("of the requests meet all objectives", f"slipway:goodput:ratio5m{{{OURS}}}")
    story.value("it costs per hour", f"slipway:cost:per_hour{{{OURS}}}")
    answered = await load
    assert rate * RATED == pytest.approx(answered, rel=0.35)


async def test_without_requests_it_sleeps_and_costs_nothing(story: Story) -> None:
    await story.until(f'slipway:replicas{{{OURS}, kind="ready"}} == 0', within=PATIENCE)
    await story.until(f"slipway:cost:per_hour{{{OURS}}} == 0", within=PATIENCE)
    story.value("asleep, it costs per hour", f"slipway:cost:per_hour{{{OURS}}}")


async def test_a_fault_is_reported_to_the_client_and_by_an_alert(story: Story) -> None:
    """The model's files are no longer where the spec says, and the next request finds out."""
    story.failing = story.alerts.expects(
        "SlipwayModelFailed",
        cause="the folder of the model's files is empty",
        remedy="spec.model.uri names the right folder again",
        namespace=story.kube.namespace,
        llmdeployment=NAME,
    )
    await story.use(EMPTY_CLAIM)
    assert "ModelNotFound" in await story.clients.ask()
    fired = await story.failing.fires(within=PATIENCE)
    assert NAME in fired.annotations["summary"]
    is_failed = f'max(slipway_llmdeployment_state{{{OURS}, state="Failed"}})'
    assert story.value("the model's state is Failed: 1 is yes", is_failed) == 1


async def test_after_the_remedy_it_answers_and_the_alert_resolves(story: Story) -> None:
    assert story.failing
    await story.use(GEMMA_CLAIM)
    await story.until(f'slipway_llmdeployment_state{{{OURS}, state="Idle"}}', within=PATIENCE)
    assert await story.clients.ask() == "answered"
    await story.failing.resolves(within=PATIENCE)


async def test_the_account_of_the_whole_time_adds_up(story: Story) -> None:
    """It idles until the time is over. Seconds awake and asleep are those of the clock, and the cost is the
    price of those awake."""
    await story.until(f'slipway:replicas{{{OURS}, kind="ready"}} == 0', within=PATIENCE)
    await asyncio.sleep(max(0.0, WHOLE - story.now))
    awake = story.value("seconds with a device", f"sum(slipway:device_seconds:total{{{OURS}}})")
    asleep = story.value("seconds asleep", f"sum(slipway:asleep_device_seconds:total{{{OURS}}})")
    cost = story.value("cost", f"sum(slipway:cost:total{{{OURS}}})")
    saved = story.value("saved by sleeping", f"sum(slipway:saved_cost:total{{{OURS}}})")
    price_of_cpu = 'max(slipway_device_hourly_cost{accelerator="cpu", spot="false"})'
    price = story.value("price of the device per hour", price_of_cpu)
    record(story)
    assert awake + asleep == pytest.approx(story.now, rel=0.1)
    assert cost == pytest.approx(awake * price / 3600, rel=0.05)
    assert saved == pytest.approx(asleep * price / 3600, rel=0.05)


def record(story: Story) -> None:
    if not os.environ.get("RECORD_STORY"):
        return
    source = f"{datetime.now(UTC):%Y-%m-%d}, on a machine with {os.cpu_count()} cores that other work shared"
    end = time.time()
    for name, place in DRAWN.items():
        every = [
            each for board in DASHBOARDS for each in filled(board, namespace=story.kube.namespace, llmdeployment=NAME)
        ]
        panel = [each for each in every if each.place.startswith(f"{place} / ")]
        answers.write(story.alerts.own, panel, STORED / f"{name}.json", start=story.began, end=end, source=source)
    told = {"source": source, "facts": story.facts}
    (STORED / STORY).write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n")
