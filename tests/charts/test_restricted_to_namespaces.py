"""`watchNamespaces`: rights in these namespaces only, and there everything that both programs need."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from slipway.activator.tracking.watches import ActivatorService as ActivatorsHome
from slipway.activator.tracking.watches import watches as activators_watches
from slipway.kube.watch import Watch
from slipway.objects.kinds import DEPLOYMENT, DEVICE_CLASS, ENDPOINT_SLICE, NODE_POOL, POD, RESOURCE_SLICE
from slipway.operator.installation import Installation
from slipway.operator.reconciling.watches import watches
from support.builders.objects import Object
from support.charts.helm import rendered
from support.cluster import audit
from support.cluster.audit import Right
from support.programs.settings import activator_settings, operator_settings

OPERATOR, ACTIVATOR = "slipway-operator", "slipway-activator"
HOME, KSERVE, KEDA = "slipway-system", "kserve", "keda"
WATCHED = ("chat", "code")
CLUSTER = ""
RESTRICTED = rendered("slipway", {"watchNamespaces": [*WATCHED]})
EVERYWHERE = rendered("slipway")
Rights = Mapping[str, set[Right]]


def rights(account: str, objects: Iterable[Object]) -> Rights:
    """The account's rights by namespace; cluster-wide ones come from a ClusterRoleBinding."""
    roles = {place(each): each for each in objects if each["kind"] in ("Role", "ClusterRole")}
    found: defaultdict[str, set[Right]] = defaultdict(set)
    for binding in objects:
        if binding["kind"] in ("RoleBinding", "ClusterRoleBinding") and is_for(account, binding):
            namespace = binding["metadata"].get("namespace", CLUSTER)
            role = roles[binding["roleRef"]["kind"], namespace, binding["roleRef"]["name"]]
            found[namespace] |= audit.granted([role])
    return found


def place(manifest: Object) -> tuple[str, str, str]:
    return manifest["kind"], manifest["metadata"].get("namespace", CLUSTER), manifest["metadata"]["name"]


def is_for(account: str, binding: Object) -> bool:
    return bool(binding["subjects"] == [{"kind": "ServiceAccount", "name": account, "namespace": HOME}])


def needed(watches_: Iterable[Watch[Any]]) -> dict[str, set[Right]]:
    found: defaultdict[str, set[Right]] = defaultdict(set)
    for watch in watches_:
        for namespace in watch.namespaces or (CLUSTER,):
            found[namespace] |= {Right(verb, watch.kind.group, watch.kind.plural) for verb in ("list", "watch")}
    return found


def reading(rights_: Rights) -> Rights:
    return {
        where: found
        for where, namespace_rights in rights_.items()
        if (found := {right for right in namespace_rights if right.verb in ("list", "watch")})
    }


def environment(program: str, objects: Iterable[Object]) -> dict[str, str]:
    [deployment] = [each for each in objects if place(each) == ("Deployment", HOME, program)]
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    return {each["name"]: each.get("value", HOME) for each in container["env"]}


def test_both_programs_receive_the_namespaces_to_watch() -> None:
    assert operator_settings(["--runtimes="], environment(OPERATOR, RESTRICTED)).watch_namespaces == WATCHED
    assert activator_settings([], environment(ACTIVATOR, RESTRICTED)).watch_namespaces == WATCHED


def test_without_namespaces_the_programs_watch_all() -> None:
    assert operator_settings(["--runtimes="], environment(OPERATOR, EVERYWHERE)).watch_namespaces == ()
    assert activator_settings([], environment(ACTIVATOR, EVERYWHERE)).watch_namespaces == ()


def test_the_operator_may_watch_exactly_its_kinds_in_exactly_its_namespaces() -> None:
    made = watches(
        everyone=lambda: (),
        on_node=lambda _: (),
        node=lambda _: None,
        ports=lambda _: (),
        installation=Installation(HOME, (ACTIVATOR,), watched=WATCHED),
    )
    of_platform = {Right(verb, kind.group, kind.plural) for kind in PLATFORM for verb in ("list", "watch")}
    expected = needed(made) | dict.fromkeys((KSERVE, KEDA), of_platform)
    expected[CLUSTER] |= {Right("list", kind.group, kind.plural) for kind in (NODE_POOL, DEVICE_CLASS, RESOURCE_SLICE)}
    assert reading(rights(OPERATOR, RESTRICTED)) == expected


PLATFORM = (DEPLOYMENT, POD, ENDPOINT_SLICE)
"""Rights on KServe and KEDA, in their own namespaces (`reconciling/platform.py`)."""


def test_the_activator_may_watch_its_kinds_and_look_up_the_pods_of_clients() -> None:
    expected = needed(activators_watches(ActivatorsHome(HOME, ACTIVATOR), lambda _: (), WATCHED))
    for where in (HOME, KEDA):
        expected[where].add(Right("list", "", "pods"))
    assert reading(rights(ACTIVATOR, RESTRICTED)) == expected


DELETES_OLD_RUNTIMES = Right("delete", "serving.kserve.io", "clusterservingruntimes")
"""Unused runtimes of older releases: whether another namespace uses one can't be checked."""


COUNTS_FREE_DEVICES = {Right("list", "", "pods"), Right("list", "resource.k8s.io", "resourceclaims")}
"""In the namespaces of all tenants, which is allowed by another value."""


def test_the_operator_counts_free_devices_in_all_namespaces_only_if_that_is_allowed() -> None:
    allowed = rendered("slipway", {"watchNamespaces": [*WATCHED], "accelerators": {"supply": {"pods": True}}})
    assert rights(OPERATOR, allowed)[CLUSTER] - rights(OPERATOR, RESTRICTED)[CLUSTER] == COUNTS_FREE_DEVICES
    assert rights(OPERATOR, EVERYWHERE)[CLUSTER] >= COUNTS_FREE_DEVICES


@pytest.mark.parametrize(
    ("value", "groups"), [("nodePools", {"karpenter.sh"}), ("dynamicResources", {"resource.k8s.io"})]
)
def test_rights_to_read_what_the_cluster_does_not_have_can_be_left_out(value: str, groups: set[str]) -> None:
    without = rendered("slipway", {"accelerators": {"supply": {value: False}}})
    left_out = rights(OPERATOR, EVERYWHERE)[CLUSTER] - rights(OPERATOR, without)[CLUSTER]
    assert {right.group for right in left_out} == groups


@pytest.mark.parametrize("account", [OPERATOR, ACTIVATOR])
def test_the_programs_may_serve_a_model_in_each_watched_namespace(account: str) -> None:
    """All rights are granted, those on cluster-scoped objects by the ClusterRole."""
    restricted, everywhere = rights(account, RESTRICTED), rights(account, EVERYWHERE)
    for namespace in WATCHED:
        assert (
            everywhere[CLUSTER] - {DELETES_OLD_RUNTIMES} - COUNTS_FREE_DEVICES
            <= restricted[namespace] | restricted[CLUSTER]
        )
    assert everywhere[HOME] <= restricted[HOME]


OF_THE_CLUSTER = {
    OPERATOR: {
        "acceleratorprofiles",
        "acceleratorprofiles/status",
        "clusterservingruntimes",
        "csidrivers",
        "deviceclasses",
        "namespaces",
        "nodepools",
        "nodes",
        "priorityclasses",
        "resourceslices",
        "runtimeclasses",
        "selfsubjectaccessreviews",
        "storageclasses",
        "subjectaccessreviews",
    },
    ACTIVATOR: {"namespaces"},
}


@pytest.mark.parametrize("account", [OPERATOR, ACTIVATOR])
def test_cluster_wide_rights_are_only_for_cluster_scoped_kinds(account: str) -> None:
    assert {right.resource for right in rights(account, RESTRICTED)[CLUSTER]} == OF_THE_CLUSTER[account]


@pytest.mark.parametrize("account", [OPERATOR, ACTIVATOR])
def test_the_programs_may_get_only_the_namespaces_that_they_use(account: str) -> None:
    [role] = [each for each in RESTRICTED if place(each) == ("ClusterRole", CLUSTER, account)]
    [rule] = [each for each in role["rules"] if each["resources"] == ["namespaces"]]
    assert set(rule["resourceNames"]) == {*WATCHED, HOME, KEDA, *([KSERVE] if account == OPERATOR else [])}


def test_one_namespace_may_have_several_roles() -> None:
    values = {"watchNamespaces": ["all"], "platform": {"kserveNamespace": "all", "kedaNamespace": "all"}}
    objects = rendered("slipway", values, namespace="all")
    assert len({place(each) for each in objects}) == len(objects)
