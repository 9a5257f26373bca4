"""The demo: from nothing to text. An LLMDeployment sleeps, is woken by a request, answers, and goes to sleep again."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import click

from slipway_devcluster import lifecycle, model, slipway
from slipway_devcluster.cluster import Cluster
from slipway_devcluster.errors import Refusal
from slipway_devcluster.paths import Cache
from slipway_devcluster.progress import Steps

NAMESPACE = "demo"
NAME = "gemma"
PROMPT = "Kubernetes is"
SAMPLE = slipway.MANIFESTS / "samples/gemma-cpu.yaml"
PATIENCE = 120.0
PHASES = ("schedule", "pull", "start", "ready")  # in the order in which they come
HELD = "Slipway-Held-Ms"  # a header of answers that came through the activator


@dataclass(frozen=True)
class Answer:
    """What was measured while the answer was printed."""

    tokens: int
    first: float
    total: float
    held: bool

    @property
    def tokens_per_second(self) -> float:
        return (self.tokens - 1) / (self.total - self.first) if self.tokens > 1 else 0.0


def run(name: str, prompt: str | None, *, cache: Cache, steps: Steps) -> None:
    cluster = lifecycle.up(name, cache=cache, steps=steps)
    slipway.install(cluster, cache=cache, steps=steps)
    apply(cluster, cache, steps)
    tell(cluster, prompt or _asked_for())
    for line in what_next(cluster):
        click.echo(line)


def tell(cluster: Cluster, prompt: str) -> None:
    """Asks until an answer comes straight from the replica, and waits until the model sleeps again."""
    while ask(cluster, prompt).held:
        click.echo(f"It was woken for that: {cold_start(cluster)}. Once more:")
        until_direct(cluster)
    click.echo(f"\n$ kubectl get llm {NAME} -n {NAMESPACE} -w")
    for line in until_it_is(cluster, "Idle"):
        click.echo(line)


def apply(cluster: Cluster, cache: Cache, steps: Steps) -> None:
    """The sample, until it may be asked. Safe to repeat: what is there already is left as it is."""
    weights = model.ensure_gguf(cache, steps)
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    volume = model.persistent_volume(NAME, weights, NAMESPACE)
    listed = {"apiVersion": "v1", "kind": "List", "items": [namespace, *volume]}
    cluster.run_kubectl(["apply", "--server-side", "-f", "-"], json.dumps(listed).encode())
    bound = "--for=jsonpath={.status.phase}=Bound"  # else the story begins with a pod that waits for it
    cluster.run_kubectl(["wait", "-n", NAMESPACE, bound, "--timeout=30s", f"pvc/{NAME}"])
    click.echo(f"\n$ kubectl apply -n {NAMESPACE} -f {SAMPLE.relative_to(slipway.ROOT)}")
    click.echo(
        cluster.run_kubectl(["apply", "--server-side", "--force-conflicts", "-n", NAMESPACE, "-f", str(SAMPLE)]),
        nl=False,
    )
    click.echo(f"$ kubectl get llm {NAME} -n {NAMESPACE} -w")
    for line in until_it_is(cluster, "Idle", "Serving"):
        click.echo(line)


def until_it_is(cluster: Cluster, *states: str) -> Iterator[str]:
    """The lines of `kubectl get llm -w`, as they come, to the one that says so, and that it is ready."""
    with _watching(cluster, NAME, patience=PATIENCE) as lines:
        for line in lines:
            yield line.rstrip()
            if {"True", *states} & {*line.split()} > {"True"}:
                return
    said = _read(cluster, "llm", "{.status.message}")
    raise Refusal(f"{NAME} is not {' or '.join(states)}: {said or 'nobody says why'}")


def cold_start(cluster: Cluster) -> str:
    """Its phases and what each took, as the status tells them."""
    phases: dict[str, str] = json.loads(_read(cluster, "llm", "{.status.lastColdStart}") or "{}")
    told = [f"{name} {phases[name]}" for name in PHASES if name in phases]
    return ", ".join(told) or "nobody wrote down how long that took"


def until_direct(cluster: Cluster) -> None:
    """kube-proxy hears of a replica a moment later than the activator."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with _answered(cluster, {"prompt": PROMPT, "max_tokens": 1}) as response:
            if not response.getheader(HELD):
                return
        time.sleep(0.1)


def _read(cluster: Cluster, kind: str, path: str) -> str:
    return cluster.run_kubectl(["get", kind, NAME, "-n", NAMESPACE, "-o", f"jsonpath={path}"])


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
    """Streams the answer to stdout as it comes, and before it what is told while nobody answers yet."""
    url = _read(cluster, "llm", "{.status.url}")
    json_body = f'--json \'{{"prompt": {json.dumps(prompt)}, "stream": true, …}}\''
    click.echo(f"\n$ curl -N {url}/v1/completions {json_body}")
    started, first, tokens, told = time.monotonic(), 0.0, 0, list[str]()
    with _answered(cluster, {"prompt": prompt, "max_tokens": 64, "temperature": 0, "stream": True}) as response:
        for piece in pieces(response, told.append):
            if not first:
                first = time.monotonic() - started
                click.echo(prompt, nl=False)
            tokens += 1
            click.echo(piece, nl=False)
        held = bool(told or response.getheader(HELD))
        answer = Answer(tokens, first, time.monotonic() - started, held)
    click.echo(f"\n\n{tokens} tokens: the first after {first:.2f} s, {answer.tokens_per_second:.0f} a second")
    return answer


def pieces(response: http.client.HTTPResponse, told: Callable[[str], None]) -> Iterator[str]:
    """Of a completion. Comments, which tell what happens meanwhile, are printed and told."""
    for line in response:
        said = line.decode().strip()
        if said.startswith(":"):
            click.echo(said)
            told(said)
        elif event := said.removeprefix("data:").strip().removesuffix("[DONE]"):
            yield from (choice["text"] for choice in _choices(json.loads(event)) if choice["text"])


def _choices(event: dict[str, Any]) -> list[dict[str, Any]]:
    if error := event.get("error"):
        raise Refusal(f"the model did not answer: {error['code']}: {error['message']}")
    found: list[dict[str, Any]] = event["choices"]
    return found


@contextmanager
def _answered(cluster: Cluster, body: Mapping[str, Any]) -> Iterator[http.client.HTTPResponse]:
    """Asked of the Service as any pod of the cluster would ask."""
    address = _read(cluster, "service", "{.spec.clusterIP}")
    with closing(http.client.HTTPConnection(address, 80)) as connection:
        connection.sock = _connected(cluster, address)
        headers = {"Content-Type": "application/json"}
        connection.request("POST", "/v1/completions", json.dumps({"model": NAME, **body}), headers)
        response = connection.getresponse()
        if response.status != http.HTTPStatus.OK:
            raise Refusal(f"the model answered {response.status}: {response.read().decode(errors='replace')}")
        yield response


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
        "What just happened: the model slept; Slipway held your prompt and woke it through KEDA; the next one went",
        "straight to its pod; and when nobody asked any more, it went to sleep.",
        f"  look around   .venv/bin/devcluster shell{name}     then: kubectl get llm,pods -n {NAMESPACE}",
        f"  how it does   .venv/bin/devcluster shell{name} -- kubectl describe llm {NAME} -n {NAMESPACE}",
        '  ask again     make demo PROMPT="The best thing about open source is"',
        f"  what it costs .venv/bin/devcluster status{name}",
        f"  remove it     .venv/bin/devcluster down{name}",
    ]


def _asked_for() -> str:
    """A person at a terminal is asked; elsewhere the example will do."""
    return click.prompt("Prompt", default=PROMPT) if sys.stdin.isatty() else PROMPT
