"""Slipway and KEDA's HTTP add-on side by side: one machine, one cluster, one model.

make bench-peers
make bench-peers ARGS="--wakes 20 --requests 1000"

A devcluster with KServe, KEDA, Slipway as pods, and the add-on as its own manifests say. First requests to one and the
same warm replica, round-robin: by a Service directly to it, by Slipway's Service, and through the add-on's interceptor.
Then wakes, alternately: Slipway's model, and a plain Deployment of the same pod behind the add-on. Before each pair of
wakes, neither contender has a pod. A response that took another route than the measured one counts as lost, and so does
one that is incomplete.
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
import results
from client import NoCompletionError, address_of, complete, node_session
from comparison.endpoints import HELD_BY_ADD_ON, HELD_BY_SLIPWAY, STRAIGHT, THROUGH_ADD_ON, Endpoint
from comparison.figures import Wakes, WarmRequests, different_texts, wakes_table, warm_table
from comparison.objects import COOLDOWN, POLLING, Object, plain_deployment, route, scaled_object, service
from observer import EVERYTHING, observing
from operator_scale import machine
from own_cluster import own_cluster
from slipway.kube.connection import load_configuration
from slipway.objects.kinds import DEPLOYMENT, POD
from slipway_devcluster import demo, http_add_on, model, slipway
from slipway_devcluster.cluster import Cluster
from slipway_devcluster.paths import default_cache
from slipway_devcluster.programs import UPSTREAMS
from slipway_devcluster.progress import Steps
from wakes.moments import Moments

RESULT = results.named("peers")
SLIPWAY, ADD_ON = "Slipway", "KEDA's HTTP add-on"
PLAIN = "plain"  # the namespace of the add-on's model, without Slipway
STRAIGHT_SERVICE, WARM_HOST = "straight", "warm.example.com"
OF_THE_MODEL = {"slipway.dev/llmdeployment": demo.NAME}
ENGINE_PORT, AT_ONCE = 8080, 4  # as in the sample
COMPLETION = {"model": demo.NAME, "temperature": 0, "stream": True}
WAKING = {**COMPLETION, "prompt": demo.PROMPT, "max_tokens": 16}
WARM = {**COMPLETION, "prompt": "Hi", "max_tokens": 1}
PATIENCE = 120.0
SETTLED = 2.0  # seconds before the next wake
NOT_COUNTED = 10  # requests to each endpoint before the measured ones
LOST = (aiohttp.ClientError, TimeoutError, NoCompletionError)


@dataclass
class Contender:
    name: str
    endpoint: Endpoint
    moments: Moments = field(default_factory=Moments)
    wakes: Wakes = field(default_factory=Wakes)


@click.command()
@click.option("--wakes", type=click.IntRange(1, 1000), default=10, show_default=True, help="Wakes of each product.")
@click.option(
    "--requests", type=click.IntRange(1), default=300, show_default=True, help="Warm requests to each endpoint."
)
@click.option("--rate", type=float, default=10.0, show_default=True, help="Warm requests per second to each endpoint.")
@click.option(
    "--cluster-name", default="peers", show_default=True, help="Name of the devcluster, which is removed at the end."
)
@click.option("--save/--no-save", default=True, show_default=True, help="Write the results.")
def main(*, wakes: int, requests: int, rate: float, cluster_name: str, save: bool) -> None:
    """Compare Slipway with KEDA's HTTP add-on. Needs root."""
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
    click.echo(f"different responses to wakes: {differ[0]}, of warm requests: {differ[1]}")
    if save:
        write(sides, lines, found, rate)


async def measure(
    cluster: Cluster, weights: Path, *, wakes: int, requests: int, rate: float
) -> tuple[dict[str, WarmRequests], dict[str, Wakes]]:
    pod = await one_pod(cluster)
    apply(cluster, for_warm_requests())
    lines = await warm(cluster, requests, rate)
    apply(cluster, the_plain_contender(pod, weights))
    let_slipways_sleep_soon(cluster)
    for kind in ("interceptorroute", "scaledobject"):
        cluster.run_kubectl(["wait", "-n", PLAIN, "--for=condition=Ready", "--timeout=60s", f"{kind}/{demo.NAME}"])
    return lines, await in_turns(cluster, wakes)


# --- what is in the cluster ------------------------------------------------------------------------------------------


async def one_pod(cluster: Cluster) -> Object:
    """Wake the model by a request, and return its pod."""
    async with node_session(cluster, patience=PATIENCE) as session:
        await until_reachable(session, Endpoint(SLIPWAY, slipways_url(cluster), HELD_BY_SLIPWAY))
    label = ",".join(f"{name}={value}" for name, value in OF_THE_MODEL.items())
    found = json.loads(cluster.run_kubectl(["get", "pods", "-n", demo.NAMESPACE, "-l", label, "-o", "json"]))
    [pod] = found["items"]
    return dict(pod)


def for_warm_requests() -> list[Object]:
    """Two more endpoints for the pod of the model: a Service without Slipway, and the add-on's route."""
    return [
        service(STRAIGHT_SERVICE, demo.NAMESPACE, OF_THE_MODEL, port=ENGINE_PORT),
        route(STRAIGHT_SERVICE, demo.NAMESPACE, host=WARM_HOST, at_once=AT_ONCE),
    ]


def the_plain_contender(pod: Object, weights: Path) -> list[Object]:
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


async def warm(cluster: Cluster, requests: int, rate: float) -> dict[str, WarmRequests]:
    """Send requests to each endpoint in turn, one at a time, over persistent connections."""
    straight = f"http://{address_of(cluster, STRAIGHT_SERVICE, demo.NAMESPACE)}"
    endpoints = [
        Endpoint("its own Service", straight, STRAIGHT),
        Endpoint(SLIPWAY, slipways_url(cluster), STRAIGHT),
        Endpoint(ADD_ON, interceptors_url(cluster), THROUGH_ADD_ON, host=WARM_HOST),
    ]
    async with node_session(cluster, patience=PATIENCE, keep_alive=True) as session:
        for endpoint in endpoints:
            await until_reachable(session, endpoint)
        await rounds(session, endpoints, NOT_COUNTED, rate)
        return await rounds(session, endpoints, requests, rate)


async def until_reachable(session: aiohttp.ClientSession, endpoint: Endpoint) -> None:
    """Wait until requests reach the replica: kube-proxy learns of a Service later than other programs."""
    async with asyncio.timeout(PATIENCE):
        while True:
            with suppress(*LOST):
                endpoint.confirm(await complete(session, endpoint.url, WARM, host=endpoint.host))
                return
            await asyncio.sleep(0.1)


async def rounds(
    session: aiohttp.ClientSession, endpoints: Sequence[Endpoint], number: int, rate: float
) -> dict[str, WarmRequests]:
    """Send requests to all endpoints in turn; another one is the first in each round."""
    lines = {endpoint.name: WarmRequests() for endpoint in endpoints}
    due = time.monotonic()
    for each in range(number):
        for place in range(len(endpoints)):
            endpoint = endpoints[(each + place) % len(endpoints)]
            try:
                answer = endpoint.confirm(await complete(session, endpoint.url, WARM, host=endpoint.host))
                lines[endpoint.name].latencies.append(answer.first)
                lines[endpoint.name].note(answer.text)
            except LOST as error:
                lines[endpoint.name].lost.append(repr(error))
            due = max(due + 1 / rate / len(endpoints), time.monotonic())
            await asyncio.sleep(due - time.monotonic())
    return lines


# --- wakes -----------------------------------------------------------------------------------------------------------


async def in_turns(cluster: Cluster, wakes: int) -> dict[str, Wakes]:
    """Wake both contenders `wakes` times, alternately. Their first wakes do not count: Slipway's is over by now."""
    configuration = await load_configuration(cluster.kubeconfig)
    ours = Contender(SLIPWAY, Endpoint(SLIPWAY, slipways_url(cluster), HELD_BY_SLIPWAY))
    add_on = Contender(ADD_ON, Endpoint(ADD_ON, interceptors_url(cluster), HELD_BY_ADD_ON, host=host_of(PLAIN)))
    async with (
        observing(configuration, observed_by(ours), demo.NAMESPACE),
        observing(configuration, observed_by(add_on), PLAIN),
        node_session(cluster, patience=PATIENCE) as session,
    ):
        await add_on.moments.until(add_on.moments.asleep, within=PATIENCE)
        await wake(add_on, session)
        add_on.wakes = Wakes()
        for number in range(wakes):
            for contender in (ours, add_on):
                await contender.moments.until(contender.moments.asleep, within=PATIENCE)
            for contender in (ours, add_on) if number % 2 else (add_on, ours):
                await wake(contender, session)
    return {contender.name: contender.wakes for contender in (ours, add_on)}


def observed_by(contender: Contender) -> dict[Any, Any]:
    return {DEPLOYMENT: (EVERYTHING, contender.moments.hear_deployment), POD: (EVERYTHING, contender.moments.hear_pod)}


async def wake(contender: Contender, session: aiohttp.ClientSession) -> None:
    await asyncio.sleep(SETTLED)
    if not contender.moments.asleep():
        raise RuntimeError(f"{contender.name} woke up without a request")
    contender.moments.at.clear()
    to, asked = contender.endpoint, time.monotonic()
    try:
        answer = to.confirm(await complete(session, to.url, WAKING, host=to.host))
    except LOST as error:
        contender.wakes.lost.append(repr(error))
        click.echo(f"{contender.name}: lost, {error!r}")
        return
    await contender.moments.ask_the_pod(session)
    contender.wakes.rows.append(contender.moments.steps(asked, first=answer.first))
    contender.wakes.note(answer.text)
    click.echo(f"{contender.name}: {answer.first:.2f} s")


# --- results ---------------------------------------------------------------------------------------------------------


def write(sides: dict[str, Wakes], lines: dict[str, WarmRequests], found: dict[str, object], rate: float) -> None:
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
    results.write(RESULT, result)
    click.echo(f"written to {RESULT}")


if __name__ == "__main__":
    main()
