"""The table of permissions has each command; tests/cluster/test_cli_rights.py tries each of its rows."""

from __future__ import annotations

from slipway_cli.cluster.permissions import PERMISSIONS
from slipway_cli.main import COMMANDS, WITHOUT_CLUSTER


def test_each_command_on_a_cluster_is_in_the_table() -> None:
    on_cluster = {name for name, each in COMMANDS.items() if each.section != WITHOUT_CLUSTER}
    listed = {command.split()[0] for each in PERMISSIONS for command in each.commands}
    assert on_cluster <= listed <= set(COMMANDS)


def test_the_role_for_reading_changes_nothing_and_reaches_into_no_pod() -> None:
    view = [each for each in PERMISSIONS if each.role == "view"]
    assert {verb for each in view for verb in each.verbs} <= {"get", "list", "watch"}
    assert {each.subresource for each in view} == {"", "log"}
