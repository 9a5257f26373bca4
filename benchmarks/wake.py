"""How long a request to a sleeping model waits, and what that time is spent on.

make bench-wake
make bench-wake ARGS="--wakes 30 --bursts 100"

A devcluster with KServe, KEDA and Slipway as pods, and the demo's model on llama.cpp. Before each wake the model is at
zero, without a pod. Steps are timed by watches of the benchmark and by the pod itself, the response by the client.
"""

from __future__ import annotations

import asyncio
import json
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import click
import results
from client import Completion, address_of, complete, node_session
from observer import EVERYTHING, observing
from operator_scale import machine
from own_cluster import own_cluster
from percentiles import percentile
from slipway.kube.connection import load_configuration
from slipway.objects.kinds import DEPLOYMENT, POD
from slipway_devcluster import components, demo, slipway
from slipway_devcluster.cluster import Cluster
from slipway_devcluster.paths import default_cache
from slipway_devcluster.progress import Steps
from wakes.moments import STEPS, Moments
from wakes.timeline import svg

RESULT = results.named("wake")
PICTURE = Path(__file__).parent.parent / "docs" / "images" / "wake.svg"
BODY = {"model": demo.NAME, "prompt": demo.PROMPT, "max_tokens": 16, "temperature": 0, "stream": True}
ACTIVATORS_LOG = ["logs", "--timestamps", "--tail=-1", "--namespace", components.SLIPWAY_NAMESPACE]
ACTIVATORS_LOG += ["--selector", f"app.kubernetes.io/name={slipway.ACTIVATOR}"]
PATIENCE = 600.0
SETTLED = 2.0  # seconds at zero before the next wake
BUDGETS = {
    "asked → scaled, p95": 0.15,
    "ready → first token, p95": 0.15,
    "held → first token, p50": 3.0,
    "held → first token, p95": 4.0,
}


@click.command()
@click.option("--wakes", type=click.IntRange(1, 1000), default=20, show_default=True, help="Wakes by a single request.")
@click.option(
    "--bursts",
    type=click.IntRange(1, 1000),
    multiple=True,
    default=(100, 1000),
    show_default=True,
    help="Wakes by this number of simultaneous requests.",
)
@click.option(
    "--cluster-name", default="wake", show_default=True, help="Name of the devcluster, which is removed at the end."
)
@click.option("--save/--no-save", default=True, show_default=True, help="Write the results and the picture.")
def main(*, wakes: int, bursts: tuple[int, ...], cluster_name: str, save: bool) -> None:
    """Measure wakes. Needs root."""
    found = machine()
    cache = default_cache()
    steps = Steps(cache)
    with own_cluster(cluster_name, cache, steps) as cluster:
        slipway.install(cluster, cache=cache, steps=steps)
        demo.apply(cluster, cache, steps)
        patch = {"spec": {"scaling": {"idleAfter": "10s", "maxReplicas": 1, "hold": {"maxRequests": 2000}}}}
        words = ["patch", "llm", demo.NAME, "-n", demo.NAMESPACE, "--type=merge", "-p", json.dumps(patch)]
        cluster.run_kubectl(words)
        measured = asyncio.run(measure(cluster, wakes, bursts))
    click.echo("\n".join(table(measured)))
    if save:
        write(measured, found)


async def measure(cluster: Cluster, wakes: int, bursts: Sequence[int]) -> dict[str, Any]:
    configuration = await load_configuration(cluster.kubeconfig)
    moments = Moments()
    kinds = {DEPLOYMENT: (EVERYTHING, moments.hear_deployment), POD: (EVERYTHING, moments.hear_pod)}
    url = f"http://{address_of(cluster, demo.NAME, demo.NAMESPACE)}"

    def log() -> Sequence[str]:
        return cluster.run_kubectl(ACTIVATORS_LOG).splitlines()

    async with observing(configuration, kinds, demo.NAMESPACE), node_session(cluster, patience=PATIENCE) as session:
        rows, texts = [], set[str]()
        for number in range(wakes):
            row, answers = await wake(moments, session, url, at_once=1, log=log)
            rows.append(row)
            texts |= {answer.text for answer in answers}
            click.echo(f"wake {number + 1}: {row['whole']:.2f} s")
        burst_rows = []
        for at_once in bursts:
            row, answers = await wake(moments, session, url, at_once=at_once, log=log)
            whole = sorted(answer.first for answer in answers)
            told = {"at once": at_once, "answered": sum(bool(answer.text) for answer in answers), "last": whole[-1]}
            burst_rows.append({**told, "first": whole[0], "scaled": row["told"] + row["scaled"]})
            click.echo(f"{at_once} at once: {told['answered']} answered within {whole[-1]:.1f} s")
        return {"wakes": rows, "texts": sorted(texts), "bursts": burst_rows}


async def wake(
    moments: Moments, session: aiohttp.ClientSession, url: str, *, at_once: int, log: Callable[[], Sequence[str]]
) -> tuple[dict[str, float], list[Completion]]:
    """Wake the model; return the seconds of each step since the one before it, and the completions."""
    await moments.until(moments.asleep, within=PATIENCE)
    await asyncio.sleep(SETTLED)
    moments.at.clear()
    asked = time.monotonic()
    answers = await asyncio.gather(*(complete(session, url, BODY) for _ in range(at_once)))
    await moments.ask_the_pod(session)
    moments.read_the_log(log(), asked)
    return moments.steps(asked, first=min(answer.first for answer in answers)), list(answers)


# --- results ---------------------------------------------------------------------------------------------------------


def table(measured: dict[str, Any]) -> list[str]:
    rows: list[dict[str, float]] = measured["wakes"]
    lines = ["", f"{len(rows)} wakes, seconds               p50      p95"]
    for step, words in {**STEPS, "whole": "held → first token"}.items():
        values = [row[step] for row in rows]
        lines.append(f"{words:45} {percentile(values, 50):8.3f} {percentile(values, 95):8.3f}")
    lines += [f"{each['at once']} at once: {each['answered']} answered" for each in measured["bursts"]]
    lines += [f"different responses: {len(measured['texts'])}", ""]
    lines += [
        f"{name:28} {value:6.3f}   budget {BUDGETS[name]:5.2f}   {'met' if value <= BUDGETS[name] else 'NOT MET'}"
        for name, value in against_budgets(rows).items()
    ]
    return lines


def against_budgets(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    return {
        "asked → scaled, p95": percentile([row["told"] + row["scaled"] for row in rows], 95),
        "ready → first token, p95": percentile([row["answered"] for row in rows], 95),
        "held → first token, p50": percentile([row["whole"] for row in rows], 50),
        "held → first token, p95": percentile([row["whole"] for row in rows], 95),
    }


def write(measured: dict[str, Any], found: dict[str, object]) -> None:
    rows: list[dict[str, float]] = measured["wakes"]
    result = {
        "benchmark": "wake",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", *sys.argv]),
        "machine": found,
        "python": platform.python_version(),
        "budgets": {name: [value, BUDGETS[name]] for name, value in against_budgets(rows).items()},
        **measured,
    }
    results.write(RESULT, result)
    medians = [(words, statistics.median(row[step] for row in rows)) for step, words in STEPS.items()]
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    PICTURE.write_text(svg(f"A request wakes a sleeping model: the median of {len(rows)} wakes", medians))
    click.echo(f"written to {RESULT} and {PICTURE}")


if __name__ == "__main__":
    main()
