"""What `make demo` does once everything is built: Slipway is installed, a model comes to serve, and it answers."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import redirect_stdout

import pytest
from slipway_devcluster import demo
from slipway_devcluster.cluster import Cluster
from slipway_devcluster.slipway import MANIFESTS
from support.clusters import Settings


@pytest.fixture(scope="module")
def story(operator_pods: Cluster, settings: Settings) -> Iterator[list[str]]:
    """The lines that a person sees until the model serves."""
    with redirect_stdout(io.StringIO()) as seen:
        demo.serve(operator_pods, settings.cache, settings.steps)
    yield seen.getvalue().splitlines()
    operator_pods.run_kubectl(["delete", "namespace", demo.NAMESPACE, "--wait=false"])


def pods(cluster: Cluster) -> str:
    return cluster.run_kubectl(["get", "pods", "-n", demo.NAMESPACE, "-o", "name"])


def test_the_api_server_finds_no_mistake_in_what_is_installed(operator_pods: Cluster) -> None:
    strictly = ["--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict"]
    assert "deployment.apps/slipway-operator" in operator_pods.run_kubectl(["apply", *strictly, "-k", str(MANIFESTS)])


def test_a_person_sees_how_the_model_comes_to_serve(story: list[str]) -> None:
    states = [state for line in story for state in ("Waking", "Serving") if state in line.split()]
    assert states[0] == "Waking"
    assert states[-1] == "Serving"


def test_the_answer_comes_in_pieces(operator_pods: Cluster, story: list[str]) -> None:
    assert len(list(demo.completion(operator_pods, demo.PROMPT))) > 10


def test_doing_it_again_starts_no_other_pod(operator_pods: Cluster, story: list[str], settings: Settings) -> None:
    before = pods(operator_pods)
    demo.serve(operator_pods, settings.cache, settings.steps)
    assert pods(operator_pods) == before
