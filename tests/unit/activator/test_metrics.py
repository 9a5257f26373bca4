"""The metrics for Prometheus: every meter that the documentation names, and no other."""

import asyncio
import re
from pathlib import Path

from kubernetes.aio.client import Configuration
from prometheus_client import CollectorRegistry, generate_latest
from slipway.activator.activator import Activator as Process
from slipway.activator.metrics import ActivatorMetrics
from slipway.activator.proxy.admission import GlobalLimits
from slipway.activator.shared.demand import Demand, ModelDemand
from slipway.activator.shared.hold_limits import HoldLimits
from slipway.api.model_key import ModelKey
from support.fakes.scripted_engine import ScriptedEngine, answering, cutting, echoing, in_turn
from support.programs.activator import LLAMA, activated, ask
from support.programs.settings import activator_settings

REFERENCE = Path(__file__).parents[3] / "docs/reference/activator.md"


def meter_values(global_limits: GlobalLimits, own: Demand) -> dict[str, float]:
    registry = CollectorRegistry()
    registry.register(
        ActivatorMetrics(global_limits, own, connections=lambda: global_limits.counters.connections, peers=lambda: 1)
    )
    lines = generate_latest(registry).decode().splitlines()
    values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name.removeprefix("slipway_activator_"): float(value) for name, value in values.items()}


async def test_each_meter_moves_with_what_it_counts(engine: ScriptedEngine) -> None:
    global_limits, held = GlobalLimits(), 'held{name="llama",namespace="chat"}'
    async with activated(limits=HoldLimits(max_requests=1, timeout=20), global_limits=global_limits) as activator:
        assert held not in meter_values(global_limits, activator.demand)
        request_task = asyncio.create_task(ask(activator, b"prompt"))
        await activator.until_waiting(1)
        assert (await ask(activator, source="127.0.0.2")).status == 429
        before = meter_values(global_limits, activator.demand)
        assert (before[held], before["connections"] >= 1, before["held_bytes"] > 6, before["coming"]) == (
            1,
            True,
            True,
            0,
        )
        assert (before["wakes_total"], before['refused_total{reason="HoldFull"}']) == (1, 1)
        engine.script = in_turn(cutting(), answering(b"", status="503 Busy"), echoing())
        activator.ready(engine)
        assert (await request_task).body == b"prompt"
        after = meter_values(global_limits, activator.demand)
        assert held not in after
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


def test_deployments_without_waiting_requests_have_no_series() -> None:
    own = Demand()
    for each in range(1_000):
        own.report(ModelKey("team", f"llama-{each}"), ModelDemand(active=True, waiting=each == 7, target_per_replica=1))
    assert [name for name in meter_values(GlobalLimits(), own) if "llama" in name] == [
        'held{name="llama-7",namespace="team"}'
    ]


async def test_the_documentation_names_each_meter_of_the_program_and_no_other() -> None:
    program = Process(activator_settings(), Configuration(host="https://192.0.2.1"))
    exposed = set(re.findall(r"^# TYPE (\S+)", program._metrics.page().decode(), re.MULTILINE))
    named = set(re.findall(r"^\| `(slipway_\w+)`", REFERENCE.read_text(), re.MULTILINE))
    assert {name for name in exposed if not name.endswith("_created")} == named
    await program._connection.close()
