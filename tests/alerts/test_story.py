"""A load, a fault and an hour of idling, as a person would tell them: metrics, cost and alerts say the same.

Prometheus scrapes and evaluates as often as the chart says, and the alerts have their default thresholds. `make story`
runs it; `--idle-minutes` makes it shorter. `RECORD_STORY=1` stores what Prometheus answered in docs/images/monitoring/,
from which `make pictures` draws the pictures and the tables of docs/monitoring.md.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import time
from collections.abc import AsyncIterator, Iterator
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
from support.builders.llmdeployments import GEMMA_CLAIM, acceleratorprofile
from support.builders.objects import Object
from support.charts.helm import rendered
from support.cluster import Kube, Settings, folder_claimed, own_namespace
from support.load.watched_models import EMPTY_CLAIM, NAME, Clients, sleeping
from support.monitoring import answers
from support.monitoring.firing import Firing
from support.monitoring.on_cluster import ClusterMonitoring

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(5400, func_only=True)]

STORED = Path(__file__).parents[2] / "docs/images/monitoring"
DRAWN = {
    "requests": "Slipway: one model / Where requests are",
    "steps": "Slipway: one model / How long each step takes (p95)",
    "replicas": "Slipway: one model / Replicas",
    "cost": "Slipway: cost / Cost per hour",
}
"""Pictures of the documentation, and the panels that they show."""

NAMESPACE = "demo"
LOADED = 4 * 60.0
RATED = 300.0  # the seconds over which rates are computed: longer than the load
AT_ONCE = 6
PRICE = 0.36  # per hour
PROFILE = acceleratorprofile(
    "demo-cpu",
    {"vendor": "CPU", "resource": {"name": "cpu", "count": 1}, "memory": "16Gi", "costPerHour": PRICE},
)
"""One core, at a price of its own: that of the chart's profile is for tests of budgets."""

OF_THE_STORY = {
    *("SlipwayTTFTBudgetBurning", "SlipwayAvailabilityBudgetBurning"),
    *("SlipwayModelFailed", "SlipwayModelLoadFailing", "SlipwayWakeFailing"),
}
OF_SLOW_MACHINES = {"SlipwayTPOTBudgetBurning", "SlipwayE2EBudgetBurning"}
"""Six requests at a time in two places miss the time to the first token anywhere; the others depend on the machine."""

PATIENCE = 300.0  # on a machine with other work
RETRIES_AFTER = 10.0
"""Seconds until a client that was refused asks again."""

SETTLED = 5 * 60.0
"""Seconds at the start of the idle time: the model may be about to sleep, and rates may have the last request."""

STEP = 15
"""Seconds between two points of a picture."""


@dataclass(frozen=True)
class Spell:
    """One time that an alert fired: seconds since the start of the story. `end` is None while it fires."""

    alert: str
    severity: str
    start: float
    end: float | None


@dataclass
class Story:
    """What happened so far, with the seconds since its start."""

    alerts: ClusterMonitoring
    kube: Kube
    clients: Clients
    began: float
    facts: list[dict[str, object]] = field(default_factory=list)
    failing: Firing | None = None
    idle_from: float = 0.0

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

    def fired(self) -> list[Spell]:
        """Returns the alerts about the model so far, in their order."""
        found = self.alerts.own.ask(
            "query_range",
            query=FIRED.replace("$namespace", self.kube.namespace),
            start=str(self.began),
            end=str(time.time()),
            step=f"{STEP}s",
        )["result"]
        return sorted((each for series in found for each in self._spells(series)), key=lambda spell: spell.start)

    def _spells(self, series: Object) -> Iterator[Spell]:
        labels = series["metric"]
        times = [float(at) - self.began for at, _ in series["values"]]
        starts = [at for before, at in zip([-math.inf, *times], times, strict=False) if at - before > STEP * 1.5]
        for start, after in zip(starts, [*starts[1:], math.inf], strict=True):
            last = max(at for at in times if at < after)
            over = self.now - last > STEP * 3
            yield Spell(labels["alertname"], labels["severity"], start, last if over else None)

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
FIRED = f'ALERTS{{{OURS}, alertstate="firing"}}'


def default_rules() -> dict[str, Object]:
    """Returns the rules of the chart as they are unless someone changes its values."""
    values = {"monitoring": {"rules": {"enabled": True}}}
    return {
        f"{each['metadata']['name']}.yaml": each["spec"]
        for each in rendered("slipway", values)
        if each["kind"] == "PrometheusRule"
    }


@pytest.fixture(scope="module")
def idles_for(pytestconfig: pytest.Config) -> float:
    minutes: float = pytestconfig.getoption("idle_minutes")
    return minutes * 60


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def story(
    node: Cluster, alerts: ClusterMonitoring, settings: Settings, empty_folder: Path
) -> AsyncIterator[Story]:
    async with own_namespace(alerts.kube, NAMESPACE) as kube:
        weights = model.ensure_gguf(settings.cache, settings.steps)
        async with folder_claimed(kube, GEMMA_CLAIM, weights), folder_claimed(kube, EMPTY_CLAIM, empty_folder):
            await kube.apply(PROFILE)
            began = time.time()
            await kube.apply(sleeping(scaling={"idleAfter": "1m"}, accelerator={"profiles": ["demo-cpu"]}))
            await kube.wait_for_condition("scaledobject", NAME, "Ready", timeout=PATIENCE)
            await alerts.follow_by(default_rules())
            yield Story(alerts, kube, Clients(kube, node.entered), began)
            await kube.delete("llmdeployment", NAME, wait=True)
            await kube.delete("acceleratorprofile", "demo-cpu")


async def test_a_request_wakes_the_sleeping_model(story: Story) -> None:
    await story.until(f'slipway:replicas{{{OURS}, kind="ready"}} == 0', within=PATIENCE)
    assert await story.clients.ask() == "answered"
    await story.until(f'slipway:cold_start_seconds{{{OURS}, phase="total"}} > 0', within=PATIENCE)
    took = story.value("the cold start took, in seconds", f'slipway:cold_start_seconds{{{OURS}, phase="total"}}')
    assert 0 < took < PATIENCE


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
    outcomes = await load
    assert rate * RATED == pytest.approx(outcomes["answered"], rel=0.35), outcomes


async def test_without_requests_it_sleeps_and_costs_nothing(story: Story) -> None:
    await story.until(f'slipway:replicas{{{OURS}, kind="ready"}} == 0', within=PATIENCE)
    await story.until(f"slipway:cost:per_hour{{{OURS}}} == 0", within=PATIENCE)
    story.value("asleep, it costs per hour", f"slipway:cost:per_hour{{{OURS}}}")


async def test_a_fault_is_reported_to_clients_and_by_an_alert(story: Story) -> None:
    """The model's files are no longer where the spec says, and the next request finds out. Its client tries again."""
    story.failing = story.alerts.expects(
        "SlipwayModelFailed",
        cause="the folder of the model's files is empty",
        remedy="spec.model.uri names the right folder again",
        namespace=story.kube.namespace,
        llmdeployment=NAME,
    )
    await story.use(EMPTY_CLAIM)
    assert "ModelNotFound" in await story.clients.ask()
    client = asyncio.create_task(asks_again(story.clients))
    try:
        fired = await story.failing.fires(within=PATIENCE)
        assert not client.done(), client.exception()
    finally:
        client.cancel()
    assert NAME in fired.annotations["summary"]
    was_failed = f'max(max_over_time(slipway_llmdeployment_state{{{OURS}, state="Failed"}}[2m]))'
    assert story.value("the model was Failed in the last two minutes: 1 is yes", was_failed) == 1


async def asks_again(clients: Clients) -> None:
    while True:
        assert "ModelNotFound" in await clients.ask()
        await asyncio.sleep(RETRIES_AFTER)


async def test_after_the_remedy_it_answers_and_the_alert_resolves(story: Story) -> None:
    assert story.failing
    await story.use(GEMMA_CLAIM)
    await story.until(f'slipway_llmdeployment_state{{{OURS}, state="Idle"}}', within=PATIENCE)
    assert await story.clients.ask() == "answered"
    story.idle_from = story.now
    await story.failing.resolves(within=PATIENCE)


async def test_while_no_one_needs_it_it_sleeps_and_costs_nothing(story: Story, idles_for: float) -> None:
    await story.until(f'slipway:replicas{{{OURS}, kind="ready"}} == 0', within=PATIENCE)
    await asyncio.sleep(story.idle_from + idles_for - story.now)
    quiet = f"[{idles_for - SETTLED:.0f}s]"
    ready = f'max_over_time(slipway:replicas{{{OURS}, kind="ready"}}{quiet})'
    assert story.value("replicas were ready, at most, while no one needed it", f"max({ready})") == 0
    spent = f"sum(delta(slipway:cost:total{{{OURS}}}{quiet}))"
    assert story.value("cost of that time", spent) == 0
    saved = story.value("saved by sleeping in that time", f"sum(delta(slipway:saved_cost:total{{{OURS}}}{quiet}))")
    assert saved == pytest.approx((idles_for - SETTLED) / 3600 * PRICE, rel=0.1)


async def test_the_account_of_the_whole_time_adds_up(story: Story) -> None:
    """Seconds awake and asleep are those of the clock, and the cost is the price of those awake."""
    awake = story.value("seconds with a device", f"sum(slipway:device_seconds:total{{{OURS}}})")
    asleep = story.value("seconds asleep", f"sum(slipway:asleep_device_seconds:total{{{OURS}}})")
    cost = story.value("cost", f"sum(slipway:cost:total{{{OURS}}})")
    saved = story.value("saved by sleeping", f"sum(slipway:saved_cost:total{{{OURS}}})")
    price_of_cpu = 'max(slipway_device_hourly_cost{accelerator="demo-cpu", spot="false"})'
    price = story.value("price of the device per hour", price_of_cpu)
    record(story)
    assert awake + asleep == pytest.approx(story.now, rel=0.1)
    assert cost == pytest.approx(awake * price / 3600, rel=0.05)
    assert saved == pytest.approx(asleep * price / 3600, rel=0.05)


async def test_the_alerts_are_those_that_a_person_would_have_raised(story: Story) -> None:
    """The load misses its objectives, and the fault makes the model fail; idling is nothing to be alerted of. A slow
    burn is about the last hours, which had the load."""
    names = {each.alert for each in story.fired()}
    assert names - OF_SLOW_MACHINES == OF_THE_STORY
    late = [each for each in story.fired() if each.start > story.idle_from + SETTLED]
    assert all(each.alert.endswith("BudgetBurning") for each in late), late


async def test_after_the_idle_time_a_request_wakes_it_again(story: Story) -> None:
    assert await story.clients.ask() == "answered"


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
        file = STORED / f"{name}.json"
        answers.write(story.alerts.own, panel, file, start=story.began, end=end, source=source, step=STEP)
    alerts = [
        {"alert": each.alert, "severity": each.severity, "from": minute(each.start), "to": minute(each.end)}
        for each in story.fired()
    ]
    told = {"source": source, "facts": story.facts, "alerts": {"query": FIRED, "fired": alerts}}
    (STORED / STORY).write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n")


def minute(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds / 60, 1)
