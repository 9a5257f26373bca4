"""The longest step of the operator's event loop while it does its largest pieces of work: nothing else happens in it.

    PYTHONPATH=tests python benchmarks/operator_steps.py

Each is done in the way that the operator does it, and for comparison in the event loop alone: a list of pods is parsed,
and the nodes of all profiles of the chart are counted. Times are those of the process on its processors, all threads
together, so that other load doesn't count. The page of metrics is written, and sent to a client, only as the operator
does it.
"""

from __future__ import annotations

import asyncio
import gc
import json
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

import click
from aiohttp import ClientSession
from percentiles import percentile
from slipway.api.model_key import ModelKey
from slipway.kube import large_json
from slipway.observing.figures import figures_of
from slipway.operator.reconciling import supply
from slipway.operator.reconciling.metrics import OperatorMetrics
from slipway.operator.reconciling.model_counts import ModelCounts
from slipway.operator.reconciling.model_metrics import Seen
from slipway.operator.reconciling.supply import SupplyCache
from slipway.process.management import ManagementPort
from slipway.process.metrics import MetricsRegistry
from support.builders.nodes import look_alike
from support.builders.rendering import shipped_profiles

LARGE = supply.LARGE
MODELS = ("h100:8", "a100:8", "l4:4", "t4:4", "mi300x:8", "gaudi3:8")


class Steps:
    """Notes the longest time between two turns of a task that always wants one."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def watch(self) -> None:
        last = time.process_time()
        while True:
            await asyncio.sleep(0)
            now = time.process_time()
            self.longest, last = max(self.longest, now - last), now


async def longest_step(work: Callable[[], Awaitable[object]]) -> float:
    """In seconds."""
    steps = Steps()
    watching = asyncio.create_task(steps.watch())
    await asyncio.sleep(0.02)
    steps.longest = 0.0
    await work()
    await asyncio.sleep(0)  # it notes the step that has just ended
    watching.cancel()
    with suppress(asyncio.CancelledError):
        await watching
    return steps.longest


def a_list(size: int) -> bytes:
    """Of pods, in JSON."""
    variables = [{"name": f"NAME_{number}", "value": "x" * 30} for number in range(20)]
    resources = {"requests": {"cpu": "1", "memory": "1Gi"}}
    container: dict[str, Any] = {"name": "c", "resources": resources, "env": variables}
    metadata = {"name": "p", "labels": {f"l{number}": "v" * 20 for number in range(8)}}
    pod = {"metadata": metadata, "spec": {"containers": [container, container]}, "status": {"phase": "Running"}}
    return json.dumps({"items": [pod] * (size // len(json.dumps(pod)))}).encode()


def nodes(number: int) -> dict[str, Any]:
    """Of some accelerators each, as many of one as of another."""
    share = number // len(MODELS) + 1
    made = look_alike(",".join(f"{share}x{each}" for each in MODELS))[:number]
    return {each["metadata"]["name"]: each for each in made}


async def counting(there: dict[str, Any], *, in_loop: bool) -> float:
    found, is_filled = shipped_profiles(), [False]
    supply.LARGE = 10**12 if in_loop else LARGE
    cache = SupplyCache(
        node=there.get, profiles=lambda: found, on_change=lambda _: None, is_filled=lambda: is_filled[0]
    )
    for name in there:
        cache.node_changed(name)

    async def count() -> None:
        is_filled[0] = True
        await cache.settle()

    return await longest_step(count)


def an_llm_deployment(number: int) -> dict[str, Any]:
    """That serves, with a plan, objectives and a cold start in its status."""
    conditions = [{"type": each, "status": "True"} for each in ("Ready", "Planned", "ModelLoaded", "Reachable")]
    slo = {"ttftP95": "500ms", "tpotP95": "50ms", "e2eP99": "30s", "availability": "99.5%", "window": "168h"}
    status = {
        "state": "Serving",
        "conditions": [*conditions, {"type": "Scaled", "status": "False", "reason": "Scaling"}],
        "replicas": {"desired": 2, "ready": 1, "warmingUp": 1},
        "plan": {
            "accelerator": "h200",
            "gpusPerReplica": 1,
            "maxConcurrency": 64,
            "expected": {"tokensPerSecond": 812.5},
        },
        "lastColdStart": {"schedule": "1s", "pull": "3s", "start": "2s", "ready": "31s", "pod": "llama-predictor-1"},
    }
    metadata = {"name": f"llama-3-1-8b-instruct-{number}", "namespace": f"team-{number % 100}"}
    return {"metadata": metadata, "spec": {"model": {"uri": "hf://llama"}, "slo": slo}, "status": status}


def page_of(number: int) -> MetricsRegistry:
    """The metrics of that many LLMDeployments."""
    objects = [an_llm_deployment(each) for each in range(number)]
    seen = [Seen(ModelKey.of(each), figures_of(each), ModelCounts()) for each in objects]
    registry = MetricsRegistry("slipway")
    OperatorMetrics(registry).watch_each_model(lambda: seen)
    return registry


async def scraped(registry: MetricsRegistry) -> float:
    """By a client in this process, whose own steps count, too."""
    async with ManagementPort(metrics=registry, live={}, ready={}, port=0, host="127.0.0.1").served() as port:

        async def scrape() -> None:
            async with ClientSession() as session, session.get(f"http://127.0.0.1:{port}/metrics") as response:
                async for _ in response.content.iter_any():
                    pass

        return await longest_step(scrape)


async def measure(runs: int, size: int, number: int, models: int) -> None:
    text, there, metrics = a_list(size), nodes(number), page_of(models)
    gc.collect()
    gc.freeze()  # as the operator does, once its caches are filled

    async def in_loop() -> object:
        return json.loads(text)

    of_list = f"a list of {len(text) / 2**20:.1f} MiB"
    page = metrics.page()
    lines = page.count(b"\n")
    of_models = f"{len(page) / 1e6:.1f} MB of metrics, {lines:,} lines"
    of_nodes = f"{len(shipped_profiles())} profiles on {len(there)} nodes"
    found: dict[str, list[float]] = {}
    for _ in range(runs):
        for name, step in (
            (f"{of_list}, parsed in the loop", longest_step(in_loop)),
            (f"{of_list}, in a thread", longest_step(partial(asyncio.to_thread, json.loads, text))),
            (f"{of_list}, as the operator does it", longest_step(partial(large_json.loads, text))),
            (f"{of_nodes}, counted in the loop", counting(there, in_loop=True)),
            (f"{of_nodes}, as the operator does it", counting(there, in_loop=False)),
            (f"{of_models}, scraped", scraped(metrics)),
        ):
            found.setdefault(name, []).append(await step)
    for name, longest in found.items():
        click.echo(f"{name:52} p50 {percentile(longest, 50) * 1e3:6.1f} ms, most {max(longest) * 1e3:6.1f} ms")


@click.command(help=__doc__)
@click.option("--runs", default=20, show_default=True)
@click.option("--size", default=4 << 20, show_default=True, help="bytes of the list")
@click.option("--number", default=5000, show_default=True, help="nodes")
@click.option("--models", default=10_000, show_default=True, help="LLMDeployments with metrics")
def main(runs: int, size: int, number: int, models: int) -> None:
    asyncio.run(measure(runs, size, number, models))


if __name__ == "__main__":
    main()
