"""What the weights of a model cost each further replica: bytes over the network, and seconds until it is ready.

make bench-weights
make bench-weights ARGS="--rounds 5 --rate 100"

A devcluster with two real nodes, KServe, and Slipway's operator; the demo's model is in a real S3 server, behind a
network with a limited rate. In each round, each contender starts with nothing: its first replica on one node, the
second on the other, the third on the first one again. The order of contenders changes with each round. KServe's own
storage initializer is one of them, in the same cluster, with the same pods but for the container that fetches.
"""

from __future__ import annotations

import asyncio
import platform
import shlex
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import click
import results
from fetching.contenders import BUCKET, CONTENDERS, KSERVE, NAME, Contender, keys, model
from fetching.figures import REPLICAS, Start, table
from fetching.link import Link
from operator_scale import machine
from own_cluster import own_cluster
from slipway_devcluster.addresses import FIRST, Node
from slipway_devcluster.cluster import Cluster
from slipway_devcluster.containerfiles import build_image
from slipway_devcluster.model import ensure_gguf
from slipway_devcluster.paths import default_cache
from slipway_devcluster.programs import UPSTREAMS
from slipway_devcluster.progress import Steps
from slipway_devcluster.record import Options
from slipway_devcluster.slipway import FETCHER_IMAGE, LLAMACPP_IMAGE
from support.cluster import installation
from support.cluster.kube import Kube
from support.cluster.namespaces import own_namespace
from support.cluster.tester import ReachableServer
from support.programs import operator
from support.programs.object_store import READER, ObjectStore, object_store

RESULT = results.named("weights")
INITIALIZER, VERSION = "localhost/kserve-storage-initializer:0.20.0", "0.20.0"
CONTAINERFILE = Path(__file__).parent / "fetching/initializer.Containerfile"
NODES = (FIRST.name, Node(2).name, FIRST.name)
"""Of the replicas."""
OURS = f"slipway.dev/llmdeployment={NAME}"
PATIENCE = 300.0
MB = 1_000_000


@click.command()
@click.option("--rounds", type=click.IntRange(1, 100), default=3, show_default=True, help="Starts of each contender.")
@click.option("--rate", type=float, default=50.0, show_default=True, help="Megabytes a second of the network.")
@click.option(
    "--cluster-name", default="weights", show_default=True, help="Name of the devcluster, which is removed at the end."
)
@click.option("--save/--no-save", default=True, show_default=True, help="Write the results.")
def main(*, rounds: int, rate: float, cluster_name: str, save: bool) -> None:
    """Compare how weights come to replicas. Needs root."""
    found = machine()
    cache, folder = default_cache(), tempfile.TemporaryDirectory()
    steps = Steps(cache)
    weights = sorted(ensure_gguf(cache, steps).glob("*.gguf"))
    initializer = build_image(CONTAINERFILE, name=INITIALIZER, cache=cache, steps=steps)
    options = Options(volumes=True, nodes=2)
    with folder as path, object_store(Path(path)) as store, own_cluster(cluster_name, cache, steps, options) as cluster:
        for image in (FETCHER_IMAGE, LLAMACPP_IMAGE):
            image.loaded(cluster, cache, steps)
        cluster.load_image(initializer)
        fill(store, weights)
        starts = asyncio.run(measure(cluster, store, rounds, rate * MB, Path(path)))
    size = sum(file.stat().st_size for file in weights)
    click.echo("\n".join(["", *table(starts, size=size, compared_with=KSERVE.name), ""]))
    if save:
        write(starts, found, size=size, rate=rate)


def fill(store: ObjectStore, weights: Sequence[Path]) -> None:
    store.make_bucket(BUCKET, readable_by=READER.identifier)
    for file in weights:
        store.put(BUCKET, f"{NAME}/{file.name}", file.read_bytes())


async def measure(
    cluster: Cluster, store: ObjectStore, rounds: int, rate: float, folder: Path
) -> dict[str, list[list[Start]]]:
    whole = Kube(cluster.kubectl, cluster.kubeconfig, cache_folder=folder / "kubectl")
    await installation.install(whole, LLAMACPP_IMAGE.name)
    container = {"image": INITIALIZER, "imagePullPolicy": "IfNotPresent"}
    await whole.patch("clusterstoragecontainer", "default", {"spec": {"container": container}})
    tester = ReachableServer(cluster.node_ip, cluster.entered)
    listener = tester.listener()
    link = Link(urlsplit(store.url).port or 80, rate)
    endpoint = f"http://{tester.address}:{listener.getsockname()[1]}"
    starts: dict[str, list[list[Start]]] = {contender.name: [] for contender in CONTENDERS}
    async with link.listening(listener):
        for number in range(rounds):
            turn = number % len(CONTENDERS)
            for contender in (*CONTENDERS[turn:], *CONTENDERS[:turn]):
                async with running_operator(cluster, contender), own_namespace(whole) as kube:
                    measured = await replicas(kube, contender, link, endpoint)
                starts[contender.name].append(measured)
                click.echo(f"{contender.name}: {', '.join(f'{start.seconds:.1f} s' for start in measured)}")
    return starts


@asynccontextmanager
async def running_operator(cluster: Cluster, contender: Contender) -> AsyncIterator[None]:
    """With Slipway's fetcher, or without, so that KServe fetches."""
    flags = [f"--fetcher-image={FETCHER_IMAGE.name}"] if contender.is_ours else []
    manager = operator.running(cluster.kubeconfig, *flags)
    await asyncio.to_thread(manager.__enter__)
    try:
        yield
    finally:
        await asyncio.to_thread(manager.__exit__, None, None, None)


async def replicas(kube: Kube, contender: Contender, link: Link, endpoint: str) -> list[Start]:
    """The starts of three replicas, one after the other; afterwards none of them is left."""
    await kube.apply(keys(READER.identifier, READER.secret, endpoint))
    measured = []
    for number, node in enumerate(NODES, 1):
        await only_on(kube, node)
        received, started = link.received, time.monotonic()
        if number == 1:
            await kube.apply(model(contender, endpoint))
        else:
            await kube.patch("llmdeployment", NAME, {"spec": {"scaling": {"minReplicas": number}}})
        await until_ready(kube, number)
        measured.append(Start(link.received - received, round(time.monotonic() - started, 2)))
    await kube.delete("llmdeployment", NAME, wait=True)
    for pod in await kube.select("pods", OURS):
        await kube.wait_gone("pod", pod["metadata"]["name"], timeout=PATIENCE)
    return measured


async def only_on(kube: Kube, node: str) -> None:
    """New pods are placed on this node."""
    for other in dict.fromkeys(NODES):
        await kube.run("uncordon" if other == node else "cordon", other)


async def until_ready(kube: Kube, number: int) -> None:
    await kube.wait_for(
        "deployment",
        f"{NAME}-predictor",
        lambda it: (it.get("status") or {}).get("readyReplicas", 0) == number,
        timeout=PATIENCE,
    )


# --- results ---------------------------------------------------------------------------------------------------------


def write(starts: dict[str, list[list[Start]]], found: dict[str, object], *, size: int, rate: float) -> None:
    result = {
        "benchmark": "weights",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", *sys.argv]),
        "machine": found,
        "versions": {
            "python": platform.python_version(),
            "kserve-storage": VERSION,
            **{name: UPSTREAMS[name].version for name in ("kubernetes", "kserve", "versitygw")},
        },
        "settings": {
            "megabytes_a_second": rate,
            "bytes_of_the_model": size,
            "nodes": dict(zip(REPLICAS, NODES, strict=True)),
        },
        "starts": {name: [[asdict(start) for start in each] for each in rounds] for name, rounds in starts.items()},
    }
    results.write(RESULT, result)
    click.echo(f"written to {RESULT}")


if __name__ == "__main__":
    main()
