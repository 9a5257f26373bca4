"""The table of permissions has each command; tests/cluster/test_cli_rights.py tries each of its rows."""

from __future__ import annotations

from slipway_cli.cluster.permissions import PERMISSIONS
from slipway_cli.main import CHANGING, COMMANDS, LOOKING


def test_each_command_on_a_cluster_is_in_the_table() -> None:
    on_cluster = {name for name, each in COMMANDS.items() if each.section in (LOOKING, CHANGING)}
    listed = {command.split()[0] for each in PERMISSIONS for command in each.commands}
    assert on_cluster <= listed <= set(COMMANDS)


def test_only_what_changes_models_is_an_action() -> None:
    reading = {"get", "list", "watch"}
    assert [each for each in PERMISSIONS if each.is_acting == (set(each.verbs) <= reading)] == []
