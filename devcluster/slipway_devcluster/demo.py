"""The demo: from nothing to text. KServe as it is serves a small model, which streams its answer to one prompt."""

from __future__ import annotations

import http.client
import json
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from . import images, lifecycle, model
from .cluster import Cluster
from .errors import Refusal
from .paths import Cache
from .progress import Steps

NAMESPACE = "demo"
SERVICE = "gemma"
PROMPT = "Kubernetes is"
MANIFEST = Path(__file__).parent / "manifests/demo.yaml"
CONTAINERFILE = Path(__file__).parents[2] / "runtime-image/llamacpp.Containerfile"
IMAGE = "localhost/slipway-llamacpp:dev"


@dataclass(frozen=True)
class Answer:
    """What was measured while the answer was printed."""

    tokens: int
    first: float
    total: float

    @property
    def tokens_per_second(self) -> float:
        return (self.tokens - 1) / (self.total - self.first) if self.tokens > 1 else 0.0


def run(name: str, prompt: str | None, *, cache: Cache, steps: Steps) -> None:
    cluster = lifecycle.up(name, cache=cache, steps=steps)
    serve(cluster, cache, steps)
    answer = ask(cluster, prompt or _asked_for())
    click.echo(
        f"\n\n{answer.tokens} tokens: the first after {answer.first:.2f} s, {answer.tokens_per_second:.0f} a second"
    )
    for line in what_next(cluster):
        click.echo(line)


def serve(cluster: Cluster, cache: Cache, steps: Steps) -> None:
    """The model, Ready in the cluster. Safe to repeat: what is there already is left as it is."""
    weights = model.ensure_gguf(cache, steps)
    cluster.load_image(images.build_image(CONTAINERFILE, name=IMAGE, cache=cache, steps=steps))
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    volume = model.persistent_volume(SERVICE, weights, NAMESPACE)
    listed = {"apiVersion": "v1", "kind": "List", "items": [namespace, *volume]}
    with steps.step("starting the model"):
        cluster.run_kubectl(["apply", "--server-side", "-f", "-"], json.dumps(listed).encode())
        cluster.run_kubectl(["apply", "--server-side", "-n", NAMESPACE, "-f", str(MANIFEST)])
        inference_service = f"inferenceservice/{SERVICE}"
        cluster.run_kubectl(["wait", "-n", NAMESPACE, "--for=condition=Ready", "--timeout=120s", inference_service])


def ask(cluster: Cluster, prompt: str) -> Answer:
    """Streams the answer to stdout as it comes."""
    click.echo(f"\n{prompt}", nl=False)
    started, first, tokens = time.monotonic(), 0.0, 0
    for piece in completion(cluster, prompt):
        first = first or time.monotonic() - started
        tokens += 1
        click.echo(piece, nl=False)
    return Answer(tokens=tokens, first=first, total=time.monotonic() - started)


def completion(cluster: Cluster, prompt: str) -> Iterator[str]:
    """The pieces of a completion, asked of the Service as any pod of the cluster would ask."""
    service = ["get", "service", f"{SERVICE}-predictor", "-n", NAMESPACE, "-o", "jsonpath={.spec.clusterIP}"]
    address = cluster.run_kubectl(service)
    connection = http.client.HTTPConnection(address, 80)
    connection.sock = _connected(cluster, address)
    body = {"model": SERVICE, "prompt": prompt, "max_tokens": 64, "temperature": 0, "stream": True}
    connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
    response = connection.getresponse()
    if response.status != http.HTTPStatus.OK:
        raise Refusal(f"the model answered {response.status}: {response.read().decode(errors='replace')}")
    for line in response:
        event = line.decode().removeprefix("data:").strip()
        if event and event != "[DONE]":
            yield from (choice["text"] for choice in json.loads(event)["choices"] if choice["text"])


def _connected(cluster: Cluster, address: str, *, patience: float = 10.0) -> socket.socket:
    """KServe says Ready a moment before the node's packet filter knows the pod."""
    deadline = time.monotonic() + patience
    while True:
        try:
            with cluster.entered():
                return socket.create_connection((address, 80), timeout=60)
        except OSError:  # refused, or without a route
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def what_next(cluster: Cluster) -> list[str]:
    name = "" if cluster.name == "dev" else f" --name {cluster.name}"
    return [
        "",
        "What just happened: KServe turned an InferenceService into a pod that runs llama.cpp, and a Service in front.",
        f"  look around   .venv/bin/devcluster shell{name}     then: kubectl get inferenceservices,pods -n {NAMESPACE}",
        '  ask again     make demo PROMPT="The best thing about open source is"',
        f"  what it costs .venv/bin/devcluster status{name}",
        f"  remove it     .venv/bin/devcluster down{name}",
    ]


def _asked_for() -> str:
    """A person at a terminal is asked; elsewhere the example will do."""
    return click.prompt("Prompt", default=PROMPT) if sys.stdin.isatty() else PROMPT
