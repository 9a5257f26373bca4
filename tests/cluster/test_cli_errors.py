"""Each command of `kubectl llm` where it can't answer: one sentence with the remedy, and exit code 3."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.builders.llmdeployments import NAME, at_zero
from support.cluster import Kube, Operator, settled
from support.cluster.command_line import llm, shell

ACTIONS = ("wake", "sleep", "pause", "resume", "restart")
NAMED = ("status", "why", "tree", "events", "logs", "timeline", "wait", *ACTIONS)
COMMANDS = (
    *(f"{verb} {NAME}" for verb in NAMED),
    "status",
    "status --all-namespaces",
    "accelerators",
    "top",
    f"chat {NAME} --once hello",
    f"complete {NAME} hello",
    "doctor",
    "support-bundle --dry-run",
)
Config = dict[str, Any]


@pytest.fixture
async def config(kube: Kube) -> Config:
    done = await shell(kube, "kubectl config view --raw --minify --output=json")
    found: Config = json.loads(done.out)
    return found


def without_cluster(config: Config) -> None:
    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:9"


def without_login(config: Config) -> None:
    config["users"][0]["user"] = {"token": "nobody"}


def without_context(config: Config) -> None:
    config["current-context"] = "prod"


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("breaks", "said"),
    [
        (without_cluster, "Check the network and the cluster, or choose another context by --context."),
        (without_login, "Log in again, or choose another context by --context."),
        (without_context, "`kubectl config get-contexts` lists the existing ones"),
    ],
)
async def test_without_a_cluster_it_says_what_to_do(
    kube: Kube, config: Config, tmp_path: Path, command: str, breaks: Callable[[Config], None], said: str
) -> None:
    breaks(config)
    (tmp_path / "config.json").write_text(json.dumps(config))
    found = await llm(replace(kube, kubeconfig=tmp_path / "config.json"), command)
    assert (found.code, found.out) == (3, ""), found.err
    assert said in found.err
    assert len(found.err.splitlines()) == 1


async def test_of_two_clusters_the_context_chooses(
    slipway: Operator, kube: Kube, config: Config, tmp_path: Path
) -> None:
    """The second context is of a cluster that is down, and is the current one."""
    await settled(kube, at_zero())
    [cluster], [context] = config["clusters"], config["contexts"]
    down = {"name": "down", "cluster": {"server": "https://127.0.0.1:9"}}
    second = {"name": "second", "context": {**context["context"], "cluster": "down"}}
    both = {**config, "clusters": [cluster, down], "contexts": [context, second], "current-context": "second"}
    (tmp_path / "config.json").write_text(json.dumps(both))
    there = replace(kube, kubeconfig=tmp_path / "config.json")
    assert (await llm(there, f"why {NAME}")).code == 3
    for flag in (f"--context={context['name']}", f"--cluster={cluster['name']}"):
        found = await llm(there, f"why {NAME} {flag}")
        assert found.code == 0, found.err
    unknown = await llm(there, f"why {NAME} --context=third")
    assert (unknown.code, "third" in unknown.err) == (3, True)


async def test_a_name_that_is_not_there_gets_the_one_that_was_meant(slipway: Operator, kube: Kube) -> None:
    await settled(kube, at_zero())
    for verb in NAMED:
        for name, code in ((NAME.upper(), 2), (f"{NAME}l", 3)):
            found = await llm(kube, f"{verb} {name}")
            assert found.code == code
            assert f"did you mean {NAME}? " in found.err
