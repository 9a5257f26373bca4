"""The metrics for Prometheus: every meter that the documentation names, and no other."""

import asyncio
import re
from pathlib import Path

from kubernetes.aio.client import Configuration
from slipway.activator.activator import Activator as Process
from slipway.activator.keda.calls import KedaCalls
from slipway.activator.metrics import Sources, add_metrics
from slipway.activator.proxy.admission import GlobalLimits
from slipway.activator.proxy.counters import MOST_MODELS, ModelCounters, ProxyCounters
from slipway.activator.proxy.listeners import Listeners
from slipway.activator.shared.by_times import ByTimes
from slipway.activator.shared.demand import Demand, ModelDemand
from slipway.activator.shared.hold_limits import HoldLimits
from slipway.api.model_key import ModelKey
from slipway.process.metrics import MetricsRegistry
from support.fakes.scripted_engine import ScriptedEngine, answering, cutting, echoing, in_turn
from support.programs.activator import LLAMA, activated, ask, refusals
from support.programs.settings import activator_settings

OF_LLAMA = 'namespace="chat",llmdeployment="llama"'
REFERENCE = Path(__file__).parents[3] / "docs/reference/activator.md"


def meter_values(global_limits: GlobalLimits, own: Demand, listeners: Listeners | None = None) -> dict[str, float]:
    registry = MetricsRegistry()
    sources = Sources(
        limits=global_limits,
        own=own,
        calls=KedaCalls(),
        peers=lambda: 1,
        oldest_wait=listeners.oldest_wait if listeners else lambda _: 0.0,
        used_connections=lambda: listeners.used_connections if listeners else 0.0,
    )
    add_metrics(registry, sources)
    lines = registry.page().decode().splitlines()
    values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name.removeprefix("slipway_activator_"): float(value) for name, value in values.items()}


async def test_each_meter_moves_with_what_it_counts(engine: ScriptedEngine) -> None:
    global_limits, held = GlobalLimits(), 'held{namespace="chat",llmdeployment="llama"}'
    async with activated(limits=HoldLimits(max_requests=1, timeout=20), global_limits=global_limits) as activator:
        assert held not in meter_values(global_limits, activator.demand)
        request_task = asyncio.create_task(ask(activator, b"prompt"))
        await activator.until_waiting(1)
        assert (await ask(activator, source="127.0.0.2")).status == 429
        before = meter_values(global_limits, activator.demand, activator.listeners)
        assert 0 < before[f"oldest_hold_seconds{{{OF_LLAMA}}}"] < 10
        assert before[f"hold_seconds_count{{{OF_LLAMA}}}"] == 0
        assert before['used_ratio{limit="requests"}'] == 1 / 4096
        assert 0 < before['used_ratio{limit="connections"}'] < 1
        assert 0 < before['used_ratio{limit="files"}'] < 1
        assert (before[held], before["connections"] >= 1, before["held_bytes"] > 6, before["coming"]) == (
            1,
            True,
            True,
            0,
        )
        assert (before["wakes_total"], before[f'refused_total{{{OF_LLAMA},reason="HoldFull"}}']) == (1, 1)
        engine.script = in_turn(cutting(), answering(b"", status="503 Busy"), echoing())
        activator.ready(engine)
        assert (await request_task).body == b"prompt"
        after = meter_values(global_limits, activator.demand)
        assert held not in after
        assert after[f'hold_seconds_bucket{{{OF_LLAMA},le="1800.0"}}'] == 1
        assert 0 < after[f"hold_seconds_sum{{{OF_LLAMA}}}"] < 10
        assert (after["forwarded_total"], after["retries_total"], after["wakes_total"]) == (1, 2, 1)
    final = meter_values(global_limits, activator.demand)
    assert (final["held_bytes"], final["connections"]) == (0, 0)


async def test_a_deleted_deployment_takes_its_series_with_it() -> None:
    global_limits = GlobalLimits()
    async with activated(limits=HoldLimits(timeout=20), global_limits=global_limits) as activator:
        request_task = asyncio.create_task(ask(activator, b"prompt"))
        await activator.until_waiting(1)
        assert any("llama" in name for name in meter_values(global_limits, activator.demand))
        activator.deployments.forget(LLAMA)
        await request_task
        assert not any("llama" in name for name in meter_values(global_limits, activator.demand))


async def test_a_request_that_a_replica_gets_at_once_is_no_hold(engine: ScriptedEngine) -> None:
    global_limits = GlobalLimits()
    async with activated(global_limits=global_limits) as activator:
        activator.ready(engine)
        assert (await ask(activator)).status == 200
    assert not global_limits.counters.models


async def test_what_happens_after_a_deletion_makes_no_series_of_a_model_that_is_gone() -> None:
    global_limits = GlobalLimits()
    async with activated(limits=HoldLimits(timeout=20), global_limits=global_limits) as activator:
        request_task = asyncio.create_task(ask(activator, b"prompt"))
        await activator.until_waiting(1)
        activator.deployments.forget(LLAMA)
        assert (await request_task).status == 503
    assert not global_limits.counters.models
    assert refusals(global_limits).total() == 1


def test_a_hold_is_counted_in_the_bucket_of_its_length() -> None:
    counters = ModelCounters()
    for seconds in (0.0, 0.1, 0.11, 1800.0, 1801.0):
        counters.count_hold(seconds)
    assert (counters.holds[0], counters.holds[1], counters.holds[-2], counters.holds[-1]) == (2, 1, 1, 1)


def test_ten_thousand_models_that_are_held_once_each_do_not_grow_the_page_without_end() -> None:
    limits = GlobalLimits()
    for number in range(10_000):
        limits.counters.of(ModelKey("hostile", f"model-{number}")).count_hold(1.0)
    values = meter_values(limits, Demand())
    assert len(values) < 20 * MOST_MODELS
    assert len(limits.counters.models) == MOST_MODELS // 2
    assert values['hold_seconds_count{namespace="",llmdeployment=""}'] == values["counted_together_total"] == 9_500
    assert limits.counters.of(ModelKey("chat", "llama")) is not limits.counters.rest


def test_the_place_of_a_deleted_model_is_free_again() -> None:
    counters = ProxyCounters()
    for number in range(10_000):
        key = ModelKey("chat", f"model-{number}")
        assert counters.of(key) is not counters.rest
        counters.forget(key)
    assert not counters.models


def test_deployments_without_waiting_requests_have_no_series() -> None:
    own = Demand()
    for each in range(1_000):
        own.report(ModelKey("team", f"llama-{each}"), ModelDemand(active=True, waiting=each == 7, target_per_replica=1))
    assert [name for name in meter_values(GlobalLimits(), own) if "llama" in name] == [
        'held{namespace="team",llmdeployment="llama-7"}',
        'oldest_hold_seconds{namespace="team",llmdeployment="llama-7"}',
    ]


async def test_the_documentation_names_each_meter_of_the_program_and_no_other() -> None:
    program = Process(activator_settings(), Configuration(host="https://192.0.2.1"))
    exposed = set(re.findall(r"^# TYPE (\S+)", program._metrics.page().decode(), re.MULTILINE))
    named = set(re.findall(r"^\| `(slipway_\w+)`", REFERENCE.read_text(), re.MULTILINE))
    assert {name for name in exposed if not name.endswith("_created")} == named
    await program._connection.close()


def test_what_is_followed_is_shown_while_it_is_measured() -> None:
    own, key = Demand(), ModelKey("chat", "llama")
    demand = ModelDemand(
        active=True, waiting=0, target_per_replica=8, by_times=ByTimes(3, follows="ttft", seconds=0.8, target=0.5)
    )
    own.report(key, demand)
    values = meter_values(GlobalLimits(), own)
    assert values[f"wanted_replicas{{{OF_LLAMA}}}"] == 3
    assert values[f'followed_seconds{{{OF_LLAMA},target="ttftP95"}}'] == 0.8
    own.report(key, demand._replace(by_times=ByTimes(3)))
    assert not [name for name in meter_values(GlobalLimits(), own) if name.startswith("followed_seconds")]
    own.report(key, demand._replace(by_times=None))
    assert not [name for name in meter_values(GlobalLimits(), own) if name.startswith("wanted_replicas")]
