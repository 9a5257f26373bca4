"""`planner.inspection.namespaces`: the right to start Jobs there, an account for them, and nothing anywhere else."""

from __future__ import annotations

from typing import Any

import pytest
from slipway.objects.kinds import JOB
from slipway.operator.installation import Installation
from slipway.operator.reconciling.watches import watches
from slipway.operator.rendering.inspection import SERVICE_ACCOUNT_NAME
from support.builders.objects import Object
from support.charts.helm import Refused, rendered
from support.cluster import audit
from support.cluster.audit import Right
from support.programs.settings import operator_settings

HOME, OPERATOR = "slipway-system", "slipway-operator"
OF_JOBS = {Right(verb, "batch", "jobs") for verb in ("get", "list", "watch", "create", "delete")}
CREATES_ACCOUNTS = Right("create", "", "serviceaccounts")


def with_inspection(*namespaces: str, **values: Any) -> list[Object]:
    return rendered("slipway", {"planner": {"inspection": {"namespaces": [*namespaces]}}, **values})


def rights(objects: list[Object]) -> dict[str, set[Right]]:
    """What the operator's Roles allow about Jobs and accounts, by namespace; empty: in the entire cluster."""
    roles = [each for each in objects if each["kind"] in ("Role", "ClusterRole")]
    of_operator = [each for each in roles if each["metadata"]["name"].startswith(OPERATOR)]
    granted = {
        each["metadata"].get("namespace", "") + "/" + each["metadata"]["name"]: audit.granted([each])
        for each in of_operator
    }
    wanted = OF_JOBS | {CREATES_ACCOUNTS}
    found: dict[str, set[Right]] = {}
    for name, those in granted.items():
        if those & wanted:
            found.setdefault(name.partition("/")[0], set()).update(those & wanted)
    return found


def accounts(objects: list[Object]) -> set[str]:
    found = [each for each in objects if each["kind"] == "ServiceAccount"]
    made = [each for each in found if each["metadata"]["name"] == SERVICE_ACCOUNT_NAME]
    assert all(each["automountServiceAccountToken"] is False for each in made)
    return {each["metadata"]["namespace"] for each in made}


def option(objects: list[Object]) -> tuple[str, ...]:
    [deployment] = [each for each in objects if (each["kind"], each["metadata"]["name"]) == ("Deployment", OPERATOR)]
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    environment = {each["name"]: each.get("value", HOME) for each in container["env"]}
    return operator_settings(["--runtimes="], environment).inspect_namespaces


def test_by_default_the_operator_may_not_start_jobs() -> None:
    objects = rendered("slipway")
    assert (rights(objects), accounts(objects), option(objects)) == ({}, set(), ())


def test_in_listed_namespaces_it_may_start_jobs_and_finds_their_account() -> None:
    objects = with_inspection("chat", "code")
    assert rights(objects) == {"chat": OF_JOBS, "code": OF_JOBS}
    assert accounts(objects) == {"chat", "code"}
    assert option(objects) == ("chat", "code")


def test_everywhere_it_may_create_their_account_too_because_the_chart_does_not_know_the_namespaces() -> None:
    objects = with_inspection("*")
    assert rights(objects) == {"": {*OF_JOBS, CREATES_ACCOUNTS}}
    assert accounts(objects) == set()
    assert option(objects) == ("*",)


def test_everywhere_means_in_the_watched_namespaces() -> None:
    objects = with_inspection("*", watchNamespaces=["chat", "code"])
    assert rights(objects) == {"chat": OF_JOBS, "code": OF_JOBS}
    assert accounts(objects) == {"chat", "code"}


@pytest.mark.parametrize(("inspects", "asked_of"), [((), set()), (("*",), set()), (("chat", "code"), {"chat", "code"})])
def test_of_a_listed_namespace_it_may_find_out_whether_it_was_deleted(
    inspects: tuple[str, ...], asked_of: set[str]
) -> None:
    made = with_inspection(*inspects)
    [role] = [each for each in made if (each["kind"], each["metadata"]["name"]) == ("ClusterRole", OPERATOR)]
    gets = [each for each in role["rules"] if each.get("resources") == ["namespaces"] and "resourceNames" in each]
    assert all(each["verbs"] == ["get"] for each in gets)
    assert {name for rule in gets for name in rule["resourceNames"]} == asked_of


@pytest.mark.parametrize(
    ("inspects", "watched", "where"),
    [((), (), None), (("*",), (), ()), (("*",), ("chat",), ("chat",)), (("chat",), (), ("chat",))],
)
def test_the_operator_watches_jobs_exactly_where_it_may(
    inspects: tuple[str, ...], watched: tuple[str, ...], where: tuple[str, ...] | None
) -> None:
    installation = Installation(HOME, inspects=inspects, watched=watched)
    made = watches(
        everyone=lambda: (), on_node=lambda _: (), node=lambda _: None, ports=lambda _: (), installation=installation
    )
    assert [each.namespaces for each in made if each.kind == JOB] == ([] if where is None else [where])


@pytest.mark.parametrize(
    ("namespaces", "watched", "words"),
    [
        (["code"], ["chat"], "planner.inspection.namespaces has code, which is not in watchNamespaces"),
        (["*", "chat"], [], '"*" alone is all namespaces'),
        (["Chat"], [], "does not match pattern"),
    ],
)
def test_values_that_cannot_be_meant_are_refused(namespaces: list[str], watched: list[str], words: str) -> None:
    with pytest.raises(Refused, match="planner") as refused:
        with_inspection(*namespaces, watchNamespaces=watched)
    assert words in str(refused.value)
