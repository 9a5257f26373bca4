"""The demo: on a new cluster, an LLMDeployment sleeps, is woken by a request, answers, and goes to sleep again."""

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

from slipway_devcluster import forecast, lifecycle, model, slipway
from slipway_devcluster.cluster import Cluster, named
from slipway_devcluster.errors import Refusal
from slipway_devcluster.paths import Cache
from slipway_devcluster.progress import Steps, in_words

NAMESPACE = "demo"
NAME = "gemma"
PROMPT = "Kubernetes is"
SAMPLE = slipway.MANIFESTS / "samples/gemma-cpu.yaml"
REPORTED_AFTER = 10.0  # seconds at most
PATIENCE = 120.0
PHASES = ("schedule", "pull", "start", "ready")  # in the order in which they happen
IN_A_ROW = 10  # direct responses: with both in kube-proxy's rules, one in a thousand tries gets as many at random
HELD = "Slipway-Held-Ms"  # a header of responses that went through the activator


@dataclass(frozen=True)
class Answer:
    """What was measured while an answer was printed. `first` and `total` are seconds since the request."""

    tokens: int
    first: float
    total: float
    held: bool

    @property
    def tokens_per_second(self) -> float:
        return (self.tokens - 1) / (self.total - self.first) if self.tokens > 1 else 0.0


def run(name: str, prompt: str | None, *, cache: Cache, steps: Steps) -> None:
    started = time.monotonic()
    for line in forecast.lines(forecast.of_demo(named(name, cache), cache)):
        steps.say(line)
    cluster = lifecycle.up(
        name,
        cache=cache,
        steps=steps,
        next_to_builds=(lambda: _build_images(cache, steps), lambda: model.ensure_gguf(cache, steps)),
        next_to_platform=lambda cluster: _prepare(cluster, cache, steps),
    )
    slipway.install_programs(cluster, cache=cache, steps=steps)
    apply_sample(cluster)
    ready_after = time.monotonic() - started  # a person may think about the prompt for any time
    first = converse(cluster, prompt or _asked_for())
    click.echo(f"\nThe first token came {in_words(ready_after + first.first)} after the start of this command.")
    for line in what_next(cluster):
        click.echo(line)


def _build_images(cache: Cache, steps: Steps) -> None:
    """One after another, since all of them need the base image, and buildah's store has one user at a time."""
    for image in slipway.INSTALLED_IMAGES:
        image.built(cache, steps)


def _prepare(cluster: Cluster, cache: Cache, steps: Steps) -> None:
    slipway.prepare(cluster, cache=cache, steps=steps)
    provide_model(cluster, cache, steps)


def converse(cluster: Cluster, prompt: str) -> Answer:
    """Ask until an answer comes directly from the replica; wait for the model to sleep; return the first answer."""
    first = answer = ask(cluster, prompt)
    while answer.held:
        click.echo(f"It was woken for that: {cold_start(cluster)}. Once more:")
        until_direct(cluster)
        answer = ask(cluster, prompt)
    click.echo(f"\n$ kubectl get llm {NAME} -n {NAMESPACE} -w")
    for line in until_it_is(cluster, "Idle"):
        click.echo(line)
    return first


def apply(cluster: Cluster, cache: Cache, steps: Steps) -> None:
    """Create the sample and its volume; returns when it accepts requests. Safe to repeat: existing objects stay."""
    provide_model(cluster, cache, steps)
    apply_sample(cluster)


def provide_model(cluster: Cluster, cache: Cache, steps: Steps) -> None:
    """Create the namespace, and in it a bound volume with the model's files."""
    weights = model.ensure_gguf(cache, steps)
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    volume = model.persistent_volume(NAME, weights, NAMESPACE)
    listed = {"apiVersion": "v1", "kind": "List", "items": [namespace, *volume]}
    cluster.run_kubectl(["apply", "--server-side", "-f", "-"], json.dumps(listed).encode())
    bound = "--for=jsonpath={.status.phase}=Bound"  # else the status first reports a pod that waits for its volume
    cluster.run_kubectl(["wait", "-n", NAMESPACE, bound, "--timeout=30s", f"pvc/{NAME}"])


def apply_sample(cluster: Cluster) -> None:
    """Apply the LLMDeployment, and print its states until it sleeps or serves."""
    click.echo(f"\n$ kubectl apply -n {NAMESPACE} -f {SAMPLE.relative_to(slipway.ROOT)}")
    click.echo(
        cluster.run_kubectl(["apply", "--server-side", "--force-conflicts", "-n", NAMESPACE, "-f", str(SAMPLE)]),
        nl=False,
    )
    click.echo(f"$ kubectl get llm {NAME} -n {NAMESPACE} -w")
    for line in until_it_is(cluster, "Idle", "Serving"):
        click.echo(line)


def until_it_is(cluster: Cluster, *states: str) -> Iterator[str]:
    """The lines of `kubectl get llm -w`, up to the one that shows one of the states, and Ready as True."""
    with _watching(cluster, NAME, patience=PATIENCE) as lines:
        for line in lines:
            yield line.rstrip()
            if {"True", *states} & {*line.split()} > {"True"}:
                return
    said = _read(cluster, "llm", "{.status.message}")
    raise Refusal(f"{NAME} is not {' or '.join(states)} after {PATIENCE:.0f} s: {said or 'its status has no message'}")


def cold_start(cluster: Cluster) -> str:
    """The phases of the last cold start and their durations, from the status, which has them a moment later."""
    deadline = time.monotonic() + REPORTED_AFTER
    while not (reported := _read(cluster, "llm", "{.status.lastColdStart}")) and time.monotonic() < deadline:
        time.sleep(0.1)
    phases: dict[str, str] = json.loads(reported or "{}")
    durations = [f"{name} {phases[name]}" for name in PHASES if name in phases]
    return ", ".join(durations) or "its status does not say how long that took"


def until_direct(cluster: Cluster) -> None:
    """Wait until requests reach only the replica. Before that, kube-proxy chooses between it and the activator."""
    deadline, direct = time.monotonic() + PATIENCE, 0
    while direct < IN_A_ROW and time.monotonic() < deadline:
        with _answered(cluster, {"prompt": PROMPT, "max_tokens": 1}) as response:
            direct = 0 if response.getheader(HELD) else direct + 1
        time.sleep(0.1)


def _read(cluster: Cluster, kind: str, path: str) -> str:
    return cluster.run_kubectl(["get", kind, NAME, "-n", NAMESPACE, "-o", f"jsonpath={path}"])


@contextmanager
def _watching(cluster: Cluster, name: str, *, patience: float) -> Iterator[Iterator[str]]:
    """The output of `kubectl get llm -w`, which is ended after `patience` seconds."""
    command = cluster.kubectl_command(["get", "llm", name, "-n", NAMESPACE, "-w"])
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watch:
        end = threading.Timer(patience, watch.kill)
        end.start()
        try:
            yield iter(watch.stdout or ())
        finally:
            end.cancel()
            watch.kill()


def ask(cluster: Cluster, prompt: str) -> Answer:
    """Stream the answer to stdout, and before it the activator's comments on what the held request is waiting for."""
    url = _read(cluster, "llm", "{.status.url}")
    json_body = f'--json \'{{"prompt": {json.dumps(prompt)}, "stream": true, …}}\''
    click.echo(f"\n$ curl -N {url}/v1/completions {json_body}")
    started, first, tokens, comments = time.monotonic(), 0.0, 0, list[str]()
    with _answered(cluster, {"prompt": prompt, "max_tokens": 64, "temperature": 0, "stream": True}) as response:
        for piece in pieces(response, comments.append):
            if not first:
                first = time.monotonic() - started
                click.echo(prompt, nl=False)
            tokens += 1
            click.echo(piece, nl=False)
        held = bool(comments or response.getheader(HELD))
        answer = Answer(tokens, first, time.monotonic() - started, held)
    click.echo(f"\n\n{tokens} tokens: the first after {first:.2f} s, {answer.tokens_per_second:.0f} a second")
    return answer


def pieces(response: http.client.HTTPResponse, on_comment: Callable[[str], None]) -> Iterator[str]:
    """The pieces of text of a streamed completion. Its comments are printed, and passed to `on_comment`."""
    for raw in response:
        line = raw.decode().strip()
        if line.startswith(":"):
            click.echo(line)
            on_comment(line)
        elif event := line.removeprefix("data:").strip().removesuffix("[DONE]"):
            yield from (choice["text"] for choice in _choices(json.loads(event)) if choice["text"])


def _choices(event: dict[str, Any]) -> list[dict[str, Any]]:
    if error := event.get("error"):
        raise Refusal(f"the model answered with an error: {error['code']}: {error['message']}")
    found: list[dict[str, Any]] = event["choices"]
    return found


@contextmanager
def _answered(cluster: Cluster, body: Mapping[str, Any]) -> Iterator[http.client.HTTPResponse]:
    """The response to a request to the model's Service, sent from the node's network as a pod would send it."""
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
    """A connection to the Service. A pod is ready a moment before kube-proxy has its rules, so this tries again."""
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
        "What just happened: the model slept; Slipway held your prompt and woke the model through KEDA; the second",
        "request went directly to its pod; and after a minute without requests, the model went to sleep.",
        f"  look around   .venv/bin/devcluster shell{name}     then: kubectl get llm,pods -n {NAMESPACE}",
        f"  how it does   .venv/bin/devcluster shell{name} -- kubectl describe llm {NAME} -n {NAMESPACE}",
        '  ask again     make demo PROMPT="The best thing about open source is"',
        f"  what it costs .venv/bin/devcluster status{name}",
        f"  remove it     .venv/bin/devcluster down{name}",
    ]


def _asked_for() -> str:
    """The prompt that a person enters at a terminal; elsewhere the example."""
    return click.prompt("Prompt", default=PROMPT) if sys.stdin.isatty() else PROMPT
