"""Slipway and KEDA's HTTP add-on side by side: one machine, one cluster, one model.

make bench-peers
make bench-peers ARGS="--wakes 20 --requests 1000"

A devcluster with KServe, KEDA, Slipway as pods, and the add-on as its own manifests say. First requests to one and the
same warm replica in turns: by a Service that leads straight to it, by Slipway's, and through the add-on's interceptor.
Then wakes in turns: Slipway's model, and a plain Deployment of the very same pod behind the add-on. Before each pair of
wakes neither side has a pod. An answer that did not come by the way that is measured counts as lost, and so does one
that is not whole.
"""

from __future__ import annotations

import asyncio
import json
import platform
import shlex
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import click
from asking import NotAnsweredError, address_of, ask, client
from operator_scale import machine
from own_cluster import own_cluster
from sides.figures import Line, Wakes, different_texts, wakes_table, warm_table
from sides.objects import COOLDOWN, POLLING, Object, plain_deployment, route, scaled_object, service
from sides.ways import HELD_BY_ADD_ON, HELD_BY_SLIPWAY, STRAIGHT, THROUGH_ADD_ON, Way
from slipway.kube.connection import load_configuration
from slipway.kube.kinds import DEPLOYMENT, POD
from slipway_devcluster import demo, http_add_on, model, slipway
from slipway_devcluster.cluster import Cluster
from slipway_devcluster.paths import default_cache
from slipway_devcluster.programs import UPSTREAMS
from slipway_devcluster.progress import Steps
from wakes.moments import Moments
from watching import EVERYTHING, watching

RESULT = Path(__file__).parent / "results" / "peers.json"
SLIPWAY, ADD_ON = "Slipway", "KEDA's HTTP add-on"
PLAIN = "plain"  # the namespace of the side that Slipway has no part in
STRAIGHT_SERVICE, WARM_HOST = "straight", "warm.example.com"
OF_THE_MODEL = {"slipway.dev/llmdeployment": demo.NAME}
ENGINE_PORT, AT_ONCE = 8080, 4  # as in the sample
COMPLETION = {"model": demo.NAME, "temperature": 0, "stream": True}
WAKING = {**COMPLETION, "prompt": demo.PROMPT, "max_tokens": 16}
WARM = {**COMPLETION, "prompt": "Hi", "max_tokens": 1}
PATIENCE = 120.0
SETTLED = 2.0  # seconds, after which the next wake begins
NOT_COUNTED = 10  # requests of each way, before those that count
LOST = (aiohttp.ClientError, TimeoutError, NotAnsweredError)


@dataclass
class Side:
    name: str
    way: Way
    moments: Moments = field(default_factory=Moments)
    wakes: Wakes = field(default_factory=Wakes)


@click.command()
@click.option("--wakes", type=click.IntRange(1, 1000), default=10, show_default=True, help="Wakes of each side.")
@click.option("--requests", type=click.IntRange(1), default=300, show_default=True, help="Warm ones by each way.")
@click.option("--rate", type=float, default=10.0, show_default=True, help="Of these a second, by each way.")
@click.option("--cluster-name", default="peers", show_default=True, help="The devcluster to make, and to remove.")
@click.option("--save/--no-save", default=True, show_default=True, help="Write the results.")
def main(*, wakes: int, requests: int, rate: float, cluster_name: str, save: bool) -> None:
    """Measure Slipway beside KEDA's HTTP add-on. Needs root."""
    found = machine()
    cache = default_cache()
    steps = Steps(cache)
    with own_cluster(cluster_name, cache, steps) as cluster:
        slipway.install(cluster, cache=cache, steps=steps)
        http_add_on.install(cluster, cache=cache, steps=steps)
        demo.apply(cluster, cache, steps)
        weights = model.ensure_gguf(cache, steps)
        lines, sides = asyncio.run(measure(cluster, weights, wakes=wakes, requests=requests, rate=rate))
    click.echo("\n".join(["", *wakes_table(sides), "", *warm_table(lines), ""]))
    differ = different_texts(sides.values()), different_texts(lines.values())
    click.echo(f"different texts among the answers of wakes: {differ[0]}, of warm requests: {differ[1]}")
    if save:
        write(sides, lines, found, rate)


async def measure(
    cluster: Cluster, weights: Path, *, wakes: int, requests: int, rate: float
) -> tuple[dict[str, Line], dict[str, Wakes]]:
    pod = await one_pod(cluster)
    apply(cluster, for_warm_requests())
    lines = await warm(cluster, requests, rate)
    apply(cluster, the_plain_side(pod, weights))
    let_slipways_sleep_soon(cluster)
    for kind in ("interceptorroute", "scaledobject"):
        cluster.run_kubectl(["wait", "-n", PLAIN, "--for=condition=Ready", "--timeout=60s", f"{kind}/{demo.NAME}"])
    return lines, await in_turns(cluster, wakes)


# --- what is in the cluster ------------------------------------------------------------------------------------------


async def one_pod(cluster: Cluster) -> Object:
    """The model's, woken by a request."""
    async with client(cluster, patience=PATIENCE) as session:
        await until_it_leads_there(session, Way(SLIPWAY, slipways_url(cluster), HELD_BY_SLIPWAY))
    label = ",".join(f"{name}={value}" for name, value in OF_THE_MODEL.items())
    found = json.loads(cluster.run_kubectl(["get", "pods", "-n", demo.NAMESPACE, "-l", label, "-o", "json"]))
    [pod] = found["items"]
    return dict(pod)


def for_warm_requests() -> list[Object]:
    """Two more ways to the pod of the model: a Service that Slipway has no part in, and the add-on's."""
    return [
        service(STRAIGHT_SERVICE, demo.NAMESPACE, OF_THE_MODEL, port=ENGINE_PORT),
        route(STRAIGHT_SERVICE, demo.NAMESPACE, host=WARM_HOST, at_once=AT_ONCE),
    ]


def the_plain_side(pod: Object, weights: Path) -> list[Object]:
    deployment = plain_deployment(demo.NAME, PLAIN, pod)
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": PLAIN}},
        *model.persistent_volume(demo.NAME, weights, PLAIN),
        deployment,
        service(demo.NAME, PLAIN, deployment["spec"]["selector"]["matchLabels"], port=ENGINE_PORT),
        route(demo.NAME, PLAIN, host=host_of(PLAIN), at_once=AT_ONCE),
        scaled_object(demo.NAME, PLAIN),
    ]


def let_slipways_sleep_soon(cluster: Cluster) -> None:
    patch = {"spec": {"scaling": {"idleAfter": f"{COOLDOWN}s", "maxReplicas": 1}}}
    cluster.run_kubectl(["patch", "llm", demo.NAME, "-n", demo.NAMESPACE, "--type=merge", "-p", json.dumps(patch)])


def host_of(namespace: str) -> str:
    return f"{demo.NAME}.{namespace}.example.com"


def apply(cluster: Cluster, objects: list[Object]) -> None:
    listed = {"apiVersion": "v1", "kind": "List", "items": objects}
    cluster.run_kubectl(["apply", "--server-side", "-f", "-"], json.dumps(listed).encode())


def slipways_url(cluster: Cluster) -> str:
    return f"http://{address_of(cluster, demo.NAME, demo.NAMESPACE)}"


def interceptors_url(cluster: Cluster) -> str:
    return f"http://{address_of(cluster, http_add_on.INTERCEPTOR, http_add_on.NAMESPACE)}:8080"


# --- warm ------------------------------------------------------------------------------------------------------------


async def warm(cluster: Cluster, requests: int, rate: float) -> dict[str, Line]:
    """By each way in turn, one request at a time, over connections that stay open."""
    straight = f"http://{address_of(cluster, STRAIGHT_SERVICE, demo.NAMESPACE)}"
    ways = [
        Way("its own Service", straight, STRAIGHT),
        Way(SLIPWAY, slipways_url(cluster), STRAIGHT),
        Way(ADD_ON, interceptors_url(cluster), THROUGH_ADD_ON, host=WARM_HOST),
    ]
    async with client(cluster, patience=PATIENCE, keep_alive=True) as session:
        for way in ways:
            await until_it_leads_there(session, way)
        await rounds(session, ways, NOT_COUNTED, rate)
        return await rounds(session, ways, requests, rate)


async def until_it_leads_there(session: aiohttp.ClientSession, way: Way) -> None:
    """kube-proxy hears of a Service and of its replicas a moment later than others."""
    async with asyncio.timeout(PATIENCE):
        while True:
            with suppress(*LOST):
                way.confirm(await ask(session, way.url, WARM, host=way.host))
                return
            await asyncio.sleep(0.1)


async def rounds(session: aiohttp.ClientSession, ways: Sequence[Way], number: int, rate: float) -> dict[str, Line]:
    """Another way is the first in each round."""
    lines = {way.name: Line() for way in ways}
    due = time.monotonic()
    for each in range(number):
        for place in range(len(ways)):
            way = ways[(each + place) % len(ways)]
            try:
                answer = way.confirm(await ask(session, way.url, WARM, host=way.host))
                lines[way.name].latencies.append(answer.first)
                lines[way.name].note(answer.text)
            except LOST as error:
                lines[way.name].lost.append(repr(error))
            due = max(due + 1 / rate / len(ways), time.monotonic())
            await asyncio.sleep(due - time.monotonic())
    return lines


# --- wakes -----------------------------------------------------------------------------------------------------------


async def in_turns(cluster: Cluster, wakes: int) -> dict[str, Wakes]:
    """The first wake of each side does not count: Slipway's gave the pod, the add-on's comes before the others."""
    configuration = await load_configuration(cluster.kubeconfig)
    ours = Side(SLIPWAY, Way(SLIPWAY, slipways_url(cluster), HELD_BY_SLIPWAY))
    add_on = Side(ADD_ON, Way(ADD_ON, interceptors_url(cluster), HELD_BY_ADD_ON, host=host_of(PLAIN)))
    async with (
        watching(configuration, heard_by(ours), demo.NAMESPACE),
        watching(configuration, heard_by(add_on), PLAIN),
        client(cluster, patience=PATIENCE) as session,
    ):
        await add_on.moments.until(add_on.moments.asleep, within=PATIENCE)
        await wake(add_on, session)
        add_on.wakes = Wakes()
        for number in range(wakes):
            for side in (ours, add_on):
                await side.moments.until(side.moments.asleep, within=PATIENCE)
            for side in (ours, add_on) if number % 2 else (add_on, ours):
                await wake(side, session)
    return {side.name: side.wakes for side in (ours, add_on)}


def heard_by(side: Side) -> dict[Any, Any]:
    return {DEPLOYMENT: (EVERYTHING, side.moments.hear_deployment), POD: (EVERYTHING, side.moments.hear_pod)}


async def wake(side: Side, session: aiohttp.ClientSession) -> None:
    await asyncio.sleep(SETTLED)
    if not side.moments.asleep():
        raise RuntimeError(f"{side.name} has woken by itself")
    side.moments.at.clear()
    asked = time.monotonic()
    try:
        answer = side.way.confirm(await ask(session, side.way.url, WAKING, host=side.way.host))
    except LOST as error:
        side.wakes.lost.append(repr(error))
        click.echo(f"{side.name}: lost, {error!r}")
        return
    await side.moments.ask_the_pod(session)
    side.wakes.rows.append(side.moments.steps(asked, first=answer.first))
    side.wakes.note(answer.text)
    click.echo(f"{side.name}: {answer.first:.2f} s")


# --- what came of it -------------------------------------------------------------------------------------------------


def write(sides: dict[str, Wakes], lines: dict[str, Line], found: dict[str, object], rate: float) -> None:
    versions = {name: UPSTREAMS[name].version for name in ("kubernetes", "kserve", "keda", "http-add-on")}
    result = {
        "benchmark": "peers",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", *sys.argv]),
        "machine": found,
        "versions": {"python": platform.python_version(), **versions},
        "settings": {
            "idle_after_seconds": COOLDOWN,
            "polling_interval_seconds": POLLING,
            "warm_requests_a_second_by_each_way": rate,
        },
        "wakes": {name: asdict(side) for name, side in sides.items()},
        "warm": {name: asdict(line) for name, line in lines.items()},
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    click.echo(f"written to {RESULT}")


if __name__ == "__main__":
    main()
