"""The published roles of the command-line tool are what it needs, and nothing else."""

from __future__ import annotations

from typing import Any

from slipway_cli.cluster.permissions import PERMISSIONS, Permission
from support.charts.helm import name_of, rendered

Rule = tuple[str, str, str]  # group, resource, verb


def role(name: str) -> dict[str, Any]:
    [found] = [
        each
        for each in rendered("slipway", {})
        if each["kind"] == "ClusterRole" and name_of(each) == f"slipway-cli-{name}"
    ]
    return found


def granted(name: str) -> set[Rule]:
    return {
        (group, resource, verb)
        for rule in role(name)["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def needed(permissions: list[Permission]) -> set[Rule]:
    return {
        (kind.group, resource, verb)
        for each in permissions
        for kind, resource in zip(each.kinds, each.resources, strict=True)
        for verb in each.verbs
    }


def test_the_role_for_reading_has_what_the_commands_need_and_nothing_else() -> None:
    assert granted("view") == needed([each for each in PERMISSIONS if each.role == "view"])


def test_the_role_for_acting_has_the_changes_in_addition() -> None:
    assert granted("edit") == needed([each for each in PERMISSIONS if each.role != "none"])


def test_neither_role_reads_secrets_or_is_granted_to_anyone() -> None:
    for name in ("view", "edit"):
        assert not [rule for rule in granted(name) if rule[1].startswith("secrets") or "*" in rule]
        assert not [label for label in role(name)["metadata"]["labels"] if "aggregate" in label]
    bound = [each["roleRef"]["name"] for each in rendered("slipway", {}) if each["kind"].endswith("RoleBinding")]
    assert not [name for name in bound if name.startswith("slipway-cli")]
