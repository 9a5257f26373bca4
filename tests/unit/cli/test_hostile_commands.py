"""The next command, where a tenant or an injected sidecar has written what it is chosen by."""

from __future__ import annotations

import json
import shlex
from datetime import UTC, datetime

import pytest
from slipway.objects.kinds import POD, Object
from slipway_cli.cluster.next_command import next_command
from slipway_cli.cluster.remedies.case import Next
from slipway_cli.cluster.world import World
from support.builders import cli_worlds

NOW = datetime(2026, 11, 30, 13, tzinfo=UTC)
HOSTILE = "--chat-template=\x9b2J\u202e\u200b<script>\0null\x01"


def chosen(reason: str, message: str, spec: Object | None = None, pod: Object | None = None) -> Next:
    llm = cli_worlds.deployment(spec=spec, status=cli_worlds.status("Failed", reason, message, ready="False"))
    return next_command(reason, message, World(now=NOW, llm=llm, objects={POD: (pod,) if pod else ()}), pod)


def pod_with(killed: str, **limits: str) -> Object:
    containers = [{"name": name, "resources": {"limits": {"memory": each}}} for name, each in limits.items()]
    status = {"name": killed, "lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137}}}
    return {
        "metadata": {"name": "model-1"},
        "spec": {"containers": containers},
        "status": {"containerStatuses": [status]},
    }


# --- memory ----------------------------------------------------------------------------------------------------------

LIMITS = {"istio-proxy": "64Mi", "kserve-container": "8Gi"}


@pytest.mark.parametrize("message", ["Container kserve-container was killed at its memory limit of 8Gi.", "Killed"])
def test_the_engine_gets_twice_its_own_memory_and_not_that_of_a_sidecar_before_it(message: str) -> None:
    found = chosen("HostOutOfMemory", message, pod=pod_with("kserve-container", **LIMITS))
    assert '"limits":{"memory":"16Gi"}' in found.command


@pytest.mark.parametrize("message", ["Container istio-proxy was killed at its memory limit of 64Mi."])
def test_where_a_sidecar_was_killed_the_engine_keeps_its_memory(message: str) -> None:
    found = chosen("HostOutOfMemory", message, pod=pod_with("istio-proxy", **LIMITS))
    assert (found.command, found.fixes) == ("kubectl describe pod model-1 -n chat", False)


def test_the_engine_never_gets_less_than_it_has() -> None:
    pod = pod_with("kserve-container", **LIMITS)
    spec = {"pod": {"resources": {"limits": {"memory": "1Gi"}}}}
    found = chosen("HostOutOfMemory", "", spec, pod)
    assert '"limits":{"memory":"16Gi"}' in found.command


# --- odd objects -----------------------------------------------------------------------------------------------------

QUOTA = "exceeded quota: q, requested: pods={0}, used: pods=1, limited: pods=1"
ODD: tuple[tuple[str, str, Object], ...] = (
    ("Evicted", 'Usage of EmptyDir volume "a" exceeds the limit "abc".', {"pod": {"volumes": [{"name": "a"}]}}),
    ("HostOutOfMemory", "", {"pod": {"resources": {"limits": {"memory": "abc"}}}}),
    ("QuotaExceeded", QUOTA.format("."), {}),
    ("QuotaExceeded", QUOTA.format("1zz"), {}),
    ("ContextTooLong", "the longest that it can do ,, tokens", {}),
    ("Unschedulable", "", {"pod": {"nodeSelector": ["a"]}}),
    ("PodConfigError", "Secret s", {"pod": {"env": [{"valueFrom": {"secretKeyRef": "s"}}]}}),
    ("BadEngineArguments", "", {"engine": {"extraArgs": 7}}),
)


@pytest.mark.parametrize(("reason", "message", "spec"), ODD)
def test_what_has_an_odd_form_is_shown_and_not_changed(reason: str, message: str, spec: Object) -> None:
    found = chosen(reason, message, spec)
    assert found.command == "kubectl describe llm model -n chat"
    assert not found.fixes


# --- strings of tenants ----------------------------------------------------------------------------------------------


def test_no_string_of_a_tenant_acts_on_the_terminal_or_makes_a_placeholder_and_the_patch_has_it_as_it_was() -> None:
    found = chosen("BadEngineArguments", "unrecognized: --bad", {"engine": {"extraArgs": ["--bad", HOSTILE]}})
    assert found.command.isprintable()
    assert found.command.isascii()
    assert (found.fixes, found.values) == (True, ())
    patch = json.loads(shlex.split(found.command)[-1])
    assert patch == {"spec": {"engine": {"extraArgs": [HOSTILE]}}}


def test_what_stays_around_a_placeholder_of_ours_makes_none() -> None:
    found = chosen("VolumeNotReady", "", {"model": {"uri": "pvc://gone/a<script>\x9b"}})
    assert found.values == ("<a claim that is Bound>",)
    assert found.command.isprintable()
