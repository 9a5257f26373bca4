"""The demo: from nothing to text. An LLMDeployment is applied, tells how it comes to serve, and streams an answer."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

import click

from . import lifecycle, model, slipway
from .cluster import Cluster
from .errors import Refusal
from .paths import Cache
from .progress import Steps

NAMESPACE = "demo"
NAME = "gemma"
PROMPT = "Kubernetes is"
SAMPLE = slipway.MANIFESTS / "samples/gemma-cpu.yaml"
PATIENCE = 120.0


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
    slipway.install(cluster, cache=cache, steps=steps)
    serve(cluster, cache, steps)
    answer = ask(cluster, prompt or _asked_for())
    click.echo(
        f"\n\n{answer.tokens} tokens: the first after {answer.first:.2f} s, {answer.tokens_per_second:.0f} a second"
    )
    for line in what_next(cluster):
        click.echo(line)


def serve(cluster: Cluster, cache: Cache, steps: Steps) -> None:
    """The sample, until it serves. Safe to repeat: what is there already is left as it is."""
    weights = model.ensure_gguf(cache, steps)
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    volume = model.persistent_volume(NAME, weights, NAMESPACE)
    listed = {"apiVersion": "v1", "kind": "List", "items": [namespace, *volume]}
    cluster.run_kubectl(["apply", "--server-side", "-f", "-"], json.dumps(listed).encode())
    bound = "--for=jsonpath={.status.phase}=Bound"  # else the story begins with a pod that waits for it
    cluster.run_kubectl(["wait", "-n", NAMESPACE, bound, "--timeout=30s", f"pvc/{NAME}"])
    click.echo(f"\n$ kubectl apply -n {NAMESPACE} -f {SAMPLE.relative_to(slipway.ROOT)}")
    click.echo(cluster.run_kubectl(["apply", "--server-side", "-n", NAMESPACE, "-f", str(SAMPLE)]), nl=False)
    click.echo(f"$ kubectl get llm {NAME} -n {NAMESPACE} -w")
    for line in until_it_serves(cluster):
        click.echo(line)


def until_it_serves(cluster: Cluster) -> Iterator[str]:
    """The lines of `kubectl get llm -w`, as they come, to the one that says Serving."""
    with _watching(cluster, NAME, patience=PATIENCE) as lines:
        for line in lines:
            yield line.rstrip()
            if "Serving" in line.split():
                return
    words = ["get", "llm", NAME, "-n", NAMESPACE, "-o", "jsonpath={.status.message}"]
    raise Refusal(f"{NAME} does not serve: {cluster.run_kubectl(words) or 'nobody says why'}")


@contextmanager
def _watching(cluster: Cluster, name: str, *, patience: float) -> Iterator[Iterator[str]]:
    """What a watch by kubectl prints, which ends when the patience does."""
    command = cluster.kubectl_command(["get", "llm", name, "-n", NAMESPACE, "-w"])
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watch:
        assert watch.stdout
        end = threading.Timer(patience, watch.kill)
        end.start()
        try:
            yield iter(watch.stdout)
        finally:
            end.cancel()
            watch.kill()


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
    service = ["get", "service", NAME, "-n", NAMESPACE, "-o", "jsonpath={.spec.clusterIP}"]
    address = cluster.run_kubectl(service)
    with closing(http.client.HTTPConnection(address, 80)) as connection:
        connection.sock = _connected(cluster, address)
        body = {"model": NAME, "prompt": prompt, "max_tokens": 64, "temperature": 0, "stream": True}
        connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        if response.status != http.HTTPStatus.OK:
            raise Refusal(f"the model answered {response.status}: {response.read().decode(errors='replace')}")
        for line in response:
            event = line.decode().removeprefix("data:").strip()
            if event and event != "[DONE]":
                yield from (choice["text"] for choice in json.loads(event)["choices"] if choice["text"])


def _connected(cluster: Cluster, address: str, *, patience: float = 10.0) -> socket.socket:
    """A pod is ready a moment before the node's packet filter knows it."""
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
        "What just happened: Slipway planned where the model of an LLMDeployment runs, and KServe made a pod of it.",
        f"  look around   .venv/bin/devcluster shell{name}     then: kubectl get llm,pods -n {NAMESPACE}",
        f"  how it does   .venv/bin/devcluster shell{name} -- kubectl describe llm {NAME} -n {NAMESPACE}",
        '  ask again     make demo PROMPT="The best thing about open source is"',
        f"  what it costs .venv/bin/devcluster status{name}",
        f"  remove it     .venv/bin/devcluster down{name}",
    ]


def _asked_for() -> str:
    """A person at a terminal is asked; elsewhere the example will do."""
    return click.prompt("Prompt", default=PROMPT) if sys.stdin.isatty() else PROMPT
