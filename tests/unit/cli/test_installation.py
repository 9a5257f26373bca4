"""`accelerators` and `doctor`: what a cluster has, what of it is free, what is missing, and the remedy for each."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from click.testing import CliRunner
from slipway.objects.kinds import (
    ACCELERATOR_PROFILE,
    DEPLOYMENT,
    INFERENCE_SERVICE,
    SCALED_OBJECT,
    STORAGE_CLASS,
    Kind,
    Object,
)
from slipway_cli.cluster.accelerators import stock_of
from slipway_cli.cluster.checking import CRDS, Check, Facts, checks_of
from slipway_cli.cluster.programs import PROGRAMS
from slipway_cli.main import cli
from support.builders import cli_worlds
from support.builders.llmdeployments import acceleratorprofile
from support.builders.objects import manifest
from support.fakes.kubectl import FakeKubectl

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


def profile(name: str, **status: Any) -> Object:
    return {**acceleratorprofile(name, {"costPerHour": 2.0}), "status": status}


def llm(name: str, accelerator: str, *, replicas: int, devices: int = 1) -> Object:
    made = {"accelerator": accelerator, "gpusPerReplica": devices}
    return cli_worlds.deployment(name, status={**cli_worlds.SERVING, "made": made, "replicas": {"desired": replicas}})


def test_what_is_free_and_who_holds_the_rest() -> None:
    profiles = [profile("none"), profile("l4", nodes=2, devices={"allocatable": 8, "free": 3, "mostFreeOnANode": 2})]
    l4, none = stock_of(profiles, [llm("a", "l4", replicas=2, devices=2), llm("b", "l4", replicas=0)])
    assert (l4.name, l4.devices, l4.free, l4.most_free_on_a_node) == ("l4", 8, 3, 2)
    assert l4.holders == ("chat/a (4)",)
    assert (none.is_there, none.nodes) == (False, None)


def test_a_profile_without_a_status_is_unknown_and_not_empty() -> None:
    [found] = stock_of([acceleratorprofile("l4")], [])
    assert (found.nodes, found.devices, found.free) == (None, None, None)


@pytest.fixture
def kubectl(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> FakeKubectl:
    fake = FakeKubectl(tmp_path)
    monkeypatch.setattr("slipway_cli.cluster.kubectl.Kubectl", fake.inside())
    return fake


def test_accelerators_lists_what_there_is_and_says_what_it_cannot_see(kubectl: FakeKubectl) -> None:
    kubectl.objects = [
        profile("l4", nodes=1, devices={"allocatable": 4, "free": 0}),
        profile("t4"),
        llm("a", "l4", replicas=4),
    ]
    found = CliRunner().invoke(cli, ["accelerators"])
    assert found.exit_code == 0, found.output
    assert found.stdout.splitlines()[1].split()[:4] == ["l4", "1", "4", "0"]
    assert "chat/a (4)" in found.stdout
    assert "Of 1 other profiles the cluster has nothing: --all lists them." in found.stdout
    kubectl.failures = {"/apis/slipway.dev/v1alpha1/llmdeployments": "Error from server (Forbidden): no"}
    limited = CliRunner().invoke(cli, ["accelerators", "-o", "json"])
    assert json.loads(limited.stdout)["gaps"] == [
        "You may not list models of all namespaces, so only those of chat are seen as holders."
    ]


# --- doctor ----------------------------------------------------------------------------------------------------------


def deployment(name: str, *, ready: int = 1, version: str = "") -> Object:
    labels = {"app.kubernetes.io/version": version} if version else {}
    metadata = {"namespace": "home", "labels": labels}
    return manifest(
        "apps/v1", "Deployment", name, metadata=metadata, spec={"replicas": 1}, status={"readyReplicas": ready}
    )


def default_class() -> Object:
    return {"metadata": {"name": "fast", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}}


WELL: dict[Kind, list[Object]] = {
    **{kind: [] for kind in CRDS},
    DEPLOYMENT: [deployment(name, version="1.2.3") for name in PROGRAMS],
    ACCELERATOR_PROFILE: [profile("l4", nodes=1)],
    STORAGE_CLASS: [default_class()],
}


def facts(**changes: Any) -> Facts:
    given = {
        "objects": WELL,
        "versions": {"server": "v1.34.4", "cli": "1.2.3"},
        "server_time": NOW,
        "now": NOW,
        "rights": {"get pods": True},
    }
    return Facts(**{**given, **changes})


def of(found: list[Check], name: str) -> Check:
    return next(each for each in found if each.name.startswith(name))


def test_a_complete_installation_is_well() -> None:
    assert [each for each in checks_of(facts()) if each.mark != "well"] == []


@pytest.mark.parametrize("kind", CRDS)
def test_a_type_that_is_missing_is_named_with_what_to_install(kind: Kind) -> None:
    found = of(checks_of(facts(unreadable={kind: "NoKind"})), f"{kind.name} (")
    assert found.mark == "wrong"
    assert found.remedy.startswith("Install ")


def test_what_one_may_not_read_is_unknown_and_not_wrong() -> None:
    kinds = dict.fromkeys((DEPLOYMENT, STORAGE_CLASS, INFERENCE_SERVICE), "Forbidden")
    rest = {kind: found for kind, found in WELL.items() if kind not in kinds}
    found = checks_of(facts(objects=rest, unreadable=kinds))
    assert {each.mark for each in found} == {"well", "unknown"}
    assert of(found, "slipway-operator").mark == "unknown"


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_that_is_missing_or_not_ready_is_wrong(name: str) -> None:
    for programs in (
        [deployment(each) for each in PROGRAMS if each != name],
        [deployment(each, ready=int(each != name)) for each in PROGRAMS],
    ):
        found = of(checks_of(facts(objects={**WELL, DEPLOYMENT: programs})), name)
        assert found.mark == "wrong"
        assert found.remedy


def test_a_program_of_a_tenant_with_the_same_name_is_not_counted() -> None:
    tenants = deployment("keda-operator", ready=0)
    usual = deployment("keda-operator")
    usual["metadata"]["namespace"] = "keda"
    found = of(checks_of(facts(objects={**WELL, DEPLOYMENT: [tenants, usual]})), "keda-operator")
    assert (found.mark, found.says) == ("well", "1 of 1 replicas are ready, in namespace keda")
    elsewhere = deployment("keda-operator", ready=0)
    elsewhere["metadata"]["namespace"] = "scaler"
    found = of(checks_of(facts(objects={**WELL, DEPLOYMENT: [tenants, elsewhere]})), "keda-operator")
    assert (found.mark, found.says) == ("unknown", "Deployments of this name are in namespaces home, scaler")


def test_a_scaler_that_keda_does_not_reach_is_wrong() -> None:
    ready = {"type": "Ready", "status": "False", "message": "connection refused"}
    scaled = {"metadata": {"name": "m", "namespace": "chat"}, "status": {"conditions": [ready]}}
    found = of(checks_of(facts(objects={**WELL, SCALED_OBJECT: [scaled]})), "KEDA's scaler")
    assert (found.mark, "chat/m: connection refused" in found.says) == ("wrong", True)


def test_clocks_that_differ_are_wrong() -> None:
    found = of(checks_of(facts(server_time=NOW + timedelta(minutes=5))), "Clocks")
    assert (found.mark, found.says) == ("wrong", "this machine and the API server are 300 s apart")
    assert of(checks_of(facts(server_time=None)), "Clocks").mark == "unknown"


def test_another_version_is_named_with_the_one_that_fits() -> None:
    found = of(checks_of(facts(versions={"cli": "1.3.0"})), "Versions")
    assert (found.mark, "slipway-cli==1.2.3" in found.remedy) == ("unknown", True)


@pytest.mark.parametrize(
    ("kind", "objects", "name"),
    [
        (ACCELERATOR_PROFILE, [], "Accelerators"),
        (ACCELERATOR_PROFILE, [profile("l4", nodes=0)], "Accelerators"),
        (STORAGE_CLASS, [{"metadata": {"name": "slow"}}], "Storage classes"),
    ],
)
def test_what_is_lacking_has_a_remedy(kind: Kind, objects: list[Object], name: str) -> None:
    found = of(checks_of(facts(objects={**WELL, kind: objects})), name)
    assert (found.mark, bool(found.remedy)) == ("wrong", True)
